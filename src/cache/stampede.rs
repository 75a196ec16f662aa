//! One request per key fetches while the others wait. Knows keys and locks, and no responses.

use super::{CacheTarget, NotStoredReason};
use http::Extensions;
use pingora_cache::CacheKey;
use pingora_cache::key::CacheHashKey;
use pingora_cache::lock::{CacheKeyLock, LockCore, LockStatus, LockStub, Locked, WritePermit};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Maximum time that one request fetches before another may; requests that wait longer bypass the cache.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);

/// Time after an uncacheable response during which no request for its key waits for another.
const NO_WAIT_TIME: Duration = Duration::from_secs(2);

/// Number of keys in a shard at which expired ones are first removed.
const SWEEP_KEYS: usize = 256;

const SHARDS: usize = 16;

/// One request for a key goes to the upstream, the others wait for its response.
///
/// No request waits in vain: requests whose responses cannot be shared take no part, and after an uncacheable response
/// all that waited proceed at once instead of one by one.
#[derive(Debug, Default)]
pub(crate) struct Stampede([Mutex<StampedeShard>; SHARDS]);

/// The keys that are being fetched, or were a moment ago.
#[derive(Debug, Default)]
struct StampedeShard {
    keys: HashMap<u128, FetchState>,
    /// Number of keys at which expired ones are removed: twice as many as the last sweep left, so that
    /// a sweep costs each key that is inserted a constant.
    sweep_at: usize,
}

/// Which requests may fetch the response for a key.
#[derive(Debug)]
enum FetchState {
    /// One request fetches, and the others wait for its lock.
    OneRequest(Arc<LockCore>),
    /// Until then every request fetches for itself.
    AllRequestsUntil(Instant),
}

/// Marks the permit of a request for which no other request waits.
#[derive(Debug, Clone, Copy)]
struct NotAwaited;

impl FetchState {
    fn is_expired(&self, now: Instant) -> bool {
        match self {
            Self::OneRequest(core) => is_expired(core, now),
            Self::AllRequestsUntil(until) => *until <= now,
        }
    }
}

impl StampedeShard {
    fn insert(&mut self, hash: u128, fetching: FetchState) {
        if self.keys.len() >= self.sweep_at.max(SWEEP_KEYS) {
            let now = Instant::now();
            self.keys.retain(|_, fetching| !fetching.is_expired(now));
            self.sweep_at = self.keys.len() * 2;
        }
        self.keys.insert(hash, fetching);
    }
}

/// Whether no request waits for this lock any more, so that its key can be locked anew.
fn is_expired(core: &Arc<LockCore>, now: Instant) -> bool {
    let is_late = || now.saturating_duration_since(core.lock_start) >= core.age_timeout;
    match core.lock_status() {
        LockStatus::Dangling | LockStatus::AgeTimeout => true,
        // Pingora stores the timeout only when another request waits for it.
        LockStatus::Waiting => is_late(),
        _ => false,
    }
}

fn not_awaited(stale_writer: bool) -> Locked {
    let mut extensions = Extensions::new();
    extensions.insert(NotAwaited);
    Locked::Write(WritePermit::new(FETCH_TIMEOUT, stale_writer, extensions).0)
}

/// Whether this is the lock of that permit: both refer to the same extensions.
fn is_lock_of(core: &LockCore, permit: &WritePermit) -> bool {
    std::ptr::eq(core.extensions(), permit.extensions())
}

impl Stampede {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn shard(&self, hash: u128) -> Option<MutexGuard<'_, StampedeShard>> {
        let shard = self.0.get((hash % SHARDS as u128) as usize)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The lock that other requests for this key wait for, if there is one.
    pub(super) fn lock_for_key(&self, hash: u128) -> Option<Arc<LockCore>> {
        match self.shard(hash)?.keys.get(&hash)? {
            FetchState::OneRequest(core) => Some(Arc::clone(core)),
            FetchState::AllRequestsUntil(_) => None,
        }
    }

