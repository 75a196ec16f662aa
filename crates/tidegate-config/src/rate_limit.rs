use super::{Duration, HeaderName, Spanned, Switch};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many requests may come in which time; those beyond are answered 429 with `Retry-After`.
/// WebSocket handshakes are requests as well; preflights that the gateway answers are not.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// So many requests.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests: u32,
    /// In so long, evenly: `{requests: 60, per: 1m}` is one each second, and `burst` at once.
    #[serde(default)]
    pub per: Option<Spanned<Duration>>,
    /// Requests that may come at once, after a quiet time.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: Option<u32>,
    /// Whose requests are counted together.
    #[serde(default)]
    pub by: RateLimitBy,
    /// Whether other gateways count with it, where there are `shared_counters`.
    #[serde(default)]
    pub shared: Option<Switch>,
}

/// Whose requests are counted together. A request that does not say is counted by its address.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RateLimitBy {
    /// Each client's; for IPv6, each /64's.
    #[default]
    ClientAddress,
    /// Each user id's (`identity.user_id`). Nobody has verified it: a client may name as many as
    /// it likes, so limit the address as well.
    UserId,
    /// Those with the same value of a header field.
    Header(HeaderName),
    /// Those with the same value of a cookie.
    Cookie(String),
    /// Everybody's.
    All,
}

/// A Valkey or Redis server by which several gateways count together: rate limits, and
/// `max_sessions_per_user`. While it is away each of them counts alone.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SharedCounters {
    /// `redis://host:port/database`, `rediss://` by TLS, `redis+unix:///path`.
    pub url: Spanned<String>,
    /// Who the gateway says it is there.
    #[serde(default)]
    pub username: Option<String>,
    /// The password; a variable is a good place for it.
    #[serde(default)]
    pub password: Option<String>,
    /// The PEM file of the authorities that may vouch for the server, with `rediss`.
    #[serde(default)]
    pub ca: Option<Spanned<String>>,
    /// What the names of its keys begin with; gateways with the same one count together.
    #[serde(default)]
    #[schemars(length(min = 1, max = 64))]
    pub prefix: Option<String>,
    /// How long a request waits for an answer before it is counted alone.
    #[serde(default)]
    pub timeout: Option<Spanned<Duration>>,
    /// How long the sessions of a gateway that is gone without a word still count.
    #[serde(default)]
    pub lease: Option<Spanned<Duration>>,
}
