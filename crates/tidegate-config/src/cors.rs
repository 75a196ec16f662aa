use super::union::short_or_long;
use super::{Duration, HeaderName, Method, OriginPattern, Spanned, Switch};
use schemars::JsonSchema;
use serde::Deserialize;

/// `off`, or a CORS policy.
#[derive(Debug, Clone)]
pub enum CorsPolicy {
    /// `off`, as without the key: no CORS header is set, none of the upstream's is touched, and
    /// preflights go to the upstream.
    Switch(Switch),
    /// The policy.
    Policy(Cors),
}

/// Which other origins' pages may read the responses, and, where `websocket.origins` does not say
/// otherwise, open WebSockets.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    /// Origins as `scheme://host[:port]`, `https://*.example.com` for every subdomain, `file://`
    /// for a scheme without hosts, `*` for all, `null` for opaque origins.
    pub allow_origins: Vec<Spanned<OriginPattern>>,
    /// Methods that a preflight may ask for.
    pub allow_methods: Option<Vec<Spanned<Method>>>,
    /// Header fields that a preflight may ask for, or `*` for any, answered
    /// by naming just those that were asked for.
    pub allow_headers: Option<Vec<HeaderName>>,
    /// Response header fields that scripts may read.
    pub expose_headers: Option<Vec<Spanned<HeaderName>>>,
    /// Whether cookies and `Authorization` may be sent along; not together with the origin `*`.
    pub allow_credentials: Option<Spanned<bool>>,
    /// How long a browser may keep a preflight's answer.
    pub max_age: Option<Spanned<Duration>>,
    /// Whether pages of public sites may reach this gateway in a private network (Private Network
    /// Access).
    pub allow_private_network: Option<bool>,
}

short_or_long!(CorsPolicy: Switch(Switch) | Policy(Cors));
