//! Metrics of requests by route, method and status. Counts nothing itself; `telemetry/` does.

use super::exposition::{Exposition, MetricKind};
use crate::snapshot::{Route, Snapshot};
use std::sync::Arc;

pub(super) fn write(to: &mut Exposition, snapshot: &Snapshot) {
    let routes = || -> Vec<&Arc<Route>> {
        let routes = snapshot.table.iter().map(|(_, route)| route);
        routes.chain([&snapshot.fallback]).filter(|it| it.requests.duration().is_some()).collect()
    };
    let help = "Requests, by route (empty where none matched), method and status; the handshake of \
                a WebSocket session counts when it is done.";
    let mut family = to.family("tidegate_requests", MetricKind::Counter, help);
    for route in routes() {
        for (method, code, count) in route.requests.by_code() {
            let code = if code == 0 { "other".to_owned() } else { code.to_string() };
            let labels = [("route", &*route.name), ("method", method), ("code", &code)];
            family.write_sample(&labels, count);
        }
    }
    let mut family = to.family(
        "tidegate_websocket_failed_handshakes",
        MetricKind::Counter,
        "WebSocket handshakes that did not become a session.",
    );
    for route in routes() {
        family.write_sample(&[("route", &route.name)], route.requests.tally().failed_handshakes);
    }
    let help = "Time from the head of the request to the end of the response, or of the \
                WebSocket handshake.";
    let mut family = to.family("tidegate_request_duration_seconds", MetricKind::Histogram, help);
    for route in routes() {
        if let Some(duration) = route.requests.duration() {
            family.write_histogram(&[("route", &*route.name)], duration);
        }
    }
}
