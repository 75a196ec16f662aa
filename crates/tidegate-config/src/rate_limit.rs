//! The sections `rate_limits` and `shared_counters`, as written. It counts nothing.

use super::{Duration, HeaderName, Spanned, Switch};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A limit on the rate of requests; further requests are answered 429 with `Retry-After`. WebSocket
/// handshakes count as requests; preflights that the gateway answers do not.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Number of requests that are admitted in `per`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests: u32,
    /// Time for that number, evenly distributed: `{requests: 60, per: 1m}` admits one per second,
    /// and `burst` at once.
    #[serde(default)]
    pub per: Option<Spanned<Duration>>,
    /// Number of requests that are admitted at once after a quiet time.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: Option<u32>,
    /// The key by which requests are counted.
    #[serde(default)]
    pub by: RateLimitBy,
    /// Whether gateways with the same `shared_counters` count together.
    #[serde(default)]
    pub shared: Option<Switch>,
}

/// The key by which requests are counted. A request without it is counted by its address.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RateLimitBy {
    /// Each client; for IPv6, each /64.
    #[default]
    ClientAddress,
    /// Each user id (`identity.user_id`). It is unverified: a client may send as many as it likes,
    /// so limit by address as well.
    UserId,
    /// Each value of a header.
    Header(HeaderName),
    /// Each value of a cookie.
    Cookie(String),
    /// All clients together.
    All,
}

/// A Valkey or Redis server through which several gateways count together: rate limits, and
/// `max_sessions_per_user`. While it is unreachable, each gateway counts alone.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SharedCounters {
    /// `redis://host:port/database`, `rediss://` for TLS, `redis+unix:///path`.
    pub url: Spanned<String>,
    /// User name at the server.
    #[serde(default)]
    pub username: Option<String>,
    /// Password; use a variable.
    #[serde(default)]
    pub password: Option<String>,
    /// PEM file of the authorities that may sign the server's certificate, with `rediss`.
    #[serde(default)]
    pub ca: Option<Spanned<String>>,
    /// Prefix of the names of its keys; gateways with the same prefix count together.
    #[serde(default)]
    #[schemars(length(min = 1, max = 64))]
    pub prefix: Option<String>,
    /// Maximum time that a request waits for an answer before the gateway counts it alone.
    #[serde(default)]
    pub timeout: Option<Spanned<Duration>>,
    /// Time for which the sessions of a gateway that disappeared still count.
    #[serde(default)]
    pub lease: Option<Spanned<Duration>>,
}
