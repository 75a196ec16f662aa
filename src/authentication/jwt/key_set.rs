//! The keys of an issuer at one time. Fetches nothing.

use super::key::VerificationKey;
use serde_json::Value;
use std::sync::atomic::{AtomicU64, Ordering};
use tidegate_config::JwtAlgorithm;
use tidegate_http::strict_json;

/// Maximum number of keys in a set.
const MAX_KEYS: usize = 64;

/// Maximum number of keys that are tried for one token: those of a token without `kid`.
const MAX_TRIES: usize = 4;

/// The keys of an issuer.
#[derive(Debug)]
pub(crate) struct KeySet {
    keys: Vec<VerificationKey>,
    /// Distinguishes it from all other sets of this process.
    number: u64,
    /// The text that it was read from.
    text: Vec<u8>,
}

/// What the keys say of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signature {
    /// A key has signed it.
    Valid,
    /// None of the keys for it has signed it.
    Invalid,
    /// No key has its `kid`.
    UnknownKey,
    /// The keys with its `kid` are for other algorithms.
    OtherAlgorithm,
}

impl KeySet {
    /// A set of these keys.
    pub(crate) fn new(keys: Vec<VerificationKey>, text: Vec<u8>) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        Self { keys, number: NUMBER.fetch_add(1, Ordering::Relaxed), text }
    }

    /// Reads a JSON Web Key Set (RFC 7517, section 5). Keys that are not usable are left out, and named in a sentence.
    ///
    /// # Errors
    /// When it is no key set, or has no usable key.
    pub(crate) fn from_json(text: &[u8]) -> Result<(Self, Option<String>), String> {
        let members = strict_json::object(text)
            .map_err(|_| "it is not a JSON object without duplicate members".to_owned())?;
        let Some(Value::Array(list)) = members.get("keys") else {
            return Err("it has no list `keys`".to_owned());
        };
        if list.len() > MAX_KEYS {
            return Err(format!("it has more than {MAX_KEYS} keys"));
        }
        let mut keys = Vec::new();
        let mut fault = None;
        for (index, jwk) in list.iter().enumerate() {
            let key = jwk.as_object().ok_or("it is no object").map(VerificationKey::from_jwk);
            match key.and_then(|key| key) {
                Ok(key) => keys.extend(key),
                Err(reason) => fault = Some(format!("`keys[{index}]` is not usable: {reason}")),
            }
        }
        match (keys.is_empty(), fault) {
            (false, fault) => Ok((Self::new(keys, text.to_vec()), fault)),
            (true, Some(fault)) => Err(fault),
            (true, None) => Err("it has no key for signatures".to_owned()),
        }
    }

    /// Its number, which no other set of this process has.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether it was read from this text.
    pub(crate) fn is_from(&self, text: &[u8]) -> bool {
        self.text == text
    }

    /// Whether one of the keys has signed the message.
    pub(crate) fn verify(
        &self,
        key_id: Option<&str>,
        algorithm: JwtAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Signature {
        let mut named = self.keys.iter().filter(|key| key.is_named(key_id)).peekable();
        if named.peek().is_none() {
            return Signature::UnknownKey;
        }
        let mut fitting = named.filter(|key| key.fits(algorithm)).take(MAX_TRIES).peekable();
        if fitting.peek().is_none() {
            return Signature::OtherAlgorithm;
        }
        if fitting.any(|key| key.verifies(algorithm, message, signature)) {
            return Signature::Valid;
        }
        // A key without an id fits every id: the one of the token may still be a new key.
        let has_id = |key: &VerificationKey| key.is_named(key_id) && key.has_id();
        let is_known =
            self.keys.iter().any(has_id) || !self.keys.iter().any(VerificationKey::has_id);
        match key_id.is_none() || is_known {
            true => Signature::Invalid,
            false => Signature::UnknownKey,
        }
    }
}
