//! Turns the outcome of admission into an explanation. It decides nothing by itself.

use super::cors;
use super::explanation::{BodyReader, Candidate, Decision, Explanation, ForwardPlan};
use super::settings::settings;
use crate::admission::{RejectReason, Rejection, RequestTarget, authority};
use crate::cache::is_answerable;
use crate::exchange::Exchange;
use crate::filter::{BodyAccess, Filter};
use crate::routing::{Query, Rule};
use crate::snapshot::{HostHeader, Route, Snapshot};
use crate::upstream::Pool;
use http::uri::Authority;
use http::{Method, header};
use pingora::http::RequestHeader;
use std::cmp::Reverse;
use std::sync::Arc;
use tidegate_http::framing;

/// Maximum number of listed routes that do not take the request.
const MAX_OTHER_ROUTES: usize = 5;

/// What has become of a request before an upstream is asked.
#[derive(Clone, Copy)]
pub(crate) struct AdmissionOutcome<'f> {
    /// The route that it goes by.
    pub route: &'f Arc<Route>,
    /// The upstream that it goes to.
    pub pool: Option<&'f Arc<Pool>>,
    /// What is known of it.
    pub exchange: &'f Exchange,
    /// Its head, as the filters have left it.
    pub head: &'f RequestHeader,
    /// Whether it has come as far as the filters.
    pub is_admitted: bool,
    /// Where its way ends, if it does.
    pub rejection: Option<&'f Rejection>,
}

impl AdmissionOutcome<'_> {
    /// In words; `asked` is the head as it came.
    pub(crate) fn describe(&self, snapshot: &Snapshot, asked: &RequestHeader) -> Explanation {
        let (host, path) = (host(asked).unwrap_or_default(), asked.uri.path());
        let client = self.exchange.client_address;
        let mut explanation = Explanation::without_route(&asked.method, host, path, client);
        let is_routed =
            self.is_admitted || self.rejection.is_some_and(|it| it.reason == RejectReason::Method);
        let target =
            authority(asked).and_then(|authority| RequestTarget::parse(asked, authority)).ok();
        if let Some(target) = &target {
            explanation.path = target.path.normal.clone().into_owned();
        }
        if let Some(target) = target.filter(|_| is_routed) {
            let taken = Some(self.route).filter(|it| !Arc::ptr_eq(it, &snapshot.fallback));
            let query = target.query();
            explanation.others = other_candidates(snapshot, &query, taken);
            explanation.because =
                taken.map(|route| match_reasons(snapshot, &query, route)).unwrap_or_default();
        }
        if self.is_admitted {
            explanation.filters = self.route.describe_filters();
        }
        if self.exchange.is_websocket && self.is_admitted {
            explanation.cors = cors::handshake_origin_outcome(asked, self.rejection);
        }
        if let Some(decision) = self.decision() {
            if matches!(decision, Decision::Forwarded(_)) {
                explanation.bodies = self.body_readers();
            }
            explanation.decision = decision;
        }
        explanation.hide(snapshot.written.expanded());
        explanation
    }

    fn decision(&self) -> Option<Decision> {
        let Some(Rejection { reason: why, reply }) = self.rejection else {
            return self.pool.map(|pool| Decision::Forwarded(Box::new(self.forward_plan(pool))));
        };
        let (route, status) = (self.route.name.to_string(), reply.status.as_u16());
        let reason = reply.reason().map(str::to_owned);
        let location = reply.field(&header::LOCATION).map(str::to_owned);
        Some(match why {
            RejectReason::NoRoute => Decision::NoRoute,
            RejectReason::Https => Decision::Redirected { location: location.unwrap_or_default() },
            RejectReason::Request => {
                Decision::Refused { route, status, reason: reason.unwrap_or_default() }
            }
            RejectReason::Answer => Decision::Answered { route, status, reason, location },
            RejectReason::Method => {
                let allowed = reply.field(&header::ALLOW).unwrap_or_default().split(", ");
                Decision::MethodNotAllowed { allowed: allowed.map(str::to_owned).collect() }
            }
        })
    }

    /// The filters that see a body if the request, or the response, has one.
    fn body_readers(&self) -> Vec<BodyReader> {
        let Self { route, exchange, head, .. } = self;
        let descriptions = route.describe_filters();
        let described = |filter: &Arc<dyn Filter>| {
            let position = route.filters.iter().position(|other| Arc::ptr_eq(other, filter));
            position.and_then(|position| descriptions.get(position)).cloned().unwrap_or_default()
        };
        let reader = |body, (filter, access): &(Arc<dyn Filter>, BodyAccess)| {
            let (access, max) = match access {
                BodyAccess::None => return None,
                BodyAccess::Observe => ("observe", None),
                BodyAccess::Chunks => ("chunks", None),
                BodyAccess::Whole { max } => ("whole", Some(*max as u64)),
            };
            Some(BodyReader { body, access, max, filter: described(filter) })
        };
        let requests = route.request_body_filters.as_deref();
        // A handshake has no body; filters that want the whole are shown that.
        let requests = requests.filter(|it| !exchange.is_websocket || it.max_whole_size.is_some());
        let responses = route.response_body_filters.as_deref();
        let responses = responses.filter(|_| !exchange.is_websocket && head.method != Method::HEAD);
        let requests = requests.into_iter().flat_map(|it| &it.filters);
        let responses = responses.into_iter().flat_map(|it| &it.filters);
        requests
            .filter_map(|it| reader("request", it))
            .chain(responses.filter_map(|it| reader("response", it)))
            .collect()
    }

    fn forward_plan(&self, pool: &Pool) -> ForwardPlan {
        let Self { route, exchange, head, .. } = self;
        let scheme = if pool.settings().protocol.tls.is_some() { "https" } else { "http" };
        let endpoints = pool.endpoints();
        let host = match (route.host_for(host(head).is_some()), endpoints) {
            (HostHeader::Preserve, _) => host(head).unwrap_or_default(),
            (HostHeader::Name(name), _) => name.to_str().unwrap_or_default(),
            (HostHeader::Upstream, [only]) => only.authority(),
            (HostHeader::Upstream, _) => "the endpoint's",
        };
        ForwardPlan {
            route: route.name.to_string(),
            upstream: pool.name().to_string(),
            scheme: scheme.to_owned(),
            target: route.target(exchange, head, head.uri.query()),
            endpoints: endpoints.iter().map(|it| it.address_text().to_owned()).collect(),
            host: host.to_owned(),
            connect_timeout_ms: millis(route.connect_timeout),
            tls_timeout_ms: pool
                .settings()
                .protocol
                .tls
                .as_ref()
                .map(|_| millis(route.tls_timeout)),
            first_byte_timeout_ms: route.first_byte_timeout.map(millis),
            read_timeout_ms: millis(route.read_timeout),
            write_timeout_ms: millis(route.write_timeout),
            request_timeout_ms: route.request_timeout.map(millis),
            retries: route.retry.attempts.saturating_sub(1),
            is_cached: route.cache.is_some()
                && !exchange.is_websocket
                && is_answerable(head, framing::has_body(&head.headers)),
            takes_websocket: route.websocket.is_some(),
            splits: super::settings::splits(route),
            settings: settings(route, pool),
        }
    }
}