    /// Lets the next request fetch, though the one with this lock has not finished.
    pub(super) fn release_lock_early(&self, hash: u128, core: &Arc<LockCore>) {
        let Some(mut shard) = self.shard(hash) else { return };
        let is_its =
            |it: &FetchState| matches!(it, FetchState::OneRequest(it) if Arc::ptr_eq(it, core));
        if shard.keys.get(&hash).is_some_and(is_its) && core.lock_status() == LockStatus::Waiting {
            shard.keys.remove(&hash);
            core.unlock(LockStatus::TransientError);
        }
    }
}

impl CacheKeyLock for Stampede {
    fn lock(&self, key: &CacheKey, stale_writer: bool) -> Locked {
        let shares = key.extensions.get::<CacheTarget>().is_none_or(|target| target.shares);
        // The stored response can be shared, and so can its replacement.
        if !shares && !stale_writer {
            return not_awaited(stale_writer);
        }
        let hash = u128::from_be_bytes(key.combined_bin());
        let Some(mut shard) = self.shard(hash) else { return not_awaited(stale_writer) };
        match shard.keys.get(&hash).filter(|it| !it.is_expired(Instant::now())) {
            Some(FetchState::OneRequest(core)) => {
                return Locked::Read(LockStub(Arc::clone(core)).read_lock());
            }
            Some(FetchState::AllRequestsUntil(_)) => return not_awaited(stale_writer),
            None => {}
        }
        let (permit, stub) = WritePermit::new(FETCH_TIMEOUT, stale_writer, Extensions::new());
        shard.insert(hash, FetchState::OneRequest(stub.0));
        Locked::Write(permit)
    }

    fn release(&self, key: &CacheKey, mut permit: WritePermit, reason: LockStatus) {
        if permit.extensions().get::<NotAwaited>().is_some() {
            permit.unlock(reason);
            return;
        }
        let hash = u128::from_be_bytes(key.combined_bin());
        let shard = self.shard(hash);
        let reason = match permit.lock_status() {
            LockStatus::Waiting => reason,
            // It was unlocked early, or it took too long.
            status => status,
        };
        if let Some(mut shard) = shard {
            // The key may be another request's by now.
            let is_its = |it: &FetchState| matches!(it, FetchState::OneRequest(core) if is_lock_of(core, &permit));
            if shard.keys.get(&hash).is_some_and(is_its) {
                shard.keys.remove(&hash);
                if reason == LockStatus::TransientError {
                    shard.insert(hash, FetchState::AllRequestsUntil(Instant::now() + NO_WAIT_TIME));
                }
            }
        }
        permit.unlock(reason);
    }

