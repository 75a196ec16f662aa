//! The counters of requests by route, method and status. It knows nothing of the format in which metrics are
//! exported.

use super::keys::OTHER_METHOD;
use crate::histogram::{Exemplar, Histogram};
use http::Method;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The methods that are counted separately (RFC 9110, section 9, and PATCH of RFC 5789). All others are counted
/// together, because clients can invent any number of them.
const COUNTED_METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", OTHER_METHOD];

/// Maximum number of pairs of method and status that are counted separately on a route.
const MAX_METHOD_STATUS_PAIRS: usize = 64;

/// The counters of a route: requests by method and status, and their durations.
#[derive(Debug, Default)]
pub(crate) struct RouteRequestCounters(OnceLock<Box<RouteCounts>>);

#[derive(Debug)]
struct RouteCounts {
    /// Pairs take the first free place; one that has a place keeps it.
    pairs: [MethodStatusCount; MAX_METHOD_STATUS_PAIRS],
    /// What found none.
    others: AtomicU64,
    duration: Histogram,
    server_errors: AtomicU64,
    failed_handshakes: AtomicU64,
    broken_handshakes: AtomicU64,
}

#[derive(Debug, Default)]
struct MethodStatusCount {
    /// `method * 1000 + status`; 0 while it is free.
    key: AtomicU32,
    count: AtomicU64,
}

impl Default for RouteCounts {
    fn default() -> Self {
        Self {
            pairs: std::array::from_fn(|_| MethodStatusCount::default()),
            others: AtomicU64::default(),
            duration: Histogram::default(),
            server_errors: AtomicU64::default(),
            failed_handshakes: AtomicU64::default(),
            broken_handshakes: AtomicU64::default(),
        }
    }
}

/// Totals of requests by their result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RequestTotals {
    /// All requests.
    pub requests: u64,
    /// Requests that failed with 500 or above, except responses that the configuration demands.
    pub server_errors: u64,
    /// WebSocket handshakes that did not become sessions.
    pub failed_handshakes: u64,
    /// Failed handshakes because of the gateway or the upstream: not because of the client, a limit, or a close request.
    pub broken_handshakes: u64,
}

impl RouteRequestCounters {
    /// Counts an answered request.
    pub(crate) fn count(&self, method: &Method, status: u16, took: Duration) {
        let counts = self.0.get_or_init(Box::default);
        counts.duration.observe(took);
        let method = COUNTED_METHODS.iter().position(|known| *known == method.as_str());
        let method = method.unwrap_or(COUNTED_METHODS.len() - 1);
        let key = method as u32 * 1000 + u32::from(status.min(999));
        for pair in &counts.pairs {
            let taken = match pair.key.load(Relaxed) {
                0 => pair.key.compare_exchange(0, key, Relaxed, Relaxed).unwrap_or_else(|it| it),
                taken => taken,
            };
            if taken == key || taken == 0 {
                pair.count.fetch_add(1, Relaxed);
                return;
            }
        }
        counts.others.fetch_add(1, Relaxed);
    }

    /// Keeps a traced request as the exemplar of its duration.
    pub(crate) fn exemplify(&self, exemplar: Exemplar) {
        self.0.get_or_init(Box::default).duration.record_exemplar(exemplar);
    }

    /// Counts a failure with 500 or above that the configuration did not demand.
    pub(crate) fn count_server_error(&self) {
        self.0.get_or_init(Box::default).server_errors.fetch_add(1, Relaxed);
    }

    /// Counts a WebSocket handshake that did not become a session.
    pub(crate) fn count_failed_handshake(&self) {
        self.0.get_or_init(Box::default).failed_handshakes.fetch_add(1, Relaxed);
    }

    /// Counts a WebSocket handshake that failed at the gateway or the upstream; it also counts as failed.
    pub(crate) fn count_broken_handshake(&self) {
        self.0.get_or_init(Box::default).broken_handshakes.fetch_add(1, Relaxed);
    }

    /// The totals.
    pub(crate) fn tally(&self) -> RequestTotals {
        self.0.get().map_or_else(RequestTotals::default, |counts| RequestTotals {
            requests: self.by_code().map(|(.., count)| count).sum(),
            server_errors: counts.server_errors.load(Relaxed),
            failed_handshakes: counts.failed_handshakes.load(Relaxed),
            broken_handshakes: counts.broken_handshakes.load(Relaxed),
        })
    }

    /// Method, status, count; status 0 is all statuses that are not counted separately.
    pub(crate) fn by_code(&self) -> impl Iterator<Item = (&'static str, u16, u64)> {
        let counts = self.0.get();
        let pairs = counts.into_iter().flat_map(|counts| &counts.pairs).filter_map(|pair| {
            let key = pair.key.load(Relaxed);
            let method = COUNTED_METHODS.get(key as usize / 1000).filter(|_| key > 0)?;
            Some((*method, (key % 1000) as u16, pair.count.load(Relaxed)))
        });
        let others = counts.map_or(0, |counts| counts.others.load(Relaxed));
        pairs.chain((others > 0).then_some((OTHER_METHOD, 0, others)))
    }

    /// Their durations; `None` before the first request.
    pub(crate) fn duration(&self) -> Option<&Histogram> {
        self.0.get().map(|counts| &counts.duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRIEF: Duration = Duration::from_millis(1);

    #[test]
    fn each_pair_of_method_and_status_is_counted_separately() {
        let requests = RouteRequestCounters::default();
        assert!(requests.duration().is_none());
        for status in [200, 404, 200] {
            requests.count(&Method::GET, status, BRIEF);
        }
        let brew = Method::from_bytes(b"BREW").expect("a method");
        requests.count(&brew, 418, BRIEF);
        let counted: Vec<_> = requests.by_code().collect();
        assert_eq!(counted, [("GET", 200, 2), ("GET", 404, 1), ("_OTHER", 418, 1)]);
    }

    #[test]
    fn pairs_beyond_the_bound_share_one_counter() {
        let requests = RouteRequestCounters::default();
        for status in 100..600 {
            requests.count(&Method::GET, status, BRIEF);
        }
        assert_eq!(requests.by_code().count(), MAX_METHOD_STATUS_PAIRS + 1);
        assert_eq!(requests.by_code().map(|(.., count)| count).sum::<u64>(), 500);
    }

    #[test]
    fn concurrent_counting_loses_nothing() {
        let requests = RouteRequestCounters::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..10_000 {
                        requests.count(&Method::GET, 200 + number % 20, BRIEF);
                    }
                });
            }
        });
        assert_eq!(requests.by_code().count(), 20);
        assert!(requests.by_code().all(|(.., count)| count == 2000));
    }
}
