//! Metrics of upstreams, their endpoints and limits, and of certificates. Decides nothing about endpoints.

use super::exposition::{Exposition, MetricKind};
use crate::snapshot::{CurrentSnapshot, Snapshot};
use crate::upstream::Endpoint;
use std::time::SystemTime;

type EndpointSample = fn(&Endpoint) -> usize;

const ENDPOINT_METRICS: [(&str, &str, EndpointSample); 3] = [
    (
        "tidegate_upstream_endpoint_healthy",
        "Whether the endpoint passes its health checks.",
        |endpoint| usize::from(endpoint.health().is_healthy()),
    ),
    (
        "tidegate_upstream_endpoint_ejected",
        "Whether the endpoint is ejected because of failed requests.",
        |endpoint| usize::from(endpoint.health().is_ejected_now()),
    ),
    (
        "tidegate_upstream_endpoint_in_flight",
        "Requests and WebSocket sessions in flight at the endpoint.",
        |endpoint| endpoint.health().in_flight(),
    ),
];

pub(super) fn write(to: &mut Exposition, current: &CurrentSnapshot) {
    let in_force = current.load();
    let snapshot: &Snapshot = &in_force;
    for (name, help, sample) in ENDPOINT_METRICS {
        let mut family = to.family(name, MetricKind::Gauge, help);
        for (upstream, pool) in &snapshot.pools {
            for endpoint in pool.endpoints() {
                let labels =
                    [("upstream", upstream.as_str()), ("endpoint", endpoint.address_text())];
                family.write_sample(&labels, sample(endpoint));
            }
        }
    }
    write_attempts(to, snapshot);
    write_limits(to, snapshot);
    certificates(to, current, snapshot);
}

fn write_attempts(to: &mut Exposition, snapshot: &Snapshot) {
    let help = "Attempts to forward a request, by result: the class of the status, `unreachable` \
                without a connection, `broken` without a response.";
    let mut family = to.family("tidegate_upstream_attempts", MetricKind::Counter, help);
    for (upstream, pool) in &snapshot.pools {
        for (result, count) in pool.counts().attempts() {
            family.write_sample(&[("upstream", upstream), ("result", result)], count);
        }
    }
    let mut family =
        to.family("tidegate_upstream_retries", MetricKind::Counter, "Attempts after the first.");
    for (upstream, pool) in &snapshot.pools {
        family.write_sample(&[("upstream", upstream)], pool.counts().retries());
    }
    let help = "Retries that the retry budget did not allow.";
    let mut family = to.family("tidegate_upstream_retries_denied", MetricKind::Counter, help);
    for (upstream, pool) in &snapshot.pools {
        family.write_sample(&[("upstream", upstream)], pool.counts().retries_denied());
    }
    let help = "Retries that the retry budget allows now.";
    let mut family = to.family("tidegate_upstream_retry_budget", MetricKind::Gauge, help);
    for (upstream, pool) in &snapshot.pools {
        family.write_sample(&[("upstream", upstream)], pool.budget().balance());
    }
    let help = "Connections of attempts: opened for the attempt, or reused.";
    let mut family = to.family("tidegate_upstream_connections", MetricKind::Counter, help);
    for (upstream, pool) in &snapshot.pools {
        for (kind, count) in pool.counts().connections() {
            family.write_sample(&[("upstream", upstream), ("kind", kind)], count);
        }
    }
    let help = "Ejections of endpoints.";
    let mut family = to.family("tidegate_upstream_ejections", MetricKind::Counter, help);
    for (upstream, pool) in &snapshot.pools {
        family.write_sample(&[("upstream", upstream)], pool.counts().ejections());
    }
    let help = "Time from the selection of an endpoint to the head of its response, by attempt.";
    let mut family =
        to.family("tidegate_upstream_request_duration_seconds", MetricKind::Histogram, help);
    for (upstream, pool) in &snapshot.pools {
        family.write_histogram(&[("upstream", upstream)], pool.counts().heads());
    }
}

/// The concurrency limits of upstreams and how much of them is used; upstreams without a limit are left out.
fn write_limits(to: &mut Exposition, snapshot: &Snapshot) {
    let help = "Requests and sessions refused because the upstream had reached its limit.";
    let mut family = to.family("tidegate_upstream_refused", MetricKind::Counter, help);
    for (upstream, pool) in &snapshot.pools {
        let is_bounded = |bound| pool.breaker().is_some_and(|it| it.limit(bound).is_some());
        for (bound, count) in pool.counts().refusals() {
            // A limit that is gone took its count along, were it left out.
            if count > 0 || is_bounded(bound) {
                family.write_sample(&[("upstream", upstream), ("limit", bound.name())], count);
            }
        }
    }
    type WriteMetric = fn((usize, usize)) -> usize;
    let families: [(&str, &str, WriteMetric); 2] = [
        (
            "tidegate_upstream_limit_used",
            "Connections or requests in flight that count towards this limit of the upstream.",
            |(used, _)| used,
        ),
        (
            "tidegate_upstream_limit",
            "Maximum number of connections or requests of this limit of the upstream.",
            |(_, limit)| limit,
        ),
    ];
    for (name, help, value) in families {
        let mut family = to.family(name, MetricKind::Gauge, help);
        for (upstream, pool) in &snapshot.pools {
            for (bound, used, limit) in pool.breaker().iter().flat_map(|it| it.usage()) {
                let labels = [("upstream", upstream.as_str()), ("limit", bound.name())];
                family.write_sample(&labels, value((used, limit)));
            }
        }
    }
}

fn certificates(to: &mut Exposition, current: &CurrentSnapshot, snapshot: &Snapshot) {
    let mut family = to.family(
        "tidegate_tls_certificate_not_after_timestamp_seconds",
        MetricKind::Gauge,
        "Expiry time of the certificate.",
    );
    // One that is written and not bound yet shows its certificates to nobody.
    let bound = &current.startup_in_force().listeners;
    for listener in snapshot.listeners.iter().filter(|it| bound.contains(&it.address)) {
        let certificates = listener.tls.iter().flat_map(|tls| tls.certificates.all());
        for (number, certificate) in certificates.enumerate() {
            let until = certificate.not_after.duration_since(SystemTime::UNIX_EPOCH);
            let labels = [
                ("listener", &*listener.address.to_string()),
                ("number", &number.to_string()),
                ("name", certificate.name()),
            ];
            family.write_sample(&labels, until.unwrap_or_default().as_secs());
        }
    }
    let help = "Certificate orders, by result.";
    let mut family = to.family("tidegate_acme_orders", MetricKind::Counter, help);
    for managed in snapshot.managed() {
        let name = managed.settings().domains.first().map_or("", String::as_str);
        let (issued, failed) = managed.order_counts();
        family.write_sample(&[("name", name), ("result", "issued")], issued);
        family.write_sample(&[("name", name), ("result", "failed")], failed);
    }
}
