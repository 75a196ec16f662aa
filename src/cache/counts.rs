use super::Status;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How often the cache had what to do with a route's responses.
#[derive(Debug, Default)]
pub struct Counts([AtomicU64; Status::ALL.len()]);

impl Counts {
    /// Once more.
    pub fn count(&self, status: Status) {
        if let Some(count) = self.0.get(status.index()) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// How often so far.
    pub fn of(&self, status: Status) -> u64 {
        self.0.get(status.index()).map_or(0, |count| count.load(Relaxed))
    }
}
