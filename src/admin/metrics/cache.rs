//! The cache.

use super::exposition::{Exposition, MetricKind};
use crate::cache::{Cache, CacheStatus};
use crate::snapshot::Snapshot;

pub(super) fn write(to: &mut Exposition, cache: &Cache, snapshot: &Snapshot) {
    let Some(store) = cache.store() else { return };
    for (name, help, value) in [
        ("tidegate_cache_bytes", "Bytes of the responses that are kept.", store.bytes()),
        ("tidegate_cache_filling_bytes", "Bytes of those on their way.", store.filling()),
        ("tidegate_cache_entries", "Responses that are kept.", store.entries()),
    ] {
        to.family(name, MetricKind::Gauge, help).sample(&[], value);
    }
    to.family("tidegate_cache_evictions", MetricKind::Counter, "Responses that made room.")
        .sample(&[], store.evictions());
    to.family("tidegate_cache_purged", MetricKind::Counter, "Responses that were purged.")
        .sample(&[], store.purged());
    let help = "Requests, by what the cache had to do.";
    let mut family = to.family("tidegate_cache_requests", MetricKind::Counter, help);
    for (_, route) in snapshot.table.iter() {
        let Some(policy) = &route.cache else { continue };
        for status in CacheStatus::ALL {
            let labels = [("route", &*route.name), ("status", status.as_str())];
            family.sample(&labels, policy.counts.get(status));
        }
    }
}
