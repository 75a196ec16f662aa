//! The section `tests`, as written. It runs no test; the gateway does.

use super::{HeaderName, Spanned};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A request and the expected result. `tidegate check` and each reload evaluate it with the
/// gateway's own routing table and filters; nothing is sent. A configuration with a failing test is
/// refused.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// The request.
    pub request: TestRequest,
    /// The expected result; everything that is given must match.
    pub expect: Expect,
}

/// A request that is evaluated, not sent.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestRequest {
    /// URL: `https://example.com/api/users?page=2`; `ws` and `wss` are for handshakes.
    pub url: Spanned<String>,
    /// Method.
    #[serde(default)]
    pub method: Option<String>,
    /// Headers.
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"format": "header-name"}))]
    pub headers: BTreeMap<HeaderName, String>,
}

/// The expected result of a request.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    /// The route that takes it; `none` for no route.
    pub route: Option<Spanned<String>>,
    /// The upstream that gets it; `none` if the gateway answers.
    pub upstream: Option<Spanned<String>>,
    /// The path and query that the upstream gets.
    pub upstream_path: Option<Spanned<String>>,
    /// The status of the gateway's own answer.
    pub status: Option<Spanned<u16>>,
    /// The decision of CORS about its `Origin`.
    pub cors: Option<Spanned<CorsVerdict>>,
}

/// The decision of CORS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CorsVerdict {
    /// The page may read the response.
    Allowed,
    /// The page may not read it.
    Refused,
}
