//! What would become of a request, and why; and what two configurations do differently.
//!
//! The gateway's own table, filters and rules of admission answer, no second copy of them, and nothing is sent:
//!
//! ```
//! use tidegate::Config;
//! use tidegate::explain::{Decision, RequestToExplain};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::from_yaml(
//!     "listeners: [{address: 127.0.0.1:3000}]
//! routes: [{name: old, match: {path_prefix: /old}, respond: {status: 410}}]",
//! );
//! let request = RequestToExplain::new("http://localhost:3000/old/page", "GET", &[])?;
//! let explanation = config.explainer()?.explain(&request).await;
//! assert!(matches!(explanation.decision, Decision::Answered { status: 410, .. }));
//! # Ok(())
//! # }
//! ```

mod admission_outcome;
mod change;
mod cors;
#[cfg(test)]
mod defaults_written_out;
mod difference;
#[cfg(test)]
mod edits;
mod explainer;
mod explanation;
#[cfg(test)]
mod fingerprints_hold;
mod outline;
#[cfg(test)]
mod paths_agree;
mod request_to_explain;
mod review;
mod settings;
mod table;
mod tests;
mod traffic;
mod written;

pub(crate) use admission_outcome::AdmissionOutcome;
pub use change::Change;
pub use difference::Difference;
pub use explainer::Explainer;
pub use explanation::{BodyReader, Candidate, Decision, Explanation, ForwardPlan, SubstituteReply};
pub(crate) use outline::{Outline, route_conditions, route_facts};
pub use request_to_explain::{InvalidRequest, RequestToExplain};
pub(crate) use review::review;
pub(crate) use tests::verify;
pub use traffic::Moved;

pub use crate::snapshot::{SessionAction, SessionImpact};

use crate::admission::{self, HeaderSurvey, IncomingHead, Rejection, caller, run_response_filters};
use crate::exchange::Exchange;
use crate::filter::{self, BodyPart, Reply};
use crate::snapshot::{Listener, Route, Snapshot, SplitCondition, split};
use crate::tls::TlsInfo;
use crate::upstream::Pool;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use pingora::http::{RequestHeader, ResponseHeader};
use std::sync::Arc;
use tidegate_http::address::Address;
use tidegate_http::error_code::ErrorCode;
use tidegate_http::framing;
use tidegate_http::host::without_port;

/// Explains what this snapshot would do with the request.
pub(crate) async fn explain(snapshot: &Snapshot, asked: &RequestToExplain) -> Explanation {
    let mut came = match asked.read_head().await {
        Ok(came) => came,
        Err(rejection) => return Explanation::malformed(asked, &rejection),
    };
    let survey = HeaderSurvey::from_headers(&came.headers);
    let is_trusted = asked.client.is_some_and(|client| snapshot.global.trusts(client));
    let prepared = admission::prepare(&snapshot.global, &survey, is_trusted, &mut came);
    let mut exchange = exchange(snapshot, asked, is_trusted, &came);
    let arrival = IncomingHead {
        head: &came,
        survey: &survey,
        scheme: exchange.scheme,
        listener: listener(snapshot, asked.port),
        is_extended: false,
    };
    let admitted = prepared.and_then(|()| admission::admit(snapshot, &arrival, &mut exchange));
    let is_admitted = admitted.is_ok();
    let mut head = came.clone();
    let (route, rejection) = match admitted {
        Err(rejection) => (&snapshot.fallback, Some(rejection)),
        Ok(route) => {
            let rejection = match admission::filter(route, &mut head, &mut exchange).await {
                Ok(rejection) => rejection,
                Err(error) => Some(failed(&error)),
            };
            let refused =
                || admission::overload_rejection(route, &head, exchange.is_websocket, false);
            let rejection = match rejection.or_else(refused) {
                None => without_body(route, &head, &mut exchange).await,
                rejection => rejection,
            };
            (route, rejection)
        }
    };
    let rejection = rejection.as_ref();
    let pool = pool(route, &head, &exchange);
    let outcome =
        AdmissionOutcome { route, pool, exchange: &exchange, head: &head, is_admitted, rejection };
    let mut explanation = outcome.describe(snapshot, &came);
    if let Some(response) = response(route, &head, &mut exchange, rejection).await {
        explanation.add_response(&came, &response);
    }
    explanation
}

