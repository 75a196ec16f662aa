use super::Counts;
use http::HeaderName;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

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

/// The settings alone: what has come of them is no part of what a route does.
impl Hash for Policy {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.default_ttl, self.max_ttl).hash(state);
        (self.stale_while_revalidate, self.stale_if_error).hash(state);
        (&self.key_headers, &self.identity_headers).hash(state);
    }
}
