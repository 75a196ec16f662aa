//! Authentication by another service, as written. It sends nothing.

use crate::{Duration, HeaderName, Spanned};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Another service decides: 2xx admits the request, any other response goes to the client.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Forward {
    /// URL of the service; `ext_authz` uses its scheme, host and port alone. `forward` asks it by GET. It receives method, URI, host, scheme and client address as
    /// `X-Forwarded-Method`, `-Uri`, `-Host`, `-Proto` and `-For`; method and URI as `X-Original-Method`
    /// and `X-Original-URI` too.
    pub url: Spanned<String>,
    /// Headers of the request that the service receives, as the client sent them.
    #[serde(default)]
    pub send: Option<Vec<Spanned<HeaderName>>>,
    /// Headers of its response that the upstream receives, each in place of what the client sent; they
    /// are also claims.
    #[serde(default)]
    pub take: Vec<Spanned<HeaderName>>,
    /// Which of the headers in `take` has the user id; it becomes the claim `sub`.
    #[serde(default)]
    pub user: Option<Spanned<HeaderName>>,
    /// Which of the headers in `take` has the time at which the login expires: seconds since 1970, a
    /// date of HTTP, or RFC 3339. It ends WebSocket sessions; without it they have no expiry.
    #[serde(default)]
    pub expires: Option<Spanned<HeaderName>>,
    /// Time for which the gateway reuses an admission for requests with the same headers of `send` and
    /// the same parts in `cache_by`; `Cache-Control` of the response can shorten it. `0s` asks each
    /// time. It does not end WebSocket sessions.
    #[serde(default)]
    pub cache: Option<Spanned<Duration>>,
    /// What belongs to the key of the cache beside the headers of `send`. Leave out what the service
    /// does not look at: `[]` if it reads the headers alone.
    #[serde(default)]
    pub cache_by: Option<Vec<Spanned<RequestPart>>>,
    /// Maximum time for the service's response.
    #[serde(default)]
    pub timeout: Option<Spanned<Duration>>,
    /// What happens while the service is unreachable or too slow: `refuse` answers 503, `allow` admits
    /// requests without a user, except where `require` has `claims` or `user_matches`.
    #[serde(default)]
    pub on_error: OnError,
    /// PEM file of the authorities that may sign the service's certificate.
    #[serde(default)]
    pub ca: Option<Spanned<String>>,
}

/// A part of a request that the service learns beside its headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestPart {
    /// The method.
    Method,
    /// `http` or `https`.
    Scheme,
    /// The host.
    Host,
    /// The path.
    Path,
    /// The query.
    Query,
    /// The client's address.
    Client,
}

/// What happens while the service that decides is unreachable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// Answers 503.
    #[default]
    Refuse,
    /// Admits the request without a user.
    Allow,
}