/// The host that a request is for, as it says it.
fn host(head: &RequestHeader) -> Option<&str> {
    let authority = head.uri.authority().map(Authority::as_str);
    authority.or_else(|| head.headers.get(header::HOST)?.to_str().ok())
}

/// The conditions that the route makes.
fn match_reasons(snapshot: &Snapshot, query: &Query<'_>, route: &Arc<Route>) -> Vec<String> {
    let rule = snapshot.table.iter().find(|(_, other)| Arc::ptr_eq(other, route));
    let conditions = rule.map(|(rule, _)| rule.judge(query)).unwrap_or_default();
    conditions.into_iter().map(|condition| condition.what).collect()
}

/// The routes that came closest, and what ruled them out.
fn other_candidates(
    snapshot: &Snapshot,
    query: &Query<'_>,
    taken: Option<&Arc<Route>>,
) -> Vec<Candidate> {
    let is_taken = |route: &Arc<Route>| taken.is_some_and(|taken| Arc::ptr_eq(taken, route));
    let mut candidates: Vec<_> = snapshot
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
            (missed.len(), Reverse(shared_prefix_length(rule, query.path)), route, missed)
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
    candidates.into_iter().take(MAX_OTHER_ROUTES).map(candidate).collect()
}

/// How many segments of the path the rule's path has in common with it.
fn shared_prefix_length(rule: &Rule, path: &str) -> usize {
    let segments = rule.path.as_str().split('/').skip(1);
    segments.zip(path.split('/').skip(1)).take_while(|(one, other)| one == other).count()
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
