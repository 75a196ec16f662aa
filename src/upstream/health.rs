//! The health of one address: failures, ejection, probes, slow start. Sends nothing.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tidegate_http::stable_hash;

/// Time constant of the moving average of an endpoint's latency, in seconds.
const LATENCY_TIME_CONSTANT: f64 = 10.0;

/// Maximum time that an endpoint stays ejected, however often it was ejected.
const MAX_EJECTION_TIMEOUT: Duration = Duration::from_secs(300);

/// Milliseconds since the process started, from 1; 0 means never.
pub(super) fn now() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_millis() as u64 + 1
}

/// When an endpoint is ejected because requests to it fail (outlier detection).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ejection {
    /// Limit on consecutive failed connections.
    pub connect_failures: Option<u32>,
    /// Limit on consecutive responses of 500 and above, including truncated and late ones.
    pub server_errors: Option<u32>,
    /// The duration of the first ejection; each further one doubles it.
    pub duration: Duration,
    /// Maximum percentage of endpoints that are ejected concurrently.
    pub max_percent: u8,
}

stable_hash!(Ejection { connect_failures, server_errors, duration, max_percent });

/// The state of an endpoint: whether it is healthy, and how busy it is.
#[derive(Debug)]
pub(crate) struct Health {
    /// The result of the active checks.
    is_healthy: AtomicBool,
    /// Number of consecutive checks with the opposite result.
    contradictions: AtomicU32,
    connect_failures: AtomicU32,
    server_errors: AtomicU32,
    ejected_until: AtomicU64,
    ejections: AtomicU32,
    /// When it recovered; 0 if it was never unhealthy.
    back_since: AtomicU64,
    in_flight: AtomicUsize,
    /// Microseconds to the head of a response, as a moving average; the bits of an `f64`.
    latency: AtomicU64,
    measured: AtomicU64,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            is_healthy: AtomicBool::new(true),
            contradictions: AtomicU32::default(),
            connect_failures: AtomicU32::default(),
            server_errors: AtomicU32::default(),
            ejected_until: AtomicU64::default(),
            ejections: AtomicU32::default(),
            back_since: AtomicU64::default(),
            in_flight: AtomicUsize::default(),
            latency: AtomicU64::default(),
            measured: AtomicU64::default(),
        }
    }
}

impl Health {
    /// Whether requests may use the endpoint.
    pub(super) fn is_available(&self, now: u64) -> bool {
        self.is_healthy.load(Relaxed) && !self.is_ejected(now)
    }

    pub(super) fn is_ejected(&self, now: u64) -> bool {
        self.ejected_until.load(Relaxed) > now
    }

    /// Whether the active checks find it healthy.
    pub(crate) fn is_healthy(&self) -> bool {
        self.is_healthy.load(Relaxed)
    }

    /// Whether it is ejected now.
    pub(crate) fn is_ejected_now(&self) -> bool {
        self.is_ejected(now())
    }

    /// Records the result of an active check; returns whether the health changed.
    pub(super) fn record_check(
        &self,
        is_healthy: bool,
        healthy_after: u32,
        unhealthy_after: u32,
    ) -> bool {
        if is_healthy == self.is_healthy.load(Relaxed) {
            self.contradictions.store(0, Relaxed);
            return false;
        }
        let threshold = if is_healthy { healthy_after } else { unhealthy_after };
        if self.contradictions.fetch_add(1, Relaxed) + 1 < threshold {
            return false;
        }
        self.contradictions.store(0, Relaxed);
        self.is_healthy.store(is_healthy, Relaxed);
        if is_healthy {
            self.back_since.store(now(), Relaxed);
        }
        true
    }

    /// Records a failed connection; returns whether the consecutive failures reached the limit.
    pub(super) fn record_connect_failure(&self, rules: &Ejection) -> bool {
        let count = self.connect_failures.fetch_add(1, Relaxed) + 1;
        rules.connect_failures.is_some_and(|limit| count >= limit)
    }

    /// Records a server error or a truncated response; returns whether the consecutive failures reached the limit.
    pub(super) fn record_server_error(&self, rules: &Ejection) -> bool {
        self.connect_failures.store(0, Relaxed);
        let count = self.server_errors.fetch_add(1, Relaxed) + 1;
        rules.server_errors.is_some_and(|limit| count >= limit)
    }

    /// Records a response that is no server error.
    pub(super) fn record_success(&self) {
        // The counters are almost always 0; then this writes nothing to memory that other cores share.
        for count in [&self.connect_failures, &self.server_errors] {
            if count.load(Relaxed) > 0 {
                count.store(0, Relaxed);
            }
        }
    }

