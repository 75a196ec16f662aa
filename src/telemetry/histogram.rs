use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The bounds of the buckets, in seconds: from what a gateway takes on its own machine to what
/// nobody waits for.
pub const BOUNDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// How long something took, by how often.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One more than bounds: the last is for what is above them all.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Histogram {
    /// Once more.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.partition_point(|bound| *bound < seconds);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Relaxed);
        }
        self.nanoseconds.fetch_add(took.as_nanos() as u64, Relaxed);
    }

    /// How often so far, up to each bound and without one.
    pub fn cumulative(&self) -> [u64; BOUNDS.len() + 1] {
        let mut sum = 0;
        self.buckets.each_ref().map(|bucket| {
            sum += bucket.load(Relaxed);
            sum
        })
    }

    /// All together, in seconds.
    pub fn seconds(&self) -> f64 {
        Duration::from_nanos(self.nanoseconds.load(Relaxed)).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
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
