//! What the gateway holds, and what it refused, in Prometheus' text format.

use super::Admin;
use std::fmt::Write as _;

pub(super) fn write(text: &mut String, admin: &Admin) {
    let Admin { in_flight, overload, places, .. } = admin;
    for (name, help, value) in [
        ("connections", "Connections that are held.", places.taken()),
        ("requests_in_flight", "Requests under way.", in_flight.requests()),
    ] {
        // Writing into a string can't fail, here and below.
        let _ = writeln!(text, "# HELP tidegate_{name} {help}");
        let _ = writeln!(text, "# TYPE tidegate_{name} gauge");
        let _ = writeln!(text, "tidegate_{name} {value}");
    }
    for (name, help, reasons) in [
        (
            "connections_refused_total",
            "Connections refused, by the limit.",
            [("connections", &places.full), ("connections_per_client", &places.full_of_client)],
        ),
        (
            "requests_shed_total",
            "Requests answered 503, by the limit.",
            [("requests", &overload.requests), ("memory", &overload.memory)],
        ),
    ] {
        let _ = writeln!(text, "# HELP tidegate_{name} {help}");
        let _ = writeln!(text, "# TYPE tidegate_{name} counter");
        for (limit, alarm) in reasons {
            let _ = writeln!(text, "tidegate_{name}{{limit=\"{limit}\"}} {}", alarm.count());
        }
    }
}
