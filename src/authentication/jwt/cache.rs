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

/// A cache of at most 4,096 verified tokens, each of at most [`tidegate_http::jwt::MAX_TOKEN_BYTES`] bytes.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SchemeKind;
    use serde_json::{Map, json};
    use std::time::{Duration, UNIX_EPOCH};

    const NOW: u64 = 1_000_000;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn valid_until(expiry: u64) -> Validity {
        let rules = crate::authentication::jwt::TokenRules {
            issuer: "i".to_owned(),
            audience: ["a".to_owned()].into(),
            algorithms: Box::default(),
            token_type: None,
            leeway: Duration::from_secs(10),
        };
        let claims = json!({"iss": "i", "aud": "a", "iat": NOW, "exp": expiry});
        let purpose = super::super::claims::Purpose::Access;
        rules.check_claims(claims.as_object().unwrap(), purpose, at(NOW)).unwrap()
    }

    fn identity(number: usize) -> Arc<VerifiedIdentity> {
        let claims = Map::from_iter([("sub".to_owned(), json!(number.to_string()))]);
        Arc::new(VerifiedIdentity::new("accounts".into(), SchemeKind::Jwt, claims, None))
    }

    #[test]
    fn token_is_cached_for_its_keys_and_its_time_only() {
        let cache = TokenCache::new();
        let (hash, user) = (hash_of(b"token"), identity(1));
        cache.insert(hash, 7, valid_until(NOW + 60), &user, at(NOW));
        let seen = |key_set, now| cache.get(&hash, key_set, at(now)).is_some();
        assert!(seen(7, NOW) && seen(7, NOW + 69), "until its expiry and the leeway");
        assert!(!seen(7, NOW + 70), "expired");
        assert!(!seen(7, NOW - 11), "the clock went back to before its issue");
        assert!(!seen(8, NOW), "other keys");
        assert!(cache.get(&hash_of(b"tokeN"), 7, at(NOW)).is_none());
        assert_eq!(cache.get(&hash, 7, at(NOW)), Some(user));
    }

    #[test]
    fn cache_is_bounded_and_keeps_the_token_that_expires_last() {
        let cache = TokenCache::new();
        for number in 0..20_000 {
            let hash = hash_of(number.to_string().as_bytes());
            cache.insert(hash, 1, valid_until(NOW + 60), &identity(number), at(NOW));
        }
        let cached = |cache: &TokenCache| -> usize {
            cache.sets.iter().map(|set| set.lock().unwrap().len()).sum()
        };
        assert_eq!(cached(&cache), SETS * TOKENS_IN_A_SET);
        let long = hash_of(b"long");
        cache.insert(long, 1, valid_until(NOW + 600), &identity(0), at(NOW));
        for number in 20_000..40_000 {
            let hash = hash_of(number.to_string().as_bytes());
            cache.insert(hash, 1, valid_until(NOW + 60), &identity(number), at(NOW));
        }
        assert!(cache.get(&long, 1, at(NOW)).is_some());
        assert_eq!(cached(&cache), SETS * TOKENS_IN_A_SET);
    }

    #[test]
    fn request_does_not_wait_for_another_one() {
        let cache = TokenCache::new();
        let hash = hash_of(b"token");
        cache.insert(hash, 1, valid_until(NOW + 60), &identity(1), at(NOW));
        let held = cache.try_lock(&hash);
        assert!(held.is_some() && cache.get(&hash, 1, at(NOW)).is_none());
        drop(held);
        assert!(cache.get(&hash, 1, at(NOW)).is_some());
    }
}
