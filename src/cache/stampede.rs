use super::{Refusal, Target};
use http::Extensions;
use pingora_cache::CacheKey;
use pingora_cache::key::CacheHashKey;
use pingora_cache::lock::{CacheKeyLock, LockCore, LockStatus, LockStub, Locked, WritePermit};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long one may fetch before another may try; who waits longer goes without the cache.
const MOST: Duration = Duration::from_secs(30);

/// How long nobody waits for a key after a response could not be kept, though the next may be.
const OPEN_TIME: Duration = Duration::from_secs(2);

/// Maximum number of keys of a shard before those that are open are looked through for old ones.
const SWEEP_SIZE: usize = 256;

const SHARDS: usize = 16;

/// One request for a key goes to the upstream, the others wait for what it brings.
///
/// Nobody waits where that would serve no one: requests whose answers can't be shared take no part,
/// and after an answer that could not be kept, whoever waited goes at once rather than one by one.
#[derive(Debug, Default)]
pub struct Stampede([Mutex<Turns>; SHARDS]);

type Turns = HashMap<u128, Turn>;

/// Whose turn it is to fetch what a key stands for.
#[derive(Debug)]
enum Turn {
    /// One request fetches, and the others wait for it.
    Taken(Arc<LockCore>),
    /// Until then everybody fetches.
    Open(Instant),
}

/// Marks the permit of a request that nobody waits for.
#[derive(Debug, Clone, Copy)]
struct Alone;

/// Whether nobody waits any more for the request with this lock, and its key may be another's.
fn is_expired(status: LockStatus) -> bool {
    matches!(status, LockStatus::Dangling | LockStatus::AgeTimeout)
}

fn alone(stale_writer: bool) -> Locked {
    let mut extensions = Extensions::new();
    extensions.insert(Alone);
    Locked::Write(WritePermit::new(MOST, stale_writer, extensions).0)
}

impl Stampede {
    pub fn new() -> Self {
        Self::default()
    }

    fn turns(&self, hash: u128) -> Option<MutexGuard<'_, Turns>> {
        let shard = self.0.get((hash % SHARDS as u128) as usize)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The lock that the others wait for, if there is one.
    pub(super) fn taken(&self, hash: u128) -> Option<Arc<LockCore>> {
        match self.turns(hash)?.get(&hash)? {
            Turn::Taken(core) => Some(Arc::clone(core)),
            Turn::Open(_) => None,
        }
    }

    /// Lets the next request fetch, though the one with this lock has not finished.
    pub(super) fn pass_on(&self, hash: u128, core: &Arc<LockCore>) {
        let Some(mut turns) = self.turns(hash) else { return };
        let is_taken = |turn: &Turn| matches!(turn, Turn::Taken(it) if Arc::ptr_eq(it, core));
        if turns.get(&hash).is_some_and(is_taken) && core.lock_status() == LockStatus::Waiting {
            turns.remove(&hash);
            core.unlock(LockStatus::TransientError);
        }
    }
}

impl CacheKeyLock for Stampede {
    fn lock(&self, key: &CacheKey, stale_writer: bool) -> Locked {
        let shares = key.extensions.get::<Target>().is_none_or(|target| target.shares);
        // What is kept can be shared, and so can what takes its place.
        if !shares && !stale_writer {
            return alone(stale_writer);
        }
        let hash = u128::from_be_bytes(key.combined_bin());
        let Some(mut turns) = self.turns(hash) else { return alone(stale_writer) };
        match turns.get(&hash) {
            Some(Turn::Taken(core)) if !is_expired(core.lock_status()) => {
                return Locked::Read(LockStub(Arc::clone(core)).read_lock());
            }
            Some(Turn::Open(until)) if *until > Instant::now() => return alone(stale_writer),
            _ => {}
        }
        let (permit, stub) = WritePermit::new(MOST, stale_writer, Extensions::new());
        turns.insert(hash, Turn::Taken(stub.0));
        Locked::Write(permit)
    }

    fn release(&self, key: &CacheKey, mut permit: WritePermit, reason: LockStatus) {
        if permit.extensions().get::<Alone>().is_some() {
            permit.unlock(reason);
            return;
        }
        let hash = u128::from_be_bytes(key.combined_bin());
        let turns = self.turns(hash);
        let status = permit.lock_status();
        if status != LockStatus::Waiting {
            // It was passed on, or it took too long: the key may be another request's by now.
            permit.unlock(status);
            return;
        }
        if let Some(mut turns) = turns {
            if reason == LockStatus::TransientError {
                let now = Instant::now();
                if turns.len() >= SWEEP_SIZE {
                    turns.retain(|_, turn| !matches!(turn, Turn::Open(until) if *until <= now));
                }
                turns.insert(hash, Turn::Open(now + OPEN_TIME));
            } else {
                turns.remove(&hash);
            }
        }
        permit.unlock(reason);
    }

    fn custom_lock_status(&self, reason: &'static str) -> LockStatus {
        // It says nothing of what the others would get: they try for themselves.
        if Refusal::is_of_request(reason) { LockStatus::TransientError } else { LockStatus::GiveUp }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(shares: bool) -> CacheKey {
        let mut key = CacheKey::new("http://a/", "");
        let mut target = Target::for_test("http://a/");
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
    fn requests_that_cannot_share_wait_for_nobody_and_let_nobody_wait() {
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
    fn after_an_answer_that_is_not_kept_nobody_waits() {
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
    fn a_turn_that_is_passed_on_is_the_next_requests() {
        let stampede = Stampede::new();
        let hash = u128::from_be_bytes(key(true).combined_bin());
        let first = write(stampede.lock(&key(true), false));
        let core = stampede.taken(hash).expect("a lock");
        stampede.pass_on(hash, &core);
        let second = write(stampede.lock(&key(true), false));
        // Neither the first one's end nor a late alarm takes it from the second.
        stampede.pass_on(hash, &core);
        stampede.release(&key(true), first, LockStatus::Done);
        assert!(!stampede.lock(&key(true), false).is_write());
        stampede.release(&key(true), second, LockStatus::Done);
    }
}
