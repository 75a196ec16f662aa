use super::{Duration, Exactly, HeaderName, Spanned};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Requests that go to another upstream than the route's: a canary, or a new version by and by.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// The name of the upstream.
    pub upstream: Spanned<String>,
    /// So many of a hundred users, always the same ones: by user id, or by the client's address
    /// where there is none. Several shares add up.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub percent: Option<u8>,
    /// Requests with one of these header fields, with just this value.
    #[serde(default)]
    pub headers: BTreeMap<HeaderName, Exactly>,
    /// Requests with one of these cookies, with just this value.
    #[serde(default)]
    pub cookies: BTreeMap<String, Exactly>,
}

/// Copies of requests that go to a shadow of the service. Its answers are thrown away, and it can
/// never slow the requests themselves down: what it does not take in time is dropped.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// The name of the upstream.
    pub upstream: Spanned<String>,
    /// So many of a hundred requests, at random.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub percent: Option<u8>,
    /// The most copies under way; more are dropped.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10000))]
    pub concurrency: Option<usize>,
    /// How long a copy may take.
    #[serde(default)]
    pub timeout: Option<Duration>,
}
