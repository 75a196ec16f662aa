//! What a rate limit counts by: the client address, a header, a cookie, or all requests together. Counts nothing.

use crate::exchange::Exchange;
use http::{HeaderMap, HeaderName};
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use tidegate_http::stable_hash::{StableHash, StableHasher};
use tidegate_http::{address, cookie};

/// Whose requests are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum CountBy {
    /// Each client's; for IPv6, each /64's.
    ClientAddress,
    /// Each user id's.
    UserId,
    /// Those with the same value of this field.
    Header(HeaderName),
    /// Those with the same value of this cookie.
    Cookie(String),
    /// Everybody's.
    All,
}

impl StableHash for CountBy {
    fn feed(&self, hasher: &mut StableHasher) {
        match self {
            Self::ClientAddress => hasher.number(0),
            Self::UserId => hasher.number(1),
            Self::Header(name) => (2_u8, name).feed(hasher),
            Self::Cookie(name) => (3_u8, name).feed(hasher),
            Self::All => hasher.number(4),
        }
    }
}

/// Whose request it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum BucketKey<'r> {
    /// A client's.
    Address(IpAddr),
    /// Somebody's whom the request names.
    Named(&'r [u8]),
    /// Anybody's.
    All,
}

impl CountBy {
    /// Whose request this is. Who does not say it is counted by the address: a request can't do
    /// without a limit by leaving out its name.
    pub(crate) fn key<'r>(&self, headers: &'r HeaderMap, exchange: &'r Exchange) -> BucketKey<'r> {
        let named = match self {
            Self::All => return BucketKey::All,
            Self::ClientAddress => None,
            Self::UserId => exchange.user_id().map(|user| user.as_str().as_bytes()),
            Self::Header(name) => headers.get(name).map(http::HeaderValue::as_bytes),
            Self::Cookie(name) => cookie::find(headers, name),
        };
        match (named, exchange.client_address()) {
            (Some(name), _) => BucketKey::Named(name),
            (None, Some(client)) => BucketKey::Address(address::client(client)),
            (None, None) => BucketKey::All,
        }
    }
}

impl BucketKey<'_> {
    /// The key as a kind and bytes, which no other key shares.
    pub(super) fn tag_and_bytes(&self) -> (&'static [u8], Cow<'_, [u8]>) {
        match self {
            Self::Address(address) => (b"address", Cow::Owned(address.to_string().into_bytes())),
            Self::Named(name) => (b"named", Cow::Borrowed(name)),
            Self::All => (b"all", Cow::Borrowed(b"")),
        }
    }
}

impl fmt::Display for CountBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientAddress => f.write_str("client_address"),
            Self::UserId => f.write_str("user_id"),
            Self::Header(name) => write!(f, "header {name}"),
            Self::Cookie(name) => write!(f, "cookie {name}"),
            Self::All => f.write_str("all"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{UserId, UserIdOrigin};
    use http::HeaderValue;

    #[test]
    fn request_without_the_key_header_is_counted_by_address() {
        let mut exchange = Exchange::new("r".into(), HeaderValue::from_static("id"));
        exchange.client_address = "192.0.2.7".parse().ok();
        let mut headers = HeaderMap::new();
        let by = CountBy::Header(HeaderName::from_static("x-api-key"));
        let address = BucketKey::Address("192.0.2.7".parse().expect("an address"));
        assert_eq!(by.key(&headers, &exchange), address);
        assert_eq!(CountBy::UserId.key(&headers, &exchange), address);
        headers.insert("x-api-key", HeaderValue::from_static("k"));
        exchange.user_id = UserId::new("user-1", UserIdOrigin::Query);
        assert_eq!(by.key(&headers, &exchange), BucketKey::Named(b"k"));
        assert_eq!(CountBy::UserId.key(&headers, &exchange), BucketKey::Named(b"user-1"));
        assert_eq!(CountBy::All.key(&headers, &exchange), BucketKey::All);
    }
}
