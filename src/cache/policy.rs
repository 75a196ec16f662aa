use super::Counts;
use http::HeaderName;
use std::sync::Arc;
use std::time::Duration;
use tidegate_http::stable_hash;

/// How a route's responses are kept.
#[derive(Debug)]
pub struct Policy {
    /// How long responses are fresh that do not say it; zero for not at all.
    pub default_ttl: Duration,
    /// The longest that any is.
    pub max_ttl: Option<Duration>,
    /// How long one that is stale is still given while another is fetched, unless it says so itself.
    pub stale_while_revalidate: Duration,
    /// The same when no other can be had.
    pub stale_if_error: Duration,
    /// Fields of the request by which responses are told apart, beside what `Vary` names.
    pub key_headers: Vec<HeaderName>,
    /// Headers that name the user of a request: what it gets by `default_ttl` is nobody else's.
    pub identity_headers: Vec<HeaderName>,
    /// What has come of it.
    pub counts: Arc<Counts>,
}

stable_hash!(Policy {
    default_ttl,
    max_ttl,
    stale_while_revalidate,
    stale_if_error,
    key_headers,
    identity_headers,
} without { counts });
