//! The cache.

use super::exposition::{Exposition, Kind};
use crate::cache::{Cache, Status};
use crate::snapshot::Snapshot;

pub(super) fn write(to: &mut Exposition, cache: &Cache, snapshot: &Snapshot) {
    let Some(store) = cache.store() else { return };
    for (name, help, value) in [
        ("tidegate_cache_bytes", "Bytes of the responses that are kept.", store.bytes()),
        ("tidegate_cache_filling_bytes", "Bytes of those on their way.", store.filling()),
        ("tidegate_cache_entries", "Responses that are kept.", store.entries()),
    ] {
        to.family(name, Kind::Gauge, help).sample(&[], value);
    }
    to.family("tidegate_cache_evictions", Kind::Counter, "Responses that made room.")
        .sample(&[], store.evictions());
    to.family("tidegate_cache_purged", Kind::Counter, "Responses that were purged.")
        .sample(&[], store.purged());
    let help = "Requests, by what the cache had to do.";
    let mut family = to.family("tidegate_cache_requests", Kind::Counter, help);
    for (_, route) in snapshot.table.iter() {
        let Some(policy) = &route.cache else { continue };
        for status in Status::ALL {
            let labels = [("route", &*route.name), ("status", status.as_str())];
            family.sample(&labels, policy.counts.get(status));
        }
    }
}
