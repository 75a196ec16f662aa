//! Slow hashes of passwords and keys: reads them, bounds what one may cost, verifies a secret. Knows no user, and must
//! not run where requests are served; `verifier` sees to that.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use bcrypt::HashParts;
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;
use tidegate_config::HashFormat;

/// Maximum memory of an Argon2 hash, in KiB. RFC 9106, section 4, recommends 64 MiB where memory is scarce; each core
/// that hashes needs it at once.
const MAX_ARGON2_MEMORY_KIB: u32 = 256 * 1024;

/// Maximum product of memory in KiB and passes of an Argon2 hash: about a second of one core.
const MAX_ARGON2_WORK: u64 = 4 * 256 * 1024;

/// Maximum number of lanes of an Argon2 hash; they are computed one after the other.
const MAX_ARGON2_LANES: u32 = 64;

/// Maximum cost of bcrypt: each step doubles the time, and this one takes about two seconds of one core.
const MAX_BCRYPT_COST: u32 = 15;

/// A hash of a password or key that is slow to compute.
#[derive(PartialEq, Eq)]
pub(crate) struct SlowHash {
    text: Box<str>,
    /// The parts of an Argon2 hash; `None` for bcrypt.
    argon2: Option<PasswordHash>,
}

/// Its format alone.
impl fmt::Debug for SlowHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.argon2 {
            Some(_) => "Argon2",
            None => "bcrypt",
        })
    }
}

impl SlowHash {
    /// Reads a hash in one of the two slow formats.
    ///
    /// # Errors
    /// If it is damaged, or costs too much; the reason has no part of it.
    pub(crate) fn parse(format: HashFormat, written: &str) -> Result<Self, String> {
        match format {
            HashFormat::Argon2 => argon2(written),
            HashFormat::Bcrypt => bcrypt(written),
            HashFormat::Sha256 => Err("SHA-256 is too fast for passwords".to_owned()),
        }
    }

    /// A new hash of a password: Argon2id with the parameters that OWASP recommends, and a random salt.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub(crate) fn new(password: &[u8]) -> Result<Self, String> {
        let mut salt = [0; 16];
        SystemRandom::new().fill(&mut salt).map_err(|_| "the system has no random numbers")?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT);
        let hash = argon2.hash_password_with_salt(password, &salt).map_err(|it| it.to_string())?;
        Ok(Self { text: hash.to_string().into(), argon2: Some(hash) })
    }

    /// Whether this is the secret. Slow; compares in constant time.
    pub(crate) fn verify(&self, secret: &[u8]) -> bool {
        match &self.argon2 {
            // Algorithm, version and parameters are those of the hash.
            Some(hash) => Argon2::default().verify_password(secret, hash).is_ok(),
            // Only the first 72 bytes count, as in every other program that reads such files.
            None => bcrypt::verify(secret, &self.text).unwrap_or(false),
        }
    }

    /// Its text, which distinguishes it from every other hash.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

fn argon2(written: &str) -> Result<SlowHash, String> {
    let damaged = || "not a complete Argon2 hash".to_owned();
    let hash = PasswordHash::new(written).map_err(|_| damaged())?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(damaged());
    }
    let params = Params::try_from(&hash).map_err(|_| damaged())?;
    if !params.keyid().is_empty() || !params.data().is_empty() {
        return Err("Argon2 hashes with `keyid` or `data` are not supported".to_owned());
    }
    if hash.version.is_some_and(|version| Version::try_from(version).is_err()) {
        return Err("this version of Argon2 is not supported".to_owned());
    }
    let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
    if params.m_cost() > MAX_ARGON2_MEMORY_KIB || params.p_cost() > MAX_ARGON2_LANES {
        return Err(format!(
            "this hash needs {} KiB of memory and {} lanes for each login; at most \
             {MAX_ARGON2_MEMORY_KIB} KiB and {MAX_ARGON2_LANES} lanes are allowed",
            params.m_cost(),
            params.p_cost()
        ));
    }
    if work > MAX_ARGON2_WORK {
        return Err(format!(
            "this hash is too slow: memory in KiB times passes is {work}, at most \
             {MAX_ARGON2_WORK} is allowed"
        ));
    }
    Ok(SlowHash { text: written.into(), argon2: Some(hash) })
}

