//! The sections `split` and `mirror`, as written. It knows nothing of upstreams but their names.

use super::{Duration, Exactly, HeaderName, Spanned};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Requests that go to another upstream than the route's, for a canary or a gradual roll-out.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// The name of the upstream.
    pub upstream: Spanned<String>,
    /// Percentage of users, always the same ones: by user id, or else by the client's address.
    /// Several shares add up.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub percent: Option<u8>,
    /// Requests with one of these headers and exactly this value.
    #[serde(default)]
    pub headers: BTreeMap<HeaderName, Exactly>,
    /// Requests with one of these cookies and exactly this value.
    #[serde(default)]
    pub cookies: BTreeMap<String, Exactly>,
}

/// Copies of requests that go to a shadow of the service. The gateway discards its answers, and
/// copies never slow the requests themselves down: copies that it does not accept in time are
/// dropped.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// The name of the upstream.
    pub upstream: Spanned<String>,
    /// Percentage of requests, at random.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub percent: Option<u8>,
    /// Maximum number of copies in flight; further copies are dropped.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10000))]
    pub concurrency: Option<usize>,
    /// Maximum time for a copy.
    #[serde(default)]
    pub timeout: Option<Duration>,
}
