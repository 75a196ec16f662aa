//! Metrics of connections, requests in flight and memory, and of what was refused for a limit. Counts nothing itself;
//! `load/` does.

use super::exposition::{Exposition, MetricKind};
use crate::admin::Admin;
use crate::load::AcceptedConnections;
use crate::state::State;
use std::sync::Arc;

pub(super) fn write(to: &mut Exposition, admin: &Admin) {
    let Admin { state: State { in_flight, overload, connection_limiter, .. }, arrivals, .. } =
        admin;
    write_accepted(to, arrivals);
    to.family("tidegate_connections", MetricKind::Gauge, "Open connections.")
        .write_sample(&[], connection_limiter.open_connections());
    to.family("tidegate_requests_in_flight", MetricKind::Gauge, "Requests in flight.")
        .write_sample(&[], in_flight.requests());
    let help = "Bytes of bodies that are held because filters read them whole.";
    to.family("tidegate_collected_body_bytes", MetricKind::Gauge, help)
        .write_sample(&[], overload.collected_bytes());
    let mut refused = to.family(
        "tidegate_connections_refused",
        MetricKind::Counter,
        "Connections refused, by the limit.",
    );
    refused.write_sample(&[("limit", "connections")], connection_limiter.refusal_log.count());
    refused.write_sample(
        &[("limit", "listener_connections")],
        connection_limiter.listener_refusal_log.count(),
    );
    refused.write_sample(
        &[("limit", "connections_per_client")],
        connection_limiter.client_refusal_log.count(),
    );
    let help = "Requests answered 503, or 429 for a limit per client, by the limit.";
    let mut shed = to.family("tidegate_requests_shed", MetricKind::Counter, help);
    shed.write_sample(&[("limit", "requests")], overload.requests.count());
    shed.write_sample(&[("limit", "requests_per_client")], overload.requests_per_client.count());
    shed.write_sample(&[("limit", "collected_bodies")], overload.collected_bodies.count());
    shed.write_sample(
        &[("limit", "collected_bodies_per_client")],
        overload.collected_bodies_per_client.count(),
    );
    shed.write_sample(&[("limit", "memory")], overload.memory.count());
    shed.write_sample(&[("limit", "files")], overload.files.count());
    let help = "Clients whose connections and WebSocket sessions were ended, by the limit.";
    to.family("tidegate_clients_evicted", MetricKind::Counter, help)
        .write_sample(&[("limit", "memory")], overload.evictions.count());
}

fn write_accepted(to: &mut Exposition, arrivals: &[Arc<AcceptedConnections>]) {
    let named = || arrivals.iter().map(|it| (it.address().to_string(), it));
    let help = "Accepted connections, including those that were refused afterwards.";
    let mut family = to.family("tidegate_connections_accepted", MetricKind::Counter, help);
    for (listener, it) in named() {
        family.write_sample(&[("listener", &*listener)], it.accepted());
    }
    let help = "Failed TLS handshakes, by reason.";
    let mut family = to.family("tidegate_tls_handshake_failures", MetricKind::Counter, help);
    for (listener, it) in named() {
        for (reason, count) in it.handshake_failures() {
            family.write_sample(&[("listener", &*listener), ("reason", reason)], count);
        }
    }
    let help = "Connections that did not begin with the required PROXY protocol header.";
    let mut family = to.family("tidegate_proxy_header_failures", MetricKind::Counter, help);
    for (listener, it) in named() {
        family.write_sample(&[("listener", &*listener)], it.proxy_header_failures());
    }
}
