//! The compiled shares of a route's requests that go to another upstream. It knows nothing of endpoints.

use crate::exchange::Exchange;
use crate::upstream::Pool;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::net::IpAddr;
use std::sync::Arc;
use tidegate_http::cookie;
use tidegate_http::stable_hash::{StableHash, StableHasher};

/// Requests of a route that go to another upstream.
#[derive(Debug)]
pub(crate) struct SplitRule {
    /// Where they go.
    pub pool: Arc<Pool>,
    /// Which they are.
    pub when: SplitCondition,
}

/// Which requests go elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum SplitCondition {
    /// Those whose bucket, 0 to 99, is below this and was below none before.
    Below(u8),
    /// Those with this value of a header field.
    Header(HeaderName, HeaderValue),
    /// Those with this value of a cookie.
    Cookie(String, String),
}

impl StableHash for SplitCondition {
    fn feed(&self, hasher: &mut StableHasher) {
        match self {
            Self::Below(percent) => (0_u8, *percent).feed(hasher),
            Self::Header(name, value) => (1_u8, name, value).feed(hasher),
            Self::Cookie(name, value) => (2_u8, name, value).feed(hasher),
        }
    }
}

/// The first of the splits that takes the request.
pub(crate) fn first_match<'s>(
    splits: &'s [SplitRule],
    headers: &HeaderMap,
    exchange: &Exchange,
) -> Option<&'s Arc<Pool>> {
    let mut bucket = None;
    let taken = splits.iter().find(|split| match &split.when {
        SplitCondition::Below(percent) => {
            *bucket.get_or_insert_with(|| bucket_for(exchange)) < *percent
        }
        SplitCondition::Header(name, value) => headers.get_all(name).iter().any(|it| it == value),
        SplitCondition::Cookie(name, value) => {
            cookie::find(headers, name) == Some(value.as_bytes())
        }
    });
    taken.map(|split| &split.pool)
}

fn bucket_for(exchange: &Exchange) -> u8 {
    let user = exchange.user_id().map(|user| user.as_str());
    bucket_of(exchange.route(), user, exchange.client_address())
}

/// A number from 0 to 99. A user of a route always has the same one, or an address where there is no user, in every
/// replica and version: nobody moves to and fro between upstreams.
fn bucket_of(route: &str, user: Option<&str>, address: Option<IpAddr>) -> u8 {
    let mut hasher = StableHasher::new();
    route.feed(&mut hasher);
    match (user, address) {
        (Some(user), _) => user.feed(&mut hasher),
        (None, address) => address.feed(&mut hasher),
    }
    (hasher.finish() % 100) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Replicas of several versions share these values.
    #[test]
    fn buckets_are_the_same_in_every_version() {
        let address = |text: &str| Some(text.parse().expect("an address"));
        assert_eq!(bucket_of("app", Some("alice"), None), 8);
        assert_eq!(bucket_of("app", Some("alice"), address("192.0.2.1")), 8);
        assert_eq!(bucket_of("app", None, address("192.0.2.1")), 62);
        assert_eq!(bucket_of("app", None, address("2001:db8::1")), 95);
        assert_eq!(bucket_of("other", Some("alice"), None), 22);
    }
}
