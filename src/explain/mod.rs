//! What would become of a request, and why: the gateway's own table and filters are asked, nobody
//! else.

mod asked;
mod difference;
#[cfg(test)]
mod edits;
mod outline;
mod review;
mod table;
mod tests;
mod told;
mod traffic;
mod written;

pub use asked::Asked;
pub use difference::{Change, Difference};
pub use outline::{Outline, facts};
pub use review::review;
pub use tests::verify;
pub use told::{Candidate, Explanation, Verdict, Way};
pub use traffic::Moved;

use crate::exchange::Exchange;
use crate::filter::{Flow, Request, Response};
use crate::generation::{Generation, HostHeader, Route};
use crate::http::host::without_port;
use crate::http::path;
use crate::routing::{Miss, Query, Rule};
use crate::websocket::handshake;
use http::{HeaderValue, Method, StatusCode, header};
use pingora::http::ResponseHeader;
use std::cmp::Reverse;
use std::sync::Arc;

/// How many routes are told of that do not take the request.
const OTHERS: usize = 5;

/// What this generation would do with the request.
pub async fn explain(generation: &Generation, asked: &Asked) -> Explanation {
    let mut explanation = Explanation::of(asked);
    let Ok(normalized) = path::normalize(&asked.path) else {
        let reason = "its path leads out of the root, or is malformed".to_owned();
        explanation.verdict = Verdict::Refused { status: 400, reason };
        return explanation;
    };
    explanation.path = normalized.clone().into_owned();
    if let Some(location) = to_https(generation, asked) {
        explanation.verdict = Verdict::Redirected { location };
        return explanation;
    }
    let query = Query {
        path: &normalized,
        query: asked.query.as_deref(),
        host: without_port(&asked.authority),
        method: asked.asked_method(),
        headers: &asked.headers,
    };
    let found = generation.route(
        &normalized,
        asked.query.as_deref(),
        &asked.authority,
        query.method,
        query.headers,
    );
    let taken = found.as_ref().ok().copied();
    explanation.others = others(generation, &query, taken);
    let route = match found {
        Ok(route) => {
            explanation.because = because(generation, &query, route);
            Arc::clone(route)
        }
        Err(Miss::NotFound) => {
            explanation.verdict = Verdict::NoRoute;
            Arc::clone(&generation.fallback)
        }
        Err(Miss::MethodNotAllowed(allowed)) => {
            let allowed = allowed.iter().map(ToString::to_string).collect();
            explanation.verdict = Verdict::MethodNotAllowed { allowed };
            return explanation;
        }
    };
    explanation.filters = route.filters.iter().map(|filter| filter.describe()).collect();
    let (answered, cors) = ask_filters(&route, asked, &normalized).await;
    explanation.cors = cors;
    if taken.is_some() {
        explanation.verdict = match answered {
            Some(status) => Verdict::Answered { route: route.name.to_string(), status },
            None => forwarded(&route, asked, &normalized),
        };
    } else if let Some(status) = answered {
        explanation.verdict = Verdict::Answered { route: String::new(), status };
    }
    explanation
}

/// Where a listener that redirects would send it.
fn to_https(generation: &Generation, asked: &Asked) -> Option<String> {
    if asked.is_https {
        return None;
    }
    let host = without_port(&asked.authority);
    let port = asked.authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    let port: u16 = port.unwrap_or(80);
    let all = &generation.listeners;
    let listener = all.iter().find(|listener| listener.address.port() == Some(port))?;
    let query = asked.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    Some(match listener.redirect_to? {
        443 => format!("https://{host}{}{query}", asked.path),
        port => format!("https://{host}:{port}{}{query}", asked.path),
    })
}

/// The conditions that the route makes.
fn because(generation: &Generation, query: &Query<'_>, route: &Arc<Route>) -> Vec<String> {
    let rule = generation.table.iter().find(|(_, other)| Arc::ptr_eq(other, route));
    let conditions = rule.map(|(rule, _)| rule.judge(query)).unwrap_or_default();
    conditions.into_iter().map(|condition| condition.what).collect()
}

