//! Tokens that have been verified, so that a client which sends its token with each request pays for one signature.
//! Verifies nothing.

use super::claims::Validity;
use crate::identity::VerifiedIdentity;
use ring::digest::{SHA256, digest};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::SystemTime;

/// Number of sets; a power of two.
const SETS: usize = 1024;

/// Tokens in a set.
const TOKENS_IN_A_SET: usize = 4;

/// SHA-256 of a token: the cache holds no token, and a match cannot be made up.
pub(crate) type TokenHash = [u8; 32];

/// A cache of at most 4,096 verified tokens, each of at most [`tidegate_http::jwt::MAX_SIZE`] bytes.
///
/// Only valid tokens come in, so nobody without one can fill it. The hash chooses a set, and a token can only displace
/// another one of its set. No request ever waits here: each set has its own lock, held for a few comparisons and never
/// over an await, and a request that finds it taken (some other thread reads one of the same four tokens) verifies the
/// signature as if the token were not cached.
pub(crate) struct TokenCache {
    sets: Box<[Mutex<Vec<CachedToken>>]>,
}

struct CachedToken {
    hash: TokenHash,
    /// The key set that has verified it: another set makes it invalid.
    key_set: u64,
    validity: Validity,
    identity: Arc<VerifiedIdentity>,
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").finish_non_exhaustive()
    }
}

/// The hash of a token.
pub(crate) fn hash_of(token: &[u8]) -> TokenHash {
    let mut hash = TokenHash::default();
    let whole = digest(&SHA256, token);
    hash.iter_mut().zip(whole.as_ref()).for_each(|(to, from)| *to = *from);
    hash
}

impl TokenCache {
    /// An empty cache.
    pub(crate) fn new() -> Self {
        Self { sets: (0..SETS).map(|_| Mutex::default()).collect() }
    }

    /// The identity of a token that these keys have verified and that is valid now.
    pub(crate) fn get(
        &self,
        hash: &TokenHash,
        key_set: u64,
        now: SystemTime,
    ) -> Option<Arc<VerifiedIdentity>> {
        let set = self.try_lock(hash)?;
        let cached = set.iter().find(|cached| cached.hash == *hash && cached.key_set == key_set)?;
        cached.validity.contains(now).then(|| Arc::clone(&cached.identity))
    }

    /// Keeps a verified token. It takes the place of one that is no longer valid, or of the one that expires first.
    pub(crate) fn insert(
        &self,
        hash: TokenHash,
        key_set: u64,
        validity: Validity,
        identity: &Arc<VerifiedIdentity>,
        now: SystemTime,
    ) {
        let Some(mut set) = self.try_lock(&hash) else { return };
        set.retain(|cached| {
            cached.hash != hash && cached.key_set == key_set && cached.validity.contains(now)
        });
        if set.len() >= TOKENS_IN_A_SET {
            let expiry = |(_, cached): &(usize, &CachedToken)| cached.validity.expires_at();
            if let Some((first, _)) = set.iter().enumerate().min_by_key(expiry) {
                set.swap_remove(first);
            }
        }
        let identity = Arc::clone(identity);
        set.push(CachedToken { hash, key_set, validity, identity });
    }

    fn try_lock(&self, hash: &TokenHash) -> Option<MutexGuard<'_, Vec<CachedToken>>> {
        let [first, second, ..] = *hash;
        let set = self.sets.get(usize::from(u16::from_ne_bytes([first, second])) % SETS)?;
        match set.try_lock() {
            Ok(set) => Some(set),
            // Nothing in it is half done: a panic between two changes leaves whole entries.
            Err(TryLockError::Poisoned(set)) => Some(set.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
