//! Counts of durations in fixed classes, with exemplars, that requests add to without a lock.
//! It knows nothing of what is measured.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, SystemTime};

/// The bounds of the buckets, in seconds: from what a gateway takes on its own machine to what
/// nobody waits for.
pub(crate) const BOUNDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// A measured value of a bucket, with its trace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exemplar {
    /// The trace's id (W3C Trace Context).
    pub trace_id: [u8; 16],
    /// The duration.
    pub took: Duration,
    /// When the measured operation ended.
    pub time: SystemTime,
}

/// The newest exemplar of each bucket.
type Exemplars = [Mutex<Option<Exemplar>>; BOUNDS.len() + 1];

/// A histogram of durations.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    exemplars: OnceLock<Box<Exemplars>>,
    /// One more than bounds: the last bucket is for values above all bounds.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Histogram {
    /// Counts a duration.
    pub(crate) fn observe(&self, took: Duration) {
        if let Some(bucket) = self.buckets.get(bucket(took)) {
            bucket.fetch_add(1, Relaxed);
        }
        self.nanoseconds.fetch_add(took.as_nanos() as u64, Relaxed);
    }

    /// Keeps one that is traced as an example of its bucket. Who finds somebody else there leaves:
    /// nobody waits for an example.
    pub(crate) fn record_exemplar(&self, exemplar: Exemplar) {
        let exemplars = self.exemplars.get_or_init(Box::default);
        if let Some(Ok(mut slot)) = exemplars.get(bucket(exemplar.took)).map(Mutex::try_lock) {
            *slot = Some(exemplar);
        }
    }

    /// The newest exemplar of a bucket, by its number.
    pub(crate) fn exemplar(&self, bucket: usize) -> Option<Exemplar> {
        *self.exemplars.get()?.get(bucket)?.lock().ok()?
    }

    /// The cumulative counts, for each bound and in total.
    pub(crate) fn cumulative(&self) -> [u64; BOUNDS.len() + 1] {
        let mut sum = 0;
        self.buckets.each_ref().map(|bucket| {
            sum += bucket.load(Relaxed);
            sum
        })
    }

    /// The sum of all durations, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        Duration::from_nanos(self.nanoseconds.load(Relaxed)).as_secs_f64()
    }
}

/// The number of the bucket.
fn bucket(took: Duration) -> usize {
    let seconds = took.as_secs_f64();
    BOUNDS.partition_point(|bound| *bound < seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_equal_to_a_bound_is_counted_in_its_bucket() {
        let histogram = Histogram::default();
        for milliseconds in [1, 2, 100, 61_000] {
            histogram.observe(Duration::from_millis(milliseconds));
        }
        let counts = histogram.cumulative();
        assert_eq!(counts.first(), Some(&1), "1 ms is no more than 1 ms");
        assert_eq!(counts.get(1), Some(&2));
        assert_eq!(counts.get(6), Some(&3));
        assert_eq!(counts.get(14), Some(&3));
        assert_eq!(counts.last(), Some(&4));
        assert_eq!(histogram.seconds(), 61.103);
    }
}
