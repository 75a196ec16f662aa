//! Hashes that every replica and every version of the gateway computes alike: canary buckets, positions on a hash ring,
//! fingerprints of routes. Knows nothing of what is hashed.
//!
//! The hash is SipHash-1-3 with a key of zeros (Aumasson and Bernstein, 2012), 64 bits. It mixes all bits even of
//! short texts, which a share of requests needs, and other languages have it. It keeps no attacker from choosing
//! values that collide: a table that outsiders fill needs `RandomState`.
//!
//! A value is hashed in this form, one part after the other:
//!
//! | value | form |
//! |---|---|
//! | number, boolean | 8 bytes, little-endian; a boolean is 0 or 1 |
//! | text | its bytes in UTF-8, then the byte 255 |
//! | bytes | their count as a number, then they |
//! | optional value | the number 0, or the number 1 and the value |
//! | list | its length as a number, then its items |
//! | choice | the number of the variant, then its values |
//! | group | its values in the order that its `stable_hash!` lists |
//! | duration | seconds, then nanoseconds |
//! | IP address | the number 0 (IPv4) or 1 (IPv6), then its 4 or 16 bytes |
//!
//! Tests hold the form with known values. A change of it moves users of canaries to other upstreams and makes all
//! routes count as changed between two versions.

use http::{HeaderName, HeaderValue, Method, StatusCode};
use siphasher::sip::SipHasher13;
use std::borrow::Cow;
use std::hash::Hasher;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Computes one hash. It is no [`std::hash::Hasher`]: what the standard library or `derive(Hash)` feeds to one may
/// change with the compiler.
#[derive(Debug, Clone, Copy)]
pub struct StableHasher(SipHasher13);

/// A value with a form that never changes.
pub trait StableHash {
    /// Adds the value to a hash.
    fn feed(&self, hasher: &mut StableHasher);
}

/// The hash of one value.
pub fn stable_hash<T: StableHash + ?Sized>(value: &T) -> u64 {
    let mut hasher = StableHasher::new();
    value.feed(&mut hasher);
    hasher.finish()
}

impl StableHasher {
    /// A hash of nothing yet.
    pub fn new() -> Self {
        Self(SipHasher13::new())
    }

    /// Adds a number.
    pub fn number(&mut self, number: u64) {
        self.0.write(&number.to_le_bytes());
    }

    /// Adds bytes, after their count.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.write(bytes);
    }

    /// Adds a list, after its length.
    pub fn list<T: StableHash>(&mut self, items: impl ExactSizeIterator<Item = T>) {
        self.number(items.len() as u64);
        for item in items {
            item.feed(self);
        }
    }

    /// The hash of all that was added.
    pub fn finish(&self) -> u64 {
        self.0.finish()
    }
}

impl Default for StableHasher {
    fn default() -> Self {
        Self::new()
    }
}

/// Implements [`StableHash`] for a struct: `stable_hash!(Name { first, second } without { third })`. The compiler
/// refuses a list that lacks a field, so that a new one is never left out by mistake.
#[macro_export]
macro_rules! stable_hash {
    ($type:ident { $($field:ident),* $(,)? } $(without { $($rest:ident),* $(,)? })?) => {
        impl $crate::stable_hash::StableHash for $type {
            fn feed(&self, hasher: &mut $crate::stable_hash::StableHasher) {
                let Self { $($field,)* $($($rest: _,)*)? } = self;
                $($crate::stable_hash::StableHash::feed($field, hasher);)*
            }
        }
    };
}

macro_rules! numbers {
    ($($type:ty)*) => {$(
        impl StableHash for $type {
            fn feed(&self, hasher: &mut StableHasher) {
                hasher.number((*self).into());
            }
        }
    )*};
}

numbers! { bool u8 u16 u32 u64 }

impl StableHash for usize {
    fn feed(&self, hasher: &mut StableHasher) {
        hasher.number(*self as u64);
    }
}

impl StableHash for i32 {
    fn feed(&self, hasher: &mut StableHasher) {
        hasher.number(i64::from(*self).cast_unsigned());
    }
}

impl StableHash for str {
    fn feed(&self, hasher: &mut StableHasher) {
        hasher.0.write(self.as_bytes());
        hasher.0.write(&[0xff]);
    }
}

macro_rules! texts {
    ($($type:ty)*) => {$(
        impl StableHash for $type {
            fn feed(&self, hasher: &mut StableHasher) {
                let text: &str = self.as_ref();
                text.feed(hasher);
            }
        }
    )*};
}