    /// Records the time from the selection of the endpoint to the head of its response.
    pub(super) fn record_latency(&self, took: Duration) {
        let (now, took) = (now(), took.as_secs_f64() * 1e6);
        let before = f64::from_bits(self.latency.load(Relaxed));
        let since = now.saturating_sub(self.measured.swap(now, Relaxed)) as f64 / 1000.0;
        // A peak counts at once and decays slowly, so that an endpoint that has just become slow is avoided.
        let latency = if took >= before {
            took
        } else {
            let kept = (-since / LATENCY_TIME_CONSTANT).exp();
            before * kept + took * (1.0 - kept)
        };
        self.latency.store(latency.to_bits(), Relaxed);
    }

    /// Ejects the address for a while; returns for how long.
    pub(super) fn eject(&self, rules: &Ejection) -> Duration {
        let now = now();
        let times = self.ejections.fetch_add(1, Relaxed).min(16);
        let duration = rules.duration.saturating_mul(1 << times).min(MAX_EJECTION_TIMEOUT);
        let until = now + duration.as_millis() as u64;
        self.ejected_until.store(until, Relaxed);
        self.back_since.store(until, Relaxed);
        self.connect_failures.store(0, Relaxed);
        self.server_errors.store(0, Relaxed);
        duration
    }

    /// The factor of its weight during slow start, from 0.1 to 1.
    pub(super) fn slow_start_factor(&self, now: u64, slow_start: Duration) -> f64 {
        let since = self.back_since.load(Relaxed);
        if slow_start.is_zero() || since == 0 || now < since {
            return 1.0;
        }
        ((now - since) as f64 / slow_start.as_millis() as f64).clamp(0.1, 1.0)
    }

    /// Requests and sessions in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    pub(super) fn count_in_flight(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    pub(super) fn uncount_in_flight(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// The expected time of a further request, in microseconds.
    pub(super) fn load_estimate(&self) -> f64 {
        let latency = f64::from_bits(self.latency.load(Relaxed));
        latency * (self.in_flight() + 1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Ejection = Ejection {
        connect_failures: Some(2),
        server_errors: Some(3),
        duration: Duration::from_secs(10),
        max_percent: 50,
    };

    #[test]
    fn health_changes_only_after_consecutive_equal_checks() {
        let health = Health::default();
        assert!(!health.record_check(false, 2, 3));
        assert!(!health.record_check(true, 2, 3), "a good one between starts the count anew");
        assert!(!health.record_check(false, 2, 3));
        assert!(!health.record_check(false, 2, 3));
        assert!(health.record_check(false, 2, 3));
        assert!(!health.is_available(now()));
        assert!(!health.record_check(true, 2, 3));
        assert!(health.record_check(true, 2, 3));
        assert!(health.is_available(now()));
    }

    #[test]
    fn only_consecutive_failures_eject() {
        let health = Health::default();
        assert!(!health.record_connect_failure(&RULES));
        health.record_success();
        assert!(!health.record_connect_failure(&RULES));
        assert!(health.record_connect_failure(&RULES));
        assert!(!health.record_server_error(&RULES));
        assert!(!health.record_server_error(&RULES));
        assert!(health.record_server_error(&RULES));
    }

    #[test]
    fn ejection_time_grows_up_to_its_maximum() {
        let health = Health::default();
        assert_eq!(health.eject(&RULES), Duration::from_secs(10));
        assert_eq!(health.eject(&RULES), Duration::from_secs(20));
        for _ in 0..40 {
            health.eject(&RULES);
        }
        assert_eq!(health.eject(&RULES), MAX_EJECTION_TIMEOUT);
        assert!(!health.is_available(now()));
    }

    #[test]
    fn slow_start_factor_grows_after_recovery() {
        let health = Health::default();
        let slow_start = Duration::from_secs(10);
        assert_eq!(health.slow_start_factor(now(), slow_start), 1.0, "it was never away");
        health.back_since.store(1000, Relaxed);
        assert_eq!(health.slow_start_factor(1000, slow_start), 0.1);
        assert_eq!(health.slow_start_factor(6000, slow_start), 0.5);
        assert_eq!(health.slow_start_factor(99_000, slow_start), 1.0);
    }

    #[test]
    fn latency_peak_counts_at_once_and_decays_slowly() {
        let health = Health::default();
        health.record_latency(Duration::from_millis(10));
        health.record_latency(Duration::from_millis(100));
        assert_eq!(health.load_estimate(), 100_000.0);
        health.record_latency(Duration::from_millis(10));
        assert!(health.load_estimate() > 90_000.0, "{}", health.load_estimate());
    }
}
