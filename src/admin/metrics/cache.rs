//! Metrics of the response cache. Knows nothing of what is stored.

use super::exposition::{Exposition, MetricKind};
use crate::cache::{Cache, CacheStatus};
use crate::snapshot::Snapshot;

pub(super) fn write(to: &mut Exposition, cache: &Cache, snapshot: &Snapshot) {
    let Some(store) = cache.store() else { return };
    for (name, help, value) in [
        ("tidegate_cache_bytes", "Size of the stored responses.", store.bytes()),
        (
            "tidegate_cache_filling_bytes",
            "Size of the responses that are being stored.",
            store.filling(),
        ),
        ("tidegate_cache_entries", "Stored responses.", store.entries()),
    ] {
        to.family(name, MetricKind::Gauge, help).write_sample(&[], value);
    }
    to.family(
        "tidegate_cache_evictions",
        MetricKind::Counter,
        "Responses evicted to make room for others.",
    )
    .write_sample(&[], store.evictions());
    to.family("tidegate_cache_purged", MetricKind::Counter, "Purged responses.")
        .write_sample(&[], store.purged_count());
    let help = "Requests, by the result of the cache.";
    let mut family = to.family("tidegate_cache_requests", MetricKind::Counter, help);
    for (_, route) in snapshot.table.iter() {
        let Some(policy) = &route.cache else { continue };
        for status in CacheStatus::ALL {
            let labels = [("route", &*route.name), ("status", status.as_str())];
            family.write_sample(&labels, policy.counts.get(status));
        }
    }
}
