//! Remembers which secrets have been verified against which hashes, without the secrets. Verifies nothing.

use super::super::password::SlowHash;
use ring::hmac::{self, Context, HMAC_SHA256, Key};
use ring::rand::SystemRandom;
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The number of parts with a lock each: threads that serve requests seldom meet at one.
const SHARDS: usize = 16;

/// Maximum number of tags in a generation of a shard: 8,192 in all, of 32 bytes each. One more user beyond that costs
/// another user a slow hash.
const MAX_TAGS: usize = 256;

/// Stands for a hash and a secret that matches it.
pub(super) type Tag = [u8; 32];

/// The pairs of hash and secret that match. A pair is of use only while a file has the hash: the tag of a secret is
/// computed from the hash that the file has now. So nothing outlives the content of a file, and an edit of one line
/// makes nobody else's password slow.
///
/// A tag is a MAC with a random key of this process: nobody can compute one, and the time of a look-up says nothing
/// about a secret.
#[derive(Debug)]
pub(super) struct VerifiedSecrets {
    /// `None` if the system has no random numbers; nothing is remembered then.
    key: Option<Key>,
    shards: [Mutex<Generations>; SHARDS],
}

/// The tags used lately, and those used before. When the newer are many, the older are forgotten.
#[derive(Debug, Default)]
struct Generations {
    newer: HashSet<Tag>,
    older: HashSet<Tag>,
}

impl VerifiedSecrets {
    pub(super) fn new() -> Self {
        let key = Key::generate(HMAC_SHA256, &SystemRandom::new()).ok();
        Self { key, shards: std::array::from_fn(|_| Mutex::default()) }
    }

    /// The tag of a hash and a secret.
    pub(super) fn tag(&self, hash: &SlowHash, secret: &[u8]) -> Option<Tag> {
        let mut mac = Context::with_key(self.key.as_ref()?);
        let text = hash.text().as_bytes();
        // The length first, so that no other pair has the same bytes.
        mac.update(&text.len().to_be_bytes());
        mac.update(text);
        mac.update(secret);
        let tag: hmac::Tag = mac.sign();
        tag.as_ref().try_into().ok()
    }

    /// Whether the pair has been verified.
    pub(super) fn contains(&self, tag: &Tag) -> bool {
        self.lock(tag).is_some_and(|mut generations| generations.contains(tag))
    }

    /// Remembers a pair that has been verified.
    pub(super) fn insert(&self, tag: Tag) {
        if let Some(mut generations) = self.lock(&tag) {
            generations.insert(tag);
        }
    }

    /// The part for a tag. No panic can leave it half changed.
    fn lock(&self, tag: &Tag) -> Option<MutexGuard<'_, Generations>> {
        let [first, ..] = *tag;
        let shard = self.shards.get(usize::from(first) % SHARDS)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Generations {
    fn contains(&mut self, tag: &Tag) -> bool {
        if self.newer.contains(tag) {
            return true;
        }
        let is_older = self.older.remove(tag);
        if is_older {
            self.insert(*tag);
        }
        is_older
    }

    fn insert(&mut self, tag: Tag) {
        if self.newer.len() >= MAX_TAGS {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(tag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_config::HashFormat;

    fn hash(text: &str) -> SlowHash {
        SlowHash::parse(HashFormat::Bcrypt, text).unwrap()
    }

    #[test]
    fn pair_is_found_only_with_its_hash_and_its_secret() {
        let secrets = VerifiedSecrets::new();
        let one = hash("$2b$04$abcdefghijklmnopqrstuuV3duMsC0HpUex6N9qapiuOHHWkwRXVm");
        let other = hash("$2y$05$abcdefghijklmnopqrstuuoXuKqgZXLiJqzfmMXDDhSFPIvxV7t8.");
        let tag = secrets.tag(&one, b"hunter2").unwrap();
        assert!(!secrets.contains(&tag));
        secrets.insert(tag);
        assert!(secrets.contains(&secrets.tag(&one, b"hunter2").unwrap()));
        assert!(!secrets.contains(&secrets.tag(&one, b"hunter3").unwrap()));
        assert!(!secrets.contains(&secrets.tag(&other, b"hunter2").unwrap()));
        let another_process = VerifiedSecrets::new();
        assert_ne!(another_process.tag(&one, b"hunter2").unwrap(), tag);
    }

    #[test]
    fn tags_are_bounded_and_those_in_use_stay() {
        let mut generations = Generations::default();
        let tag = |number: u32| {
            let mut tag = [0; 32];
            tag[..4].copy_from_slice(&number.to_be_bytes());
            tag
        };
        generations.insert(tag(0));
        for number in 1..10_000 {
            generations.insert(tag(number));
            assert!(generations.contains(&tag(0)), "{number}");
            assert!(generations.newer.len() + generations.older.len() <= 2 * MAX_TAGS);
        }
        assert!(!generations.contains(&tag(1)));
    }
}