texts! { String Box<str> Arc<str> Cow<'_, str> HeaderName Method }

impl StableHash for HeaderValue {
    fn feed(&self, hasher: &mut StableHasher) {
        hasher.bytes(self.as_bytes());
    }
}

impl StableHash for bytes::Bytes {
    fn feed(&self, hasher: &mut StableHasher) {
        hasher.bytes(self);
    }
}

impl StableHash for StatusCode {
    fn feed(&self, hasher: &mut StableHasher) {
        self.as_u16().feed(hasher);
    }
}

impl StableHash for Path {
    fn feed(&self, hasher: &mut StableHasher) {
        hasher.bytes(self.as_os_str().as_encoded_bytes());
    }
}

impl StableHash for PathBuf {
    fn feed(&self, hasher: &mut StableHasher) {
        self.as_path().feed(hasher);
    }
}

impl StableHash for Duration {
    fn feed(&self, hasher: &mut StableHasher) {
        (self.as_secs(), self.subsec_nanos()).feed(hasher);
    }
}

impl StableHash for IpAddr {
    fn feed(&self, hasher: &mut StableHasher) {
        match self {
            Self::V4(address) => {
                hasher.number(0);
                hasher.0.write(&address.octets());
            }
            Self::V6(address) => {
                hasher.number(1);
                hasher.0.write(&address.octets());
            }
        }
    }
}

impl StableHash for SocketAddr {
    fn feed(&self, hasher: &mut StableHasher) {
        (self.ip(), self.port()).feed(hasher);
    }
}

impl<T: StableHash + ?Sized> StableHash for &T {
    fn feed(&self, hasher: &mut StableHasher) {
        (**self).feed(hasher);
    }
}

impl<T: StableHash> StableHash for Arc<T> {
    fn feed(&self, hasher: &mut StableHasher) {
        (**self).feed(hasher);
    }
}

impl<T: StableHash> StableHash for Option<T> {
    fn feed(&self, hasher: &mut StableHasher) {
        match self {
            None => hasher.number(0),
            Some(value) => {
                hasher.number(1);
                value.feed(hasher);
            }
        }
    }
}

impl<T: StableHash> StableHash for [T] {
    fn feed(&self, hasher: &mut StableHasher) {
        hasher.list(self.iter());
    }
}

macro_rules! lists {
    ($($type:ty)*) => {$(
        impl<T: StableHash> StableHash for $type {
            fn feed(&self, hasher: &mut StableHasher) {
                self[..].feed(hasher);
            }
        }
    )*};
}

lists! { Vec<T> Box<[T]> Arc<[T]> }

macro_rules! tuples {
    ($(($($name:ident)+))*) => {$(
        impl<$($name: StableHash),+> StableHash for ($($name,)+) {
            fn feed(&self, hasher: &mut StableHasher) {
                #[expect(non_snake_case, reason = "values are named as their types")]
                let ($($name,)+) = self;
                $($name.feed(hasher);)+
            }
        }
    )*};
}

tuples! { (A B) (A B C) (A B C D) }

#[cfg(test)]
mod tests {
    use super::*;

    /// These values are a promise: replicas of several versions share them.
    #[test]
    fn known_values_never_change() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let known = [
            (StableHasher::new().finish(), 0xd1fb_a762_150c_532c),
            (stable_hash(""), 0x3040_6ea5_23c5_3def),
            (stable_hash("tidegate"), 0x06c8_934e_564e_44e4),
            (stable_hash(&7_u8), 0x6634_b0bd_a4fe_8a7b),
            (stable_hash(&-1_i32), 0x2f20_5be2_fec8_e38d),
            (stable_hash(&true), 0x1e9f_7341_61d6_2dd9),
            (stable_hash(&None::<u8>), 0xbd60_acb6_58c7_9e45),
            (stable_hash(&Some("tidegate")), 0x55f2_b541_2529_2563),
            (stable_hash(&["a", "b"][..]), 0x12fd_23af_eb13_a092),
            (stable_hash(&("a", 1_u64)), 0xe2a3_86c3_788a_5d79),
            (stable_hash(&Duration::from_millis(1500)), 0x658e_2c3e_ebd5_0f89),
            (stable_hash(&address("192.0.2.1")), 0xf35e_4cf6_fd12_d35f),
            (stable_hash(&address("2001:db8::1")), 0x9a58_501f_e2b3_7395),
            (stable_hash(&HeaderValue::from_static("a")), 0xbeb9_a6bb_f61b_58b4),
        ];
        for (index, (hash, known)) in known.into_iter().enumerate() {
            assert_eq!(hash, known, "value {index}: {hash:#018x}");
        }
    }

    #[test]
    fn texts_that_are_split_otherwise_differ() {
        assert_ne!(stable_hash(&("ab", "c")), stable_hash(&("a", "bc")));
        assert_ne!(stable_hash(&(vec!["a"], vec!["b"])), stable_hash(&(vec!["a", "b"], vec![""])));
    }

    #[test]
    fn equal_values_of_other_types_are_equal() {
        assert_eq!(stable_hash("a"), stable_hash(&String::from("a")));
        assert_eq!(stable_hash("a"), stable_hash(&Arc::<str>::from("a")));
        assert_eq!(stable_hash(&7_u8), stable_hash(&7_u64));
    }

    struct Group {
        first: u8,
        second: &'static str,
        third: u8,
    }

    stable_hash!(Group { first, second } without { third });

    #[test]
    fn hash_of_a_group_covers_only_its_listed_values() {
        let group = Group { first: 1, second: "two", third: 3 };
        assert_eq!(stable_hash(&group), stable_hash(&(1_u8, "two")));
        assert_eq!(stable_hash(&group), stable_hash(&Group { third: group.third + 1, ..group }));
    }
}