    fn custom_lock_status(&self, reason: &'static str) -> LockStatus {
        // This says nothing about responses to the other requests, so they try themselves.
        if NotStoredReason::is_request_reason(reason) {
            LockStatus::TransientError
        } else {
            LockStatus::GiveUp
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(shares: bool) -> CacheKey {
        let mut key = CacheKey::new("http://a/", "");
        let mut target = CacheTarget::for_test("http://a/");
        target.shares = shares;
        key.extensions.insert(target);
        key
    }

    fn write(locked: Locked) -> WritePermit {
        match locked {
            Locked::Write(permit) => permit,
            Locked::Read(_) => panic!("it waits"),
        }
    }

    #[test]
    fn requests_that_cannot_share_do_not_wait_nor_block_others() {
        let stampede = Stampede::new();
        let first = write(stampede.lock(&key(false), false));
        let second = write(stampede.lock(&key(false), false));
        let shared = write(stampede.lock(&key(true), false));
        assert!(!stampede.lock(&key(true), false).is_write());
        stampede.release(&key(false), first, LockStatus::TransientError);
        stampede.release(&key(false), second, LockStatus::Done);
        assert!(!stampede.lock(&key(true), false).is_write());
        stampede.release(&key(true), shared, LockStatus::Done);
        let next = write(stampede.lock(&key(true), false));
        stampede.release(&key(true), next, LockStatus::Done);
    }

    #[test]
    fn waiting_requests_proceed_after_an_uncacheable_response() {
        let stampede = Stampede::new();
        let first = write(stampede.lock(&key(true), false));
        assert!(!stampede.lock(&key(true), false).is_write());
        stampede.release(&key(true), first, LockStatus::TransientError);
        let permits: Vec<_> = (0..3).map(|_| write(stampede.lock(&key(true), false))).collect();
        for permit in permits {
            stampede.release(&key(true), permit, LockStatus::Done);
        }
    }

    #[test]
    fn key_that_is_unlocked_early_belongs_to_the_next_request() {
        let stampede = Stampede::new();
        let hash = u128::from_be_bytes(key(true).combined_bin());
        let first = write(stampede.lock(&key(true), false));
        let core = stampede.lock_for_key(hash).expect("a lock");
        stampede.release_lock_early(hash, &core);
        let second = write(stampede.lock(&key(true), false));
        // Neither the first one's end nor a late alarm takes it from the second.
        stampede.release_lock_early(hash, &core);
        stampede.release(&key(true), first, LockStatus::Done);
        assert!(!stampede.lock(&key(true), false).is_write());
        stampede.release(&key(true), second, LockStatus::Done);
    }

    /// A key of the first shard, with a lock that expires after this time.
    fn lock_one(stampede: &Stampede, number: u128, timeout: Duration) -> WritePermit {
        let (permit, stub) = WritePermit::new(timeout, false, Extensions::new());
        let hash = number * SHARDS as u128;
        stampede.shard(hash).expect("a shard").insert(hash, FetchState::OneRequest(stub.0));
        permit
    }

    #[test]
    fn sweep_removes_only_expired_keys() {
        let stampede = Stampede::new();
        let count = || stampede.shard(0).expect("a shard").keys.len();
        let lock = |number, timeout| lock_one(&stampede, number, timeout);
        let permits: Vec<_> = (0..100).map(|number| lock(number, FETCH_TIMEOUT)).collect();
        let expired = (100..SWEEP_KEYS as u128).map(|number| lock(number, Duration::ZERO));
        let expired: Vec<_> = expired.collect();
        {
            let mut shard = stampede.shard(0).expect("a shard");
            assert_eq!(shard.keys.len(), SWEEP_KEYS);
            shard.insert(1, FetchState::AllRequestsUntil(Instant::now()));
        }
        assert_eq!(count(), 101, "the sweep has left the held keys, and the new one");
        let more: Vec<_> = (1000..1200).map(|number| lock(number, FETCH_TIMEOUT)).collect();
        assert_eq!(count(), 300, "nothing else is lost");
        for mut permit in permits.into_iter().chain(expired).chain(more) {
            permit.unlock(LockStatus::Done);
        }
    }

    #[test]
    fn expired_lock_removes_only_its_own_key() {
        let stampede = Stampede::new();
        let key = key(true);
        let hash = u128::from_be_bytes(key.combined_bin());
        let expire = |stampede: &Stampede| {
            let (permit, stub) = WritePermit::new(Duration::ZERO, false, Extensions::new());
            stampede.shard(hash).expect("a shard").insert(hash, FetchState::OneRequest(stub.0));
            permit
        };
        let late = expire(&stampede);
        stampede.release(&key, late, LockStatus::Done);
        assert!(stampede.lock_for_key(hash).is_none());
        let late = expire(&stampede);
        let next = write(stampede.lock(&key, false));
        stampede.release(&key, late, LockStatus::Done);
        assert!(!stampede.lock(&key, false).is_write(), "the next request still fetches");
        stampede.release(&key, next, LockStatus::Done);
        assert!(stampede.lock_for_key(hash).is_none());
    }
}