/// The routes that came closest, and what ruled them out.
fn others(
    generation: &Generation,
    query: &Query<'_>,
    taken: Option<&Arc<Route>>,
) -> Vec<Candidate> {
    let is_taken = |route: &Arc<Route>| taken.is_some_and(|taken| Arc::ptr_eq(taken, route));
    let mut candidates: Vec<_> = generation
        .table
        .iter()
        .filter(|(_, route)| !is_taken(route))
        .map(|(rule, route)| {
            let missed: Vec<String> = rule
                .judge(query)
                .into_iter()
                .filter(|condition| !condition.is_met)
                .map(|condition| condition.what)
                .collect();
            (missed.len(), Reverse(shared(rule, query.path)), route, missed)
        })
        .collect();
    candidates.sort_by_key(|(missed, shared, ..)| (*missed, *shared));
    let candidate = |(_, _, route, missed): (_, _, &Arc<Route>, Vec<String>)| Candidate {
        route: route.name.to_string(),
        ruled_out_by: match (missed.is_empty(), taken) {
            (true, Some(taken)) => vec![format!("`{}` takes precedence", taken.name)],
            _ => missed.into_iter().map(|what| format!("not met: {what}")).collect(),
        },
    };
    candidates.into_iter().take(OTHERS).map(candidate).collect()
}

/// How many segments of the path the rule's path has in common with it.
fn shared(rule: &Rule, path: &str) -> usize {
    let segments = rule.path.as_str().split('/').skip(1);
    segments.zip(path.split('/').skip(1)).take_while(|(one, other)| one == other).count()
}

/// What the route's filters do: the status of an answer, if one of them answers, and what CORS
/// says of a request with an `Origin`.
async fn ask_filters(route: &Route, asked: &Asked, path: &str) -> (Option<u16>, Option<String>) {
    let Ok(mut head) = asked.head() else { return (None, None) };
    let mut exchange = Exchange::new(Arc::clone(&route.name), HeaderValue::from_static("explain"));
    exchange.path = Some(path.to_owned());
    exchange.scheme = if asked.is_https { "https" } else { "http" };
    exchange.is_websocket = handshake::is_requested(&asked.headers);
    let mut answered = None;
    for filter in &route.filters {
        let mut request = Request { head: &mut head, exchange: &mut exchange };
        if let Ok(Flow::Respond(reply)) = filter.on_request(&mut request).await {
            answered = Some(reply.status);
            break;
        }
    }
    let Some(origin) = asked.headers.get(header::ORIGIN) else {
        return (answered.map(|status| status.as_u16()), None);
    };
    let status = answered.unwrap_or(StatusCode::OK);
    let Ok(mut response) = ResponseHeader::build(status, None) else { return (None, None) };
    for filter in route.filters.iter().rev() {
        let mut view = Response { head: &mut response, request: &head, exchange: &mut exchange };
        let _ = filter.on_response(&mut view).await;
    }
    let allowed = response.headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
    let is_allowed = allowed.is_some_and(|allowed| allowed == "*" || allowed == origin);
    let refused = exchange.is_websocket && status == StatusCode::FORBIDDEN;
    let cors = if is_allowed && !refused { "allowed" } else { "refused" };
    (answered.map(|status| status.as_u16()), Some(cors.to_owned()))
}

fn forwarded(route: &Route, asked: &Asked, path: &str) -> Verdict {
    if handshake::is_requested(&asked.headers) && route.websocket.is_none() {
        return Verdict::Answered { route: route.name.to_string(), status: 403 };
    }
    let Some(pool) = &route.pool else {
        return Verdict::Answered { route: route.name.to_string(), status: 404 };
    };
    let scheme = if pool.settings().speech.tls.is_some() { "https" } else { "http" };
    let endpoints = pool.endpoints().iter().map(|endpoint| endpoint.written().to_owned());
    Verdict::Forwarded(Box::new(Way {
        route: route.name.to_string(),
        upstream: pool.name().to_string(),
        scheme: scheme.to_owned(),
        target: route.target(path, asked.query.as_deref()),
        endpoints: endpoints.collect(),
        host: match &route.host {
            HostHeader::Preserve => asked.authority.clone(),
            HostHeader::Upstream => "the endpoint's".to_owned(),
            HostHeader::Name(name) => name.to_str().unwrap_or_default().to_owned(),
        },
        connect_timeout_ms: millis(route.connect_timeout),
        read_timeout_ms: millis(route.read_timeout),
        write_timeout_ms: millis(route.write_timeout),
        request_timeout_ms: route.request_timeout.map(millis),
        retries: route.retry.attempts.saturating_sub(1),
        is_cached: route.cache.is_some() && asked.method == Method::GET,
        takes_websocket: route.websocket.is_some(),
        splits: route.splits.iter().map(|split| split.pool.name().to_string()).collect(),
    }))
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
