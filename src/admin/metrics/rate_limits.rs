//! Metrics of rate limits, and of the counters that several gateways share. Limits nothing itself.

use super::exposition::{Exposition, MetricKind};
use crate::snapshot::Snapshot;

pub(super) fn write(to: &mut Exposition, snapshot: &Snapshot) {
    if !snapshot.rate_limits.is_empty() {
        let help = "Requests answered 429, by rate-limit key; `route` is empty for limits of the \
                    top level.";
        let mut family = to.family("tidegate_rate_limited_requests", MetricKind::Counter, help);
        for limit in &snapshot.rate_limits {
            let settings = limit.settings();
            let (by, allowed) = (settings.by.to_string(), settings.to_string());
            let labels = [("route", &*settings.scope), ("by", &*by), ("limit", &*allowed)];
            family.write_sample(&labels, limit.refused_count());
        }
    }
    let Some(shared) = &snapshot.global.shared else { return };
    let help = "Whether the server of the shared counters can be reached.";
    to.family("tidegate_shared_counters_up", MetricKind::Gauge, help)
        .write_sample(&[], u8::from(shared.is_up()));
    let help = "Requests to the shared counters, by result; `alone`: counted by this gateway, \
                because the server was unreachable.";
    let mut family = to.family("tidegate_shared_counters_requests", MetricKind::Counter, help);
    let tally = shared.totals();
    for (outcome, count) in
        [("answered", tally.answered), ("failed", tally.failed), ("alone", tally.unanswered)]
    {
        family.write_sample(&[("outcome", outcome)], count);
    }
}
