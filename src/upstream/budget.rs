//! Limits retries to a share of the requests. Decides about no single request.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// The cost of one retry, in thousandths of a retry.
const RETRY_COST_THOUSANDTHS: i64 = 1000;
/// Maximum balance of the budget, and its balance at the start: 20 retries, in thousandths.
const MAX_BALANCE_THOUSANDTHS: i64 = 20 * RETRY_COST_THOUSANDTHS;

/// How many requests may be tried again: a share of those that come, so that retries never add
/// much to the load of a service that is failing already.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    /// What each request adds.
    share_per_request: i64,
    balance: AtomicI64,
}

impl RetryBudget {
    /// A budget of this many retries per hundred requests.
    pub(crate) fn new(percent: u8) -> Self {
        Self {
            share_per_request: i64::from(percent) * RETRY_COST_THOUSANDTHS / 100,
            balance: AtomicI64::new(MAX_BALANCE_THOUSANDTHS),
        }
    }

    /// A request has come.
    pub(crate) fn add_share(&self) {
        // Full nearly always, and then nothing is written.
        if self.balance.load(Relaxed) < MAX_BALANCE_THOUSANDTHS {
            self.balance.fetch_add(self.share_per_request, Relaxed);
        }
    }

    /// How many are left, parts of one included.
    pub(crate) fn balance(&self) -> f64 {
        self.balance.load(Relaxed) as f64 / RETRY_COST_THOUSANDTHS as f64
    }

    /// Takes a retry from it, if there is one left.
    pub(crate) fn take_retry(&self) -> bool {
        self.balance
            .fetch_update(Relaxed, Relaxed, |left| {
                left.checked_sub(RETRY_COST_THOUSANDTHS).filter(|it| *it >= 0)
            })
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_budget_allows_a_share_of_the_requests() {
        let budget = RetryBudget::new(20);
        assert_eq!(budget.balance(), 20.0);
        assert_eq!((0..100).filter(|_| budget.take_retry()).count(), 20, "what was saved up");
        assert_eq!(budget.balance(), 0.0);
        let retried = (0..1000).filter(|_| {
            budget.add_share();
            budget.take_retry()
        });
        assert_eq!(retried.count(), 200);
    }
}