/// What the gateway would know of the request before it reads its configuration.
fn exchange(
    snapshot: &Snapshot,
    asked: &RequestToExplain,
    is_trusted: bool,
    head: &RequestHeader,
) -> Exchange {
    let global = &snapshot.global;
    let name = Arc::clone(&snapshot.fallback.name);
    let mut exchange = Exchange::new(name, HeaderValue::from_static("explain"));
    let caller = caller(global, asked.client, is_trusted, asked.is_https, &head.headers);
    exchange.client_address = caller.address;
    exchange.scheme = caller.scheme;
    exchange.forwarded_host = caller.forwarded_host;
    exchange.is_dry_run = true;
    exchange.tls = asked.is_https.then(|| Arc::new(handshake(head)));
    exchange
}

/// The TLS facts of a client without a certificate.
fn handshake(head: &RequestHeader) -> TlsInfo {
    let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    TlsInfo {
        version: "1.3",
        cipher: "TLS13_AES_256_GCM_SHA384",
        server_name: host.map(|host| without_port(host).to_owned()),
        client: None,
    }
}

/// The listener with this port.
fn listener(snapshot: &Snapshot, port: u16) -> Option<&Listener> {
    let is_there = |address: &Address| address.port() == Some(port);
    snapshot.listeners.iter().find(|it| is_there(&it.address)).map(|it| &**it)
}

/// What filters that want the whole body say to a request without one. A body that the request announces is unknown.
async fn without_body(
    route: &Route,
    head: &RequestHeader,
    exchange: &mut Exchange,
) -> Option<Rejection> {
    let filters = route.request_body_filters.as_ref()?;
    filters.max_whole_size?;
    if framing::has_body(&head.headers) && !exchange.is_websocket {
        return None;
    }
    let part = BodyPart { bytes: &mut Bytes::new(), offset: 0, is_end: true };
    match filters.show_request(part, head, exchange).await {
        Ok(reply) => reply.map(Rejection::answer),
        Err(error) => Some(failed(&error)),
    }
}

fn failed(error: &filter::Error) -> Rejection {
    Rejection::answer(error.reply().unwrap_or_else(|| {
        let reason = format!("a filter failed: {error}");
        Reply::gateway_error(ErrorCode::InternalError, reason)
    }))
}

/// The upstream for the request. An unknown client has no bucket, so it counts as one of the majority that a split
/// does not redirect.
fn pool<'r>(route: &'r Route, head: &RequestHeader, exchange: &Exchange) -> Option<&'r Arc<Pool>> {
    let is_known = exchange.client_address.is_some() || exchange.user_id.is_some();
    let elsewhere = match is_known {
        true => split(&route.splits, &head.headers, exchange),
        false => route
            .splits
            .iter()
            .filter(|it| !matches!(it.when, SplitCondition::Below(_)))
            .find_map(|it| split(std::slice::from_ref(it), &head.headers, exchange)),
    };
    elsewhere.or(route.pool.as_ref())
}

/// The head of the response after the route's filters.
async fn response(
    route: &Route,
    request: &RequestHeader,
    exchange: &mut Exchange,
    rejection: Option<&Rejection>,
) -> Option<ResponseHeader> {
    request.headers.get(header::ORIGIN)?;
    let status = rejection.map_or(StatusCode::OK, |rejection| rejection.reply.status);
    let mut response = ResponseHeader::build(status, None).ok()?;
    match rejection {
        None => {
            response
                .insert_header(header::ACCESS_CONTROL_ALLOW_ORIGIN, cors::UPSTREAM_PLACEHOLDER)
                .ok()?;
        }
        Some(rejection) => {
            for (name, value) in &rejection.reply.headers {
                response.append_header(name.clone(), value.clone()).ok()?;
            }
        }
    }
    run_response_filters(route, &mut response, request, exchange).await.ok()?;
    Some(response)
}
