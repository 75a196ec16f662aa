use std::sync::atomic::{AtomicU64, Ordering};
use tidegate_http::stable_hash::stable_hash;

const STRIPES: usize = 1024;

/// Tells a response that was asked for before its URL was purged from one asked for after.
///
/// A few URLs share a count: what one of them costs the others is that a response is not kept once.
pub(super) struct Marks {
    all: AtomicU64,
    stripes: Box<[AtomicU64]>,
}

/// When something was asked for, in purges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    all: u64,
    one: u64,
}

impl Marks {
    /// None has been purged.
    pub(super) fn new() -> Self {
        Self { all: AtomicU64::new(0), stripes: (0..STRIPES).map(|_| AtomicU64::new(0)).collect() }
    }

    fn stripe(&self, url: &str) -> Option<&AtomicU64> {
        let stripe = usize::try_from(stable_hash(url) % STRIPES as u64).unwrap_or_default();
        self.stripes.get(stripe)
    }

    /// Now, for this URL.
    pub(super) fn now(&self, url: &str) -> Mark {
        let one = self.stripe(url).map_or(0, |stripe| stripe.load(Ordering::Acquire));
        Mark { all: self.all.load(Ordering::Acquire), one }
    }

    /// This URL is purged.
    pub(super) fn purge(&self, url: &str) {
        if let Some(stripe) = self.stripe(url) {
            stripe.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Many are.
    pub(super) fn purge_all(&self) {
        self.all.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purge_changes_the_epoch_of_its_key_only() {
        let marks = Marks::new();
        let (a, b) = (marks.now("http://a/"), marks.now("http://b/"));
        marks.purge("http://a/");
        assert_ne!(marks.now("http://a/"), a);
        assert_eq!(marks.now("http://b/"), b);
        marks.purge_all();
        assert_ne!(marks.now("http://b/"), b);
    }
}
