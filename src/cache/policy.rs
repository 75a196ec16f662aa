//! How a route caches, as the request path reads it. Knows nothing of YAML.

use super::CacheStatusCounts;
use http::HeaderName;
use std::sync::Arc;
use std::time::Duration;
use tidegate_http::stable_hash;

/// How a route caches its responses.
#[derive(Debug)]
pub(crate) struct RouteCachePolicy {
    /// Freshness of responses that declare none; zero: they are not stored.
    pub default_ttl: Duration,
    /// Maximum freshness of any response.
    pub max_ttl: Option<Duration>,
    /// How long a stale response is served while another is fetched, unless the response declares it.
    pub stale_while_revalidate: Duration,
    /// How long a stale response is served if the upstream fails, unless the response declares it.
    pub stale_if_error: Duration,
    /// Request headers that distinguish responses, besides those that `Vary` names.
    pub key_headers: Vec<HeaderName>,
    /// Headers that name the user of a request: its response is not shared by `default_ttl`.
    pub identity_headers: Vec<HeaderName>,
    /// How often the cache gave which answer.
    pub counts: Arc<CacheStatusCounts>,
}

stable_hash!(RouteCachePolicy {
    default_ttl,
    max_ttl,
    stale_while_revalidate,
    stale_if_error,
    key_headers,
    identity_headers,
} without { counts });
