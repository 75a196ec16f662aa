//! Counts the cache results of a route (hit, miss and so on) for metrics. Knows nothing of requests.

use super::CacheStatus;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Number of responses of a route by cache status.
#[derive(Debug, Default)]
pub(crate) struct CacheStatusCounts([AtomicU64; CacheStatus::ALL.len()]);

impl CacheStatusCounts {
    /// Counts one response.
    pub(crate) fn count(&self, status: CacheStatus) {
        if let Some(count) = self.0.get(status.index()) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// The count so far.
    pub(crate) fn get(&self, status: CacheStatus) -> u64 {
        self.0.get(status.index()).map_or(0, |count| count.load(Relaxed))
    }
}
