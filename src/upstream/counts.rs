//! Counters of an upstream, for metrics. Decides nothing.

use super::ConcurrencyLimit;
use crate::histogram::Histogram;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What became of an attempt to have a request answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptResult {
    /// An answer has come, of this status.
    Answered(u16),
    /// No connection could be established.
    Unreachable,
    /// The connection broke, or nothing came in time.
    Broken,
}

/// What an upstream has done so far.
#[derive(Debug, Default)]
pub(crate) struct AttemptCounts {
    attempts: [AtomicU64; 7],
    connections: [AtomicU64; 2],
    refused: [AtomicU64; ConcurrencyLimit::ALL.len()],
    retries: AtomicU64,
    denied: AtomicU64,
    ejections: AtomicU64,
    heads: Histogram,
}

impl AttemptCounts {
    /// The possible results of an attempt, as the metrics name them.
    const ATTEMPT_RESULTS: [&str; 7] = ["1xx", "2xx", "3xx", "4xx", "5xx", "unreachable", "broken"];

    /// An attempt has ended.
    pub(super) fn record_attempt(&self, attempt: AttemptResult, took: Duration) {
        let index = match attempt {
            AttemptResult::Answered(status) => {
                self.heads.observe(took);
                usize::from(status / 100).clamp(1, 5) - 1
            }
            AttemptResult::Unreachable => 5,
            AttemptResult::Broken => 6,
        };
        if let Some(count) = self.attempts.get(index) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// An attempt has its connection: a new one, or one that was there.
    pub(crate) fn record_connection(&self, is_reused: bool) {
        let [opened, reused] = &self.connections;
        (if is_reused { reused } else { opened }).fetch_add(1, Relaxed);
    }

    /// A request found this bound reached.
    pub(super) fn record_refusal(&self, bound: ConcurrencyLimit) {
        if let Some(count) = self.refused.get(bound as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// There is another attempt for a request.
    pub(crate) fn record_retry(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    /// There would be another attempt, and none is left in the budget.
    pub(super) fn record_denied_retry(&self) {
        self.denied.fetch_add(1, Relaxed);
    }

    pub(super) fn record_ejection(&self) {
        self.ejections.fetch_add(1, Relaxed);
    }

    /// How attempts ended, and how often.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Self::ATTEMPT_RESULTS.into_iter().zip(self.attempts.iter().map(|count| count.load(Relaxed)))
    }

    /// Connections that attempts had: how they came by them, and how often.
    pub(crate) fn connections(&self) -> [(&'static str, u64); 2] {
        let [opened, reused] = &self.connections;
        [("opened", opened.load(Relaxed)), ("reused", reused.load(Relaxed))]
    }

    /// Requests and sessions that were refused, by the bound that was reached.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (ConcurrencyLimit, u64)> {
        ConcurrencyLimit::ALL.into_iter().zip(self.refused.iter().map(|count| count.load(Relaxed)))
    }

    /// Attempts that there would have been, had the budget had one left.
    pub(crate) fn retries_denied(&self) -> u64 {
        self.denied.load(Relaxed)
    }

    /// Attempts after the first.
    pub(crate) fn retries(&self) -> u64 {
        self.retries.load(Relaxed)
    }

    /// How often an endpoint was ejected.
    pub(crate) fn ejections(&self) -> u64 {
        self.ejections.load(Relaxed)
    }

    /// From the choice of an endpoint to the head of its answer.
    pub(crate) fn heads(&self) -> &Histogram {
        &self.heads
    }
}
