//! The section `cors`, as written. It knows nothing of requests.

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

/// Origins whose pages may read the responses and, unless `websocket.origins` is set, open
/// WebSockets.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    /// Allowed origins: `scheme://host[:port]`, `https://*.example.com` for every subdomain,
    /// `file://` for a scheme without hosts, `*` for all, `null` for opaque origins.
    pub allow_origins: Vec<Spanned<OriginPattern>>,
    /// Methods that a preflight may request.
    pub allow_methods: Option<Vec<Spanned<Method>>>,
    /// Headers that a preflight may request, or `*` for any, answered with only the requested
    /// names.
    pub allow_headers: Option<Vec<HeaderName>>,
    /// Response headers that scripts may read.
    pub expose_headers: Option<Vec<Spanned<HeaderName>>>,
    /// Whether browsers may send cookies and `Authorization`; not together with the origin `*`.
    pub allow_credentials: Option<Spanned<bool>>,
    /// Time for which a browser may cache the answer to a preflight.
    pub max_age: Option<Spanned<Duration>>,
    /// Whether pages of public sites may access this gateway in a private network (Private Network
    /// Access).
    pub allow_private_network: Option<bool>,
}

short_or_long!(CorsPolicy: Switch(Switch) | Policy(Cors));
