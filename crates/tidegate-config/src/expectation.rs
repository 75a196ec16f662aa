use super::{HeaderName, Spanned};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A request, and what must become of it. `tidegate check` and each reload ask the gateway's own
/// table and filters; nothing is sent. A configuration whose tests fail is refused.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// The request.
    pub request: TestRequest,
    /// What must become of it; all that is given must hold.
    pub expect: Expect,
}

/// A request that nobody sends.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestRequest {
    /// Its URL: `https://example.com/api/users?page=2`; `ws` and `wss` are for handshakes.
    pub url: Spanned<String>,
    /// Its method.
    #[serde(default)]
    pub method: Option<String>,
    /// Its header fields.
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"format": "header-name"}))]
    pub headers: BTreeMap<HeaderName, String>,
}

/// What must become of a request.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    /// The route that takes it; `none` for no route.
    pub route: Option<Spanned<String>>,
    /// The upstream that it goes to; `none` where the gateway answers.
    pub upstream: Option<Spanned<String>>,
    /// The path and query that the upstream sees.
    pub upstream_path: Option<Spanned<String>>,
    /// The status of the gateway's own answer.
    pub status: Option<Spanned<u16>>,
    /// What CORS says of its `Origin`.
    pub cors: Option<Spanned<CorsVerdict>>,
}

/// What CORS says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CorsVerdict {
    /// The page may read the answer.
    Allowed,
    /// It may not.
    Refused,
}
