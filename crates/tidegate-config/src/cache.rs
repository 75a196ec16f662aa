use super::union::short_or_long;
use super::{ByteSize, Duration, HeaderName, Spanned, Switch};
use schemars::JsonSchema;
use serde::Deserialize;

/// How much the cache holds, in memory. What it holds is lost when the gateway restarts.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// Bytes of all responses; an eighth of it is for those on their way into the cache. Those that
    /// were not asked for the longest time make room.
    pub max_size: Option<Spanned<ByteSize>>,
    /// Bytes of a response's body; larger ones pass without being kept. At most an eighth of
    /// `max_size`.
    pub max_entry: Option<Spanned<ByteSize>>,
}

/// `on`, `off`, or how responses are kept.
#[derive(Debug, Clone)]
pub enum CacheSetting {
    /// `on` keeps what says that it may be kept.
    Switch(Switch),
    /// How responses are kept.
    Policy(CachePolicy),
}

/// Responses to `GET` and `HEAD` are kept and given to others, by the rules for shared caches
/// (RFC 9111): as long as `Cache-Control` or `Expires` say, never where they say `no-store` or
/// `private`, one for each value of what `Vary` names. With `Set-Cookie`, only if it says `public`
/// as well; for requests with `Authorization`, only if it says `public`, `s-maxage` or
/// `must-revalidate`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CachePolicy {
    /// How long responses are kept that do not say it: of status 200, 203, 301 and 308, for
    /// requests that name no user: without `Cookie`, `Authorization`, a client certificate, the
    /// headers of `identity.user_id`, and others that carry a user or a secret by their names
    /// (`X-Api-Key`, `X-Forwarded-User`), unless `key_headers` has them. `0s` keeps none of these.
    pub default_ttl: Option<Duration>,
    /// The longest that any is fresh, whatever it says.
    pub max_ttl: Option<Duration>,
    /// How long a response that is no longer fresh is given while another is fetched, where it does
    /// not say so itself (RFC 5861).
    pub stale_while_revalidate: Option<Duration>,
    /// How long it is given when the upstream fails or answers 5xx, where it does not say so itself
    /// (RFC 5861).
    pub stale_if_error: Option<Duration>,
    /// Header fields of the request by which responses are told apart, though they have no `Vary`
    /// that says so.
    pub key_headers: Vec<Spanned<HeaderName>>,
}

short_or_long!(CacheSetting: Switch(Switch) | Policy(CachePolicy));
