//! Metrics of WebSocket sessions by route: live and ended ones, their traffic and times. Knows nothing of tunnels.

use super::exposition::{Exposition, MetricKind};
use crate::websocket::{Session, SessionRegistry, SessionSelector, SessionTotals};
use std::sync::Arc;
use std::time::Duration;
use tidegate_http::websocket::frame::Direction;

/// Upper bounds of the histogram of idle times, in seconds.
const IDLE_BUCKETS_SECONDS: [u64; 8] = [1, 5, 15, 60, 300, 900, 3600, 14_400];

/// The totals of a route, and its live sessions.
struct RouteSessionMetrics {
    route: Arc<str>,
    totals: SessionTotals,
    live: Vec<Arc<Session>>,
}

impl RouteSessionMetrics {
    fn open(&self) -> impl Iterator<Item = &Session> {
        self.live.iter().map(|session| &**session).filter(|session| session.handshake().is_some())
    }

    fn sum(&self, of: impl Fn(&Session) -> u64) -> u64 {
        self.open().map(of).sum()
    }
}

/// A value that is exported for each route.
type SessionSample = fn(&RouteSessionMetrics) -> u64;

pub(super) fn write(to: &mut Exposition, registry: &SessionRegistry) {
    let entries: Vec<RouteSessionMetrics> = registry
        .counts_by_route()
        .into_iter()
        .map(|(route, _, totals)| {
            let of_route = Some(route.to_string());
            let live =
                registry.select(&SessionSelector { route: of_route, ..SessionSelector::default() });
            RouteSessionMetrics { route, totals, live }
        })
        .collect();
    let mut write = |name, kind, help, samples: &[(Option<&str>, SessionSample)]| {
        let mut family = to.family(name, kind, help);
        for entry in &entries {
            for (direction, sample) in samples {
                match direction {
                    None => family.write_sample(&[("route", &entry.route)], sample(entry)),
                    Some(direction) => {
                        let labels = [("route", &*entry.route), ("direction", *direction)];
                        family.write_sample(&labels, sample(entry));
                    }
                }
            }
        }
    };
    write(
        "tidegate_websocket_sessions",
        MetricKind::Gauge,
        "Open WebSocket sessions, including handshakes in flight.",
        &[(None, |it| it.live.len() as u64)],
    );
    write(
        "tidegate_websocket_opened",
        MetricKind::Counter,
        "Handshakes that became sessions.",
        &[(None, |it| it.totals.opened + it.open().count() as u64)],
    );
    write(
        "tidegate_websocket_refused",
        MetricKind::Counter,
        "Handshakes refused because of a limit.",
        &[(None, |it| it.totals.refused)],
    );
    write(
        "tidegate_websocket_frames",
        MetricKind::Counter,
        "Frames, by direction from the client's point of view.",
        &[
            (Some("received"), |it| {
                it.totals.client_to_upstream.frames
                    + it.sum(|s| s.counts(Direction::ClientToUpstream).frames())
            }),
            (Some("sent"), |it| {
                it.totals.upstream_to_client.frames
                    + it.sum(|s| s.counts(Direction::UpstreamToClient).frames())
            }),
        ],
    );
    write(
        "tidegate_websocket_bytes",
        MetricKind::Counter,
        "Bytes on the wire.",
        &[
            (Some("received"), |it| {
                it.totals.client_to_upstream.bytes
                    + it.sum(|s| s.counts(Direction::ClientToUpstream).bytes)
            }),
            (Some("sent"), |it| {
                it.totals.upstream_to_client.bytes
                    + it.sum(|s| s.counts(Direction::UpstreamToClient).bytes)
            }),
        ],
    );
    write(
        "tidegate_websocket_protocol_errors",
        MetricKind::Counter,
        "Violations of RFC 6455.",
        &[(None, |it| {
            it.totals.errors
                + it.sum(|s| {
                    let errors = |direction| s.counts(direction).errors;
                    errors(Direction::ClientToUpstream) + errors(Direction::UpstreamToClient)
                })
        })],
    );
    write_durations(to, &entries);
    write_ends(to, &entries);
}

fn write_durations(to: &mut Exposition, entries: &[RouteSessionMetrics]) {
    let help = "Time from the request to the 101, of ended sessions.";
    let mut family = to.family("tidegate_websocket_handshake_seconds", MetricKind::Summary, help);
    for RouteSessionMetrics { route, totals, .. } in entries {
        let (count, sum) = totals.handshakes;
        family.write_summary(&[("route", route)], count, sum.as_secs_f64());
    }
    let help = "Time from the 101 to the end, of ended sessions.";
    let mut family = to.family("tidegate_websocket_duration_seconds", MetricKind::Summary, help);
    for RouteSessionMetrics { route, totals, .. } in entries {
        let (count, sum) = totals.lifetimes;
        family.write_summary(&[("route", route)], count, sum.as_secs_f64());
    }
    let help = "Open sessions without traffic for at least this number of seconds.";
    let mut family = to.family("tidegate_websocket_idle_sessions", MetricKind::Gauge, help);
    for entry in entries {
        let idle: Vec<Duration> = entry.open().map(Session::idle).collect();
        for least in IDLE_BUCKETS_SECONDS {
            let count = idle.iter().filter(|idle| **idle >= Duration::from_secs(least)).count();
            family.write_sample(&[("route", &entry.route), ("seconds", &least.to_string())], count);
        }
    }
}

fn write_ends(to: &mut Exposition, entries: &[RouteSessionMetrics]) {
    let help = "Ended sessions, by initiator and close code; 0 without a code.";
    let mut family = to.family("tidegate_websocket_closed", MetricKind::Counter, help);
    for RouteSessionMetrics { route, totals, .. } in entries {
        for ((initiator, code), count) in &totals.closed {
            let code = code.to_string();
            let labels = [("route", &**route), ("initiator", initiator.as_str()), ("code", &*code)];
            family.write_sample(&labels, count);
        }
    }
}
