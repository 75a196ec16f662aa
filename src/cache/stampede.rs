use super::Refusal;
use pingora_cache::CacheKey;
use pingora_cache::lock::{CacheKeyLock, CacheLock, LockStatus, Locked, WritePermit};
use std::time::Duration;

/// How long one may fetch before another may try; who waits longer goes without the cache.
const MOST: Duration = Duration::from_secs(30);

/// One request for a key goes to the upstream, the others wait for what it brings.
#[derive(Debug)]
pub struct Stampede(CacheLock);

impl Stampede {
    pub fn new() -> Self {
        Self(CacheLock::new(MOST))
    }
}

impl CacheKeyLock for Stampede {
    fn lock(&self, key: &CacheKey, stale_writer: bool) -> Locked {
        self.0.lock(key, stale_writer)
    }

    fn release(&self, key: &CacheKey, permit: WritePermit, reason: LockStatus) {
        self.0.release(key, permit, reason);
    }

    fn custom_lock_status(&self, reason: &'static str) -> LockStatus {
        // It says nothing of what the others would get: one of them goes next.
        if Refusal::is_of_request(reason) { LockStatus::TransientError } else { LockStatus::GiveUp }
    }
}
