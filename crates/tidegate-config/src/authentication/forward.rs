//! Authentication by another service, as written. It sends nothing.

use crate::{Duration, HeaderName, Spanned};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Another service decides: 2xx admits the request, any other response goes to the client.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Forward {
    /// URL of the service, asked by GET. It receives method, URI, host, scheme and client address as
    /// `X-Forwarded-Method`, `-Uri`, `-Host`, `-Proto` and `-For`.
    pub url: Spanned<String>,
    /// Headers of the request that the service receives.
    #[serde(default)]
    pub send: Vec<Spanned<HeaderName>>,
    /// Headers of its response that the upstream receives, each in place of what the client sent; they
    /// are also claims.
    #[serde(default)]
    pub take: Vec<Spanned<HeaderName>>,
    /// Which of the headers in `take` has the user id; it becomes the claim `sub`.
    #[serde(default)]
    pub user: Option<Spanned<HeaderName>>,
    /// Time for which the gateway reuses an admission for requests with the same headers of `send`.
    #[serde(default)]
    pub cache: Option<Spanned<Duration>>,
    /// Maximum time for the service's response.
    #[serde(default)]
    pub timeout: Option<Spanned<Duration>>,
    /// What happens while the service is unreachable: `refuse` answers 503, `allow` admits requests
    /// without a user.
    #[serde(default)]
    pub on_error: OnError,
    /// PEM file of the authorities that may sign the service's certificate.
    #[serde(default)]
    pub ca: Option<Spanned<String>>,
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