fn bcrypt(written: &str) -> Result<SlowHash, String> {
    let parts: HashParts =
        written.parse().map_err(|_| "not a complete bcrypt hash of 60 characters".to_owned())?;
    // The crate reads any number, and verifies from 4 on.
    match parts.get_cost() {
        0..=3 => Err("bcrypt's cost is at least 4".to_owned()),
        4..=MAX_BCRYPT_COST => Ok(SlowHash { text: written.into(), argon2: None }),
        cost => Err(format!(
            "this hash is too slow: its cost is {cost}, at most {MAX_BCRYPT_COST} is allowed"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(written: &str) -> Result<SlowHash, String> {
        SlowHash::parse(HashFormat::of(written).unwrap(), written)
    }

    #[test]
    fn hashes_of_other_programs_verify() {
        for (hash, password) in [
            // Made by libxcrypt.
            ("$2b$04$abcdefghijklmnopqrstuuV3duMsC0HpUex6N9qapiuOHHWkwRXVm", "hunter2"),
            ("$2y$05$abcdefghijklmnopqrstuuoXuKqgZXLiJqzfmMXDDhSFPIvxV7t8.", "hunter2"),
            // From the tests of the reference implementation of Argon2.
            (
                "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ\
                 $CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
                "password",
            ),
        ] {
            let hash = parse(hash).unwrap();
            assert!(hash.verify(password.as_bytes()), "{}", hash.text());
            assert!(!hash.verify(b"wrong"), "{}", hash.text());
        }
    }

    #[test]
    fn bcrypt_reads_72_bytes_of_a_password() {
        let hash = bcrypt::hash([b'a'; 80], 4).unwrap();
        let hash = parse(&hash).unwrap();
        assert!(hash.verify(&[b'a'; 72]) && !hash.verify(&[b'a'; 71]));
    }

    #[test]
    fn new_hash_verifies_only_its_password_and_is_salted() {
        let hash = SlowHash::new(b"open sesame").unwrap();
        let read = parse(hash.text()).unwrap();
        assert_eq!(read, hash);
        assert!(read.verify(b"open sesame"));
        assert!(!read.verify(b"open sesamE"));
        assert_ne!(SlowHash::new(b"open sesame").unwrap(), hash);
        assert!(hash.text().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.text());
    }

    #[test]
    fn damaged_and_costly_hashes_are_refused() {
        let salt_and_hash = "c29tZXNhbHQ$MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI";
        for (hash, reason) in [
            ("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ", "not a complete Argon2 hash"),
            ("$argon2id$", "not a complete Argon2 hash"),
            (&format!("$argon2id$v=18$m=8,t=1,p=1${salt_and_hash}"), "version of Argon2"),
            (&format!("$argon2id$v=19$m=262145,t=1,p=1${salt_and_hash}"), "needs 262145 KiB"),
            (&format!("$argon2id$v=19$m=65536,t=17,p=1${salt_and_hash}"), "is 1114112, at most"),
            (&format!("$argon2id$v=19$m=8,t=1,p=1,data=AAAA${salt_and_hash}"), "`data`"),
            ("$2y$16$TnjywYklQbbZjdjBgBoA4e9G7RJt9blgMgsCvUvus4Iv4TENB5nHy", "its cost is 16"),
            ("$2y$03$TnjywYklQbbZjdjBgBoA4e9G7RJt9blgMgsCvUvus4Iv4TENB5nHy", "at least 4"),
            ("$2y$05$short", "60 characters"),
        ] {
            let error = parse(hash).unwrap_err();
            assert!(error.contains(reason), "{hash}: {error}");
            assert!(!error.contains("c29tZXNhbHQ"), "{error}");
        }
    }

    #[test]
    fn debug_output_has_no_part_of_a_hash() {
        let hash = parse("$2y$04$TnjywYklQbbZjdjBgBoA4e9G7RJt9blgMgsCvUvus4Iv4TENB5nHy").unwrap();
        assert_eq!(format!("{hash:?}"), "bcrypt");
    }
}
