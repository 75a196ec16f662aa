//! Encrypts and authenticates what the gateway keeps in cookies of browsers. Knows nothing of cookies and of what is in
//! them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use ring::rand::{SecureRandom, SystemRandom};

/// Sets the keys apart from others that are derived from the same secret.
const APPLICATION: &[u8] = b"tidegate oidc cookie 1";

/// Random bytes of each value, from which its own key is derived.
const SALT_BYTES: usize = 24;

/// Encrypts with the first of its keys (AES-256-GCM), decrypts with all.
///
/// Each value has a key of its own, derived by HKDF (RFC 5869) from a secret, random bytes, the purpose and the context.
/// So no nonce repeats, however many values there are, and a value for one purpose or context is worth nothing in
/// another.
pub(super) struct Seal {
    keys: Box<[Prk]>,
    context: Box<str>,
}

impl Seal {
    pub(super) fn new<'k>(secrets: impl Iterator<Item = &'k str>, context: String) -> Self {
        let salt = Salt::new(HKDF_SHA256, APPLICATION);
        let keys = secrets.map(|secret| salt.extract(secret.as_bytes())).collect();
        Self { keys, context: context.into() }
    }

    /// The value as text of the characters of base64url; `None` without a key or randomness.
    pub(super) fn seal(&self, purpose: &str, plain: &[u8]) -> Option<String> {
        let mut salt = [0; SALT_BYTES];
        SystemRandom::new().fill(&mut salt).ok()?;
        let key = self.key(self.keys.first()?, purpose, &salt)?;
        let mut sealed = plain.to_vec();
        key.seal_in_place_append_tag(only_nonce(), Aad::empty(), &mut sealed).ok()?;
        Some(URL_SAFE_NO_PAD.encode([&salt[..], &sealed].concat()))
    }

    /// The value that this gateway, or one with the same keys, has sealed for this purpose.
    pub(super) fn open(&self, purpose: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (salt, sealed) = bytes.split_at_checked(SALT_BYTES)?;
        self.keys.iter().find_map(|key| {
            let mut plain = sealed.to_vec();
            let key = self.key(key, purpose, salt)?;
            let length = key.open_in_place(only_nonce(), Aad::empty(), &mut plain).ok()?.len();
            plain.truncate(length);
            Some(plain)
        })
    }

    fn key(&self, key: &Prk, purpose: &str, salt: &[u8]) -> Option<LessSafeKey> {
        let info = [salt, purpose.as_bytes(), &[0], self.context.as_bytes()];
        let key = key.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(key)))
    }
}

/// Each key encrypts one value.
fn only_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "old-key-of-at-least-32-characters";
    const NEW: &str = "new-key-of-at-least-32-characters";

    fn seal(keys: &[&str], context: &str) -> Seal {
        Seal::new(keys.iter().copied(), context.to_owned())
    }

    #[test]
    fn first_key_encrypts_and_all_decrypt() {
        let [old, new, both] = [&[OLD][..], &[NEW], &[NEW, OLD]].map(|keys| seal(keys, "c"));
        let by_old = old.seal("login", b"alice").expect("sealed");
        let by_both = both.seal("login", b"alice").expect("sealed");
        assert_ne!(by_old, old.seal("login", b"alice").expect("sealed"));
        let opens = |seal: &Seal, value: &str| seal.open("login", value.as_bytes()).is_some();
        assert_eq!(
            (opens(&old, &by_old), opens(&both, &by_old), opens(&new, &by_old)),
            (true, true, false)
        );
        assert_eq!((opens(&old, &by_both), opens(&new, &by_both)), (false, true));
        assert_eq!(both.open("login", by_old.as_bytes()).as_deref(), Some(&b"alice"[..]));
    }

    #[test]
    fn value_of_another_purpose_or_context_is_refused() {
        let sealed = seal(&[OLD], "issuer").seal("login", b"alice").expect("sealed");
        assert!(seal(&[OLD], "issuer").open("login", sealed.as_bytes()).is_some());
        assert!(seal(&[OLD], "issuer").open("pending", sealed.as_bytes()).is_none());
        assert!(seal(&[OLD], "another").open("login", sealed.as_bytes()).is_none());
    }

    #[test]
    fn any_changed_or_missing_byte_is_noticed() {
        let seal = seal(&[OLD], "c");
        let sealed = seal.seal("login", b"alice").expect("sealed").into_bytes();
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            assert_eq!(seal.open("login", &changed), None, "byte {place}");
            assert_eq!(seal.open("login", &sealed[..place]), None, "length {place}");
        }
    }
}
