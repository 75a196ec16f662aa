//! Limits retries to a share of the requests. Decides about no single request.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// Thousandths of a retry.
const RETRY: i64 = 1000;
/// Retries that are saved up at most, and there at the start.
const SAVED: i64 = 20 * RETRY;

/// How many requests may be tried again: a share of those that come, so that retries never add
/// much to the load of a service that is failing already.
#[derive(Debug)]
pub struct RetryBudget {
    /// What each request adds.
    share: i64,
    left: AtomicI64,
}

impl RetryBudget {
    /// A budget of so many retries for a hundred requests.
    pub fn new(percent: u8) -> Self {
        Self { share: i64::from(percent) * RETRY / 100, left: AtomicI64::new(SAVED) }
    }

    /// A request has come.
    pub fn earn(&self) {
        // Full nearly always, and then nothing is written.
        if self.left.load(Relaxed) < SAVED {
            self.left.fetch_add(self.share, Relaxed);
        }
    }

    /// How many are left, parts of one included.
    pub fn left(&self) -> f64 {
        self.left.load(Relaxed) as f64 / RETRY as f64
    }

    /// Takes a retry from it, if there is one left.
    pub fn spend(&self) -> bool {
        self.left
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(RETRY).filter(|it| *it >= 0))
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_budget_allows_a_share_of_the_requests() {
        let budget = RetryBudget::new(20);
        assert_eq!(budget.left(), 20.0);
        assert_eq!((0..100).filter(|_| budget.spend()).count(), 20, "what was saved up");
        assert_eq!(budget.left(), 0.0);
        let retried = (0..1000).filter(|_| {
            budget.earn();
            budget.spend()
        });
        assert_eq!(retried.count(), 200);
    }
}
