//! Token buckets, one for each key, within bounded memory. Knows nothing of what a key stands for.

use super::BucketKey;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Locks over the buckets, so that requests seldom wait for each other.
const SHARDS: usize = 64;

/// Maximum number of buckets in each of the two maps of a shard, 131,072 in all: clients may have any number of
/// addresses.
const MAX_BUCKETS_PER_SHARD: usize = 1024;

/// For each key the time at which the next request would be in time (the generic cell rate algorithm,
/// ITU-T I.371), as far as this gateway knows.
#[derive(Debug)]
pub(super) struct Buckets {
    interval: u64,
    burst: u64,
    shards: [Mutex<BucketShard>; SHARDS],
    /// A randomly seeded hash, so that no client can choose keys that collide.
    hasher: RandomState,
}

/// What was asked for since the shard was last full, and what was only before: that is forgotten next.
#[derive(Debug, Default)]
struct BucketShard {
    recent: HashMap<u64, u64>,
    previous: HashMap<u64, u64>,
}

impl Buckets {
    pub(super) fn new(each: Duration, burst: u32) -> Self {
        let each = nanos(each);
        Self {
            interval: each,
            burst: each.saturating_mul(burst.into()),
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
        }
    }

    /// One more request; how long it would have to wait when it is one too many.
    pub(super) fn take_token(&self, key: &BucketKey<'_>, now: Duration) -> Option<Duration> {
        let (hash, mut shard) = self.lock_shard(key);
        let now = nanos(now);
        let next_in_time = shard.get(hash).unwrap_or(0).max(now);
        let next = next_in_time.saturating_add(self.interval);
        let wait = next.saturating_sub(now).saturating_sub(self.burst);
        if wait > 0 {
            // Who comes all the time is not forgotten for it.
            shard.set(hash, next_in_time);
            return Some(Duration::from_nanos(wait));
        }
        shard.set(hash, next);
        None
    }

    /// The last one did not happen.
    pub(super) fn return_token(&self, key: &BucketKey<'_>) {
        let (hash, mut shard) = self.lock_shard(key);
        if let Some(next_in_time) = shard.get(hash) {
            shard.set(hash, next_in_time.saturating_sub(self.interval));
        }
    }

    fn lock_shard(&self, key: &BucketKey<'_>) -> (u64, MutexGuard<'_, BucketShard>) {
        let hash = self.hasher.hash_one(key);
        // The remainder is within the array.
        #[expect(clippy::indexing_slicing)]
        let shard = &self.shards[(hash % SHARDS as u64) as usize];
        (hash, shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl BucketShard {
    fn get(&self, hash: u64) -> Option<u64> {
        self.recent.get(&hash).or_else(|| self.previous.get(&hash)).copied()
    }

    fn set(&mut self, hash: u64, next_in_time: u64) {
        if self.recent.len() >= MAX_BUCKETS_PER_SHARD && !self.recent.contains_key(&hash) {
            self.previous = std::mem::take(&mut self.recent);
        }
        self.recent.insert(hash, next_in_time);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn burst_passes_at_once_and_then_at_the_rate() {
        let buckets = Buckets::new(SECOND / 10, 5);
        let take = |now| buckets.take_token(&BucketKey::All, now);
        assert!((0..5).all(|_| take(SECOND).is_none()));
        assert_eq!(take(SECOND), Some(SECOND / 10));
        assert_eq!(take(SECOND + SECOND / 20), Some(SECOND / 20));
        assert_eq!(take(SECOND + SECOND / 10), None);
        assert_eq!(take(SECOND + SECOND / 10), Some(SECOND / 10));
        // What was not asked for is not saved up beyond the burst.
        assert_eq!((0..100).filter(|_| take(100 * SECOND).is_none()).count(), 5);
    }

    #[test]
    fn total_over_time_is_the_rate_plus_the_burst() {
        let buckets = Buckets::new(SECOND / 300, 20);
        let taken = (0..100_000u32).filter(|step| {
            let now = SECOND + Duration::from_millis((*step).into());
            buckets.take_token(&BucketKey::Named(b"user-1"), now).is_none()
        });
        let (taken, expected) = (taken.count() as f64, 100.0 * 300.0 + 20.0);
        assert!((taken - expected).abs() < expected * 0.001, "{taken} of {expected}");
    }

    #[test]
    fn returned_token_can_be_taken_again() {
        let buckets = Buckets::new(SECOND, 2);
        assert_eq!(buckets.take_token(&BucketKey::All, SECOND), None);
        assert_eq!(buckets.take_token(&BucketKey::All, SECOND), None);
        buckets.return_token(&BucketKey::All);
        assert_eq!(buckets.take_token(&BucketKey::All, SECOND), None);
        assert_eq!(buckets.take_token(&BucketKey::All, SECOND), Some(SECOND));
    }

    #[test]
    fn many_keys_use_bounded_memory_and_keep_regular_keys() {
        let buckets = Buckets::new(SECOND, 1);
        let (mut refused, total) = (0, 1_000_000u64);
        for stranger in 0..total {
            buckets.take_token(&BucketKey::Named(&stranger.to_be_bytes()), SECOND);
            if stranger % 1000 == 0
                && buckets.take_token(&BucketKey::Named(b"regular"), SECOND).is_some()
            {
                refused += 1;
            }
        }
        let bucket_count = |shard: &Mutex<BucketShard>| {
            let shard = shard.lock().expect("whole");
            shard.recent.len() + shard.previous.len()
        };
        assert!(
            buckets.shards.iter().map(bucket_count).sum::<usize>()
                <= SHARDS * 2 * MAX_BUCKETS_PER_SHARD
        );
        assert_eq!(refused, 999);
    }
}
