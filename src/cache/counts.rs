//! How often the cache gave which answer on a route. Knows nothing of requests.

use super::Status;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Number of responses of a route by cache status.
#[derive(Debug, Default)]
pub struct CacheStatusCounts([AtomicU64; Status::ALL.len()]);

impl CacheStatusCounts {
    /// Counts one response.
    pub fn count(&self, status: Status) {
        if let Some(count) = self.0.get(status.index()) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// The count so far.
    pub fn get(&self, status: Status) -> u64 {
        self.0.get(status.index()).map_or(0, |count| count.load(Relaxed))
    }
}
