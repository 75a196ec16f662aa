//! Limits how often a message that clients can cause is logged. It knows nothing of the message.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Minimum time between two lines, in seconds.
const QUIET_SECONDS: u64 = 60;

/// Something that strangers can cause as often as they like: it is counted each time and told
/// once a minute.
#[derive(Debug)]
pub(crate) struct RateLimitedLog {
    began: Instant,
    count: AtomicU64,
    /// The second from which it is logged again.
    next: AtomicU64,
}

impl Default for RateLimitedLog {
    fn default() -> Self {
        Self { began: Instant::now(), count: AtomicU64::new(0), next: AtomicU64::new(0) }
    }
}

impl RateLimitedLog {
    /// It has happened; whether it is time to tell.
    pub(crate) fn should_log(&self) -> bool {
        self.count.fetch_add(1, Ordering::Relaxed);
        let now = self.began.elapsed().as_secs();
        let next = self.next.load(Ordering::Relaxed);
        now >= next
            && self
                .next
                .compare_exchange(next, now + QUIET_SECONDS, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// How often it has happened.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_event_is_logged_once_and_counted_each_time() {
        let log = RateLimitedLog::default();
        let logged = (0..1000).filter(|_| log.should_log()).count();
        assert_eq!((logged, log.count()), (1, 1000));
    }
}
