//! Tells a response that was requested before a purge of its URL from one requested after. Stores nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use tidegate_http::stable_hash::stable_hash;

const STRIPES: usize = 1024;

/// Counts purges by URL.
///
/// A few URLs share a counter; a purge of one may then keep a response of another from being stored once.
pub(super) struct PurgeCounters {
    all: AtomicU64,
    stripes: Box<[AtomicU64]>,
}

/// When a response was requested, counted in purges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PurgeEpoch {
    all: u64,
    one: u64,
}

impl PurgeCounters {
    /// Nothing has been purged.
    pub(super) fn new() -> Self {
        Self { all: AtomicU64::new(0), stripes: (0..STRIPES).map(|_| AtomicU64::new(0)).collect() }
    }

    fn stripe(&self, url: &str) -> Option<&AtomicU64> {
        let stripe = usize::try_from(stable_hash(url) % STRIPES as u64).unwrap_or_default();
        self.stripes.get(stripe)
    }

    /// The current epoch of a URL.
    pub(super) fn current(&self, url: &str) -> PurgeEpoch {
        let one = self.stripe(url).map_or(0, |stripe| stripe.load(Ordering::Acquire));
        PurgeEpoch { all: self.all.load(Ordering::Acquire), one }
    }

    /// Records the purge of a URL.
    pub(super) fn purge(&self, url: &str) {
        if let Some(stripe) = self.stripe(url) {
            stripe.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Records a purge of many URLs.
    pub(super) fn purge_all(&self) {
        self.all.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purge_changes_the_epoch_of_its_key_only() {
        let purges = PurgeCounters::new();
        let (a, b) = (purges.current("http://a/"), purges.current("http://b/"));
        purges.purge("http://a/");
        assert_ne!(purges.current("http://a/"), a);
        assert_eq!(purges.current("http://b/"), b);
        purges.purge_all();
        assert_ne!(purges.current("http://b/"), b);
    }
}
