//! What the gateway holds, and what it refused.

use super::exposition::{Exposition, Kind};
use crate::admin::Admin;

pub(super) fn write(to: &mut Exposition, admin: &Admin) {
    let Admin { in_flight, overload, places, .. } = admin;
    to.family("tidegate_connections", Kind::Gauge, "Connections that are held.")
        .sample(&[], places.taken());
    to.family("tidegate_requests_in_flight", Kind::Gauge, "Requests under way.")
        .sample(&[], in_flight.requests());
    let mut refused = to.family(
        "tidegate_connections_refused",
        Kind::Counter,
        "Connections refused, by the limit.",
    );
    refused.sample(&[("limit", "connections")], places.full.count());
    refused.sample(&[("limit", "listener_connections")], places.full_of_listener.count());
    refused.sample(&[("limit", "connections_per_client")], places.full_of_client.count());
    let mut shed =
        to.family("tidegate_requests_shed", Kind::Counter, "Requests answered 503, by the limit.");
    shed.sample(&[("limit", "requests")], overload.requests.count());
    shed.sample(&[("limit", "memory")], overload.memory.count());
    shed.sample(&[("limit", "files")], overload.files.count());
}
