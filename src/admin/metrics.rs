//! The sessions in Prometheus' text format.

use crate::websocket::{Registry, Selector, Session, Totals};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// Bounds of the histogram of idle times, in seconds.
const IDLE: [u64; 8] = [1, 5, 15, 60, 300, 900, 3600, 14_400];

/// A route's name, what has been on it, and its live sessions.
type Entry = (Arc<str>, Totals, Vec<Arc<Session>>);

/// Something that is told of each route.
type Sample = fn(&Of<'_>) -> f64;

/// What has been on a route, and what is there now.
struct Of<'r> {
    totals: &'r Totals,
    live: &'r [Arc<Session>],
}

impl Of<'_> {
    fn open(&self) -> impl Iterator<Item = &Session> {
        self.live.iter().map(|session| &**session).filter(|session| session.handshake().is_some())
    }

    fn sum(&self, of: impl Fn(&Session) -> u64) -> f64 {
        self.open().map(of).sum::<u64>() as f64
    }
}

const SAMPLES: [(&str, &str, &str, &str, Sample); 13] = [
    ("sessions", "gauge", "", "Live sessions, handshakes under way included.", |of| {
        of.live.len() as f64
    }),
    ("opened_total", "counter", "", "Handshakes that became sessions.", |of| {
        of.totals.opened as f64 + of.open().count() as f64
    }),
    ("refused_total", "counter", "", "Handshakes refused for a limit.", |of| {
        of.totals.refused as f64
    }),
    (
        "frames_total",
        "counter",
        "direction=\"received\"",
        "Frames, by direction as the client's side sees it.",
        |of| of.totals.frames_received as f64 + of.sum(|session| session.received().frames()),
    ),
    ("frames_total", "counter", "direction=\"sent\"", "", |of| {
        of.totals.frames_sent as f64 + of.sum(|session| session.sent().frames())
    }),
    ("bytes_total", "counter", "direction=\"received\"", "Bytes on the wire.", |of| {
        of.totals.bytes_received as f64 + of.sum(|session| session.received().bytes)
    }),
    ("bytes_total", "counter", "direction=\"sent\"", "", |of| {
        of.totals.bytes_sent as f64 + of.sum(|session| session.sent().bytes)
    }),
    ("protocol_errors_total", "counter", "", "Violations of RFC 6455.", |of| {
        of.totals.errors as f64
            + of.sum(|session| session.received().errors + session.sent().errors)
    }),
    (
        "handshake_seconds_sum",
        "counter",
        "",
        "From the request to the 101, of sessions that have ended.",
        |of| of.totals.handshakes.1.as_secs_f64(),
    ),
    ("handshake_seconds_count", "counter", "", "", |of| of.totals.handshakes.0 as f64),
    ("duration_seconds_sum", "counter", "", "From the 101 to the end.", |of| {
        of.totals.lifetimes.1.as_secs_f64()
    }),
    ("duration_seconds_count", "counter", "", "", |of| of.totals.lifetimes.0 as f64),
    ("idle_seconds_count", "gauge", "", "", |of| of.open().count() as f64),
];

pub(super) fn text(registry: &Registry) -> String {
    let routes: Vec<Entry> = registry
        .routes()
        .into_iter()
        .map(|(name, _, totals)| {
            let selector = Selector { route: Some(name.to_string()), ..Selector::default() };
            (name, totals, registry.select(&selector))
        })
        .collect();
    let mut text = String::new();
    for (name, kind, labels, help, sample) in SAMPLES {
        if !help.is_empty() {
            let _ = writeln!(text, "# HELP tidegate_websocket_{name} {help}");
            let _ = writeln!(text, "# TYPE tidegate_websocket_{name} {kind}");
        }
        for (route, totals, live) in &routes {
            let comma = if labels.is_empty() { "" } else { "," };
            let value = sample(&Of { totals, live });
            let route = escaped(route);
            let _ = writeln!(
                text,
                "tidegate_websocket_{name}{{route=\"{route}\"{comma}{labels}}} {value}"
            );
        }
    }
    closes(&mut text, &routes);
    idle(&mut text, &routes);
    text
}

fn closes(text: &mut String, routes: &[Entry]) {
    text.push_str("# HELP tidegate_websocket_closed_total Sessions that ended; code 0 for none.\n");
    text.push_str("# TYPE tidegate_websocket_closed_total counter\n");
    for (route, totals, _) in routes {
        let route = escaped(route);
        for ((initiator, code), count) in &totals.closed {
            let initiator = initiator.as_str();
            let _ = writeln!(
                text,
                "tidegate_websocket_closed_total{{route=\"{route}\",initiator=\"{initiator}\",\
                 code=\"{code}\"}} {count}"
            );
        }
    }
}

fn idle(text: &mut String, routes: &[Entry]) {
    text.push_str("# HELP tidegate_websocket_idle_seconds_bucket Live sessions by how long they have been idle.\n");
    text.push_str("# TYPE tidegate_websocket_idle_seconds_bucket gauge\n");
    for (route, totals, live) in routes {
        let route = escaped(route);
        let idle: Vec<Duration> = Of { totals, live }.open().map(Session::idle).collect();
        for bound in IDLE {
            let count = idle.iter().filter(|idle| **idle <= Duration::from_secs(bound)).count();
            let _ = writeln!(
                text,
                "tidegate_websocket_idle_seconds_bucket{{route=\"{route}\",le=\"{bound}\"}} {count}"
            );
        }
        let count = idle.len();
        let _ = writeln!(
            text,
            "tidegate_websocket_idle_seconds_bucket{{route=\"{route}\",le=\"+Inf\"}} {count}"
        );
    }
}

/// As a label's value may stand between quotation marks.
pub(super) fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
