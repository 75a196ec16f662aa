//! What a request says about caching: its `Cache-Control` (RFC 9111, section 5.2.1), and whether it identifies a user.
//! Knows no response.

use super::RouteCachePolicy;
use http::header::{self, HeaderMap};
use pingora_cache::CacheMeta;
use pingora_cache::cache_control::{CacheControl, DirectiveKey};
use std::time::{Duration, SystemTime};

/// The cache directives of a request (RFC 9111, section 5.2.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RequestDirectives {
    /// Its response must not be stored.
    pub no_store: bool,
    /// A stored response must be validated first.
    pub no_cache: bool,
    /// The client wants a stored response or none.
    pub only_if_cached: bool,
    /// Maximum age of the response.
    pub max_age: Option<Duration>,
    /// Minimum time that the response must still be fresh.
    pub min_fresh: Option<Duration>,
}

impl RequestDirectives {
    /// The directives of a request with these headers.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        let Some(cc) = CacheControl::from_headers_named(header::CACHE_CONTROL.as_str(), headers)
        else {
            return Self::default();
        };
        let min_fresh = DirectiveKey::Unknown("min-fresh".to_owned());
        let min_fresh = cc.directives.get(&min_fresh).and_then(Option::as_ref);
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        Self {
            no_store: cc.no_store(),
            no_cache: cc.no_cache(),
            only_if_cached: cc.only_if_cached(),
            // An unreadable `max-age` still asks for something fresh.
            max_age: match cc.max_age() {
                Ok(age) => age.map(seconds),
                Err(_) => Some(Duration::ZERO),
            },
            min_fresh: min_fresh.and_then(|it| it.parse_as_delta_seconds().ok()).map(seconds),
        }
    }

    /// Whether a stored response must be validated before this request gets it.
    pub(crate) fn require_validation(&self, meta: &CacheMeta, now: SystemTime) -> bool {
        let left = || meta.fresh_until().duration_since(now).unwrap_or_default();
        self.no_cache
            || self.max_age.is_some_and(|max| meta.age() > max)
            || self.min_fresh.is_some_and(|min| left() < min)
    }
}

/// The facts of a request that decide whether its response may be stored.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RequestFacts {
    /// The request has an `Authorization`.
    pub with_authorization: bool,
    /// The request has a `Cookie`.
    pub with_cookie: bool,
    /// The request identifies a user by a client certificate or by a header.
    pub of_user: bool,
}

impl RequestFacts {
    /// Whether the request identifies a user, so that `default_ttl` does not apply to it.
    pub(crate) fn identifies_user(self) -> bool {
        self.with_authorization || self.with_cookie || self.of_user
    }

    /// Whether other requests may wait for the response to this one. With `default_ttl`, a request that identifies
    /// a user is not shared: its response is only for that user unless it says otherwise.
    pub(crate) fn may_share(self, policy: &RouteCachePolicy) -> bool {
        !self.with_authorization && (policy.default_ttl.is_zero() || !self.identifies_user())
    }
}
