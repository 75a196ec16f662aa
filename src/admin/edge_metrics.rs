//! Upstreams and certificates in Prometheus' text format.

use super::metrics::escaped;
use crate::generation::Generation;
use crate::upstream::Endpoint;
use std::fmt::Write as _;
use std::time::SystemTime;

type Sample = fn(&Endpoint) -> usize;

const SAMPLES: [(&str, &str, Sample); 3] = [
    ("healthy", "Whether the active checks say that it is well.", |endpoint| {
        usize::from(endpoint.health().is_healthy())
    }),
    ("ejected", "Whether it is ejected for what it does to requests.", |endpoint| {
        usize::from(endpoint.health().is_ejected_now())
    }),
    ("in_flight", "Requests and WebSocket sessions on it.", |endpoint| {
        endpoint.health().in_flight()
    }),
];

/// Appends them.
pub(super) fn write(text: &mut String, generation: &Generation) {
    for (name, help, sample) in SAMPLES {
        // Writing into a string can't fail, here and below.
        let _ = writeln!(text, "# HELP tidegate_upstream_endpoint_{name} {help}");
        let _ = writeln!(text, "# TYPE tidegate_upstream_endpoint_{name} gauge");
        for (upstream, pool) in &generation.pools {
            for endpoint in pool.endpoints() {
                let _ = writeln!(
                    text,
                    "tidegate_upstream_endpoint_{name}{{upstream=\"{}\",endpoint=\"{}\"}} {}",
                    escaped(upstream),
                    escaped(endpoint.written()),
                    sample(endpoint)
                );
            }
        }
    }
    text.push_str("# HELP tidegate_tls_certificate_not_after_timestamp_seconds When it expires.\n");
    text.push_str("# TYPE tidegate_tls_certificate_not_after_timestamp_seconds gauge\n");
    for listener in &generation.listeners {
        let certificates = listener.tls.iter().flat_map(|tls| tls.certificates.all());
        for (number, certificate) in certificates.enumerate() {
            let until = certificate.not_after.duration_since(SystemTime::UNIX_EPOCH);
            let _ = writeln!(
                text,
                "tidegate_tls_certificate_not_after_timestamp_seconds{{listener=\"{}\",\
                 number=\"{number}\",name=\"{}\"}} {}",
                listener.address,
                escaped(certificate.name()),
                until.unwrap_or_default().as_secs()
            );
        }
    }
    orders(text, generation);
}

/// Appends the orders of certificates.
fn orders(text: &mut String, generation: &Generation) {
    text.push_str("# HELP tidegate_acme_orders_total Orders of certificates, by how they ended.\n");
    text.push_str("# TYPE tidegate_acme_orders_total counter\n");
    for managed in generation.managed() {
        let name = managed.settings().domains.first().map_or("", String::as_str);
        let (issued, failed) = managed.orders();
        for (result, count) in [("issued", issued), ("failed", failed)] {
            let _ = writeln!(
                text,
                "tidegate_acme_orders_total{{name=\"{}\",result=\"{result}\"}} {count}",
                escaped(name)
            );
        }
    }
}
