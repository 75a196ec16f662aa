//! The section `cache`, as written. It stores nothing.

use super::union::short_or_long;
use super::{ByteSize, Duration, HeaderName, Spanned, Switch};
use schemars::JsonSchema;
use serde::Deserialize;

/// Size of the cache, in memory. Its contents are lost when the gateway restarts.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// Maximum size of all responses; one eighth of it is for responses in flight. The least
    /// recently used responses are evicted.
    pub max_size: Option<Spanned<ByteSize>>,
    /// Maximum size of a response body; larger responses are not stored. At most an eighth of
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

/// Stores responses to `GET` and `HEAD` and reuses them for other clients, by the rules for shared
/// caches (RFC 9111): for as long as `Cache-Control` or `Expires` allow, never with `no-store` or
/// `private`, and one response for each value of the headers in `Vary`. With `Set-Cookie`, only if
/// the response has `public` too; for requests with `Authorization`, only with `public`, `s-maxage`
/// or `must-revalidate`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CachePolicy {
    /// Lifetime of responses that state none, with status 200, 203, 301 or 308, for requests that
    /// name no user: without `Cookie`, `Authorization`, a client certificate, the headers of
    /// `identity.user_id`, and other headers whose names mean a user or a secret (`X-Api-Key`,
    /// `X-Forwarded-User`), unless `key_headers` lists them. `0s` stores none of these.
    pub default_ttl: Option<Duration>,
    /// Maximum time for which any response is fresh.
    pub max_ttl: Option<Duration>,
    /// Time for which a stale response is served while the gateway fetches a new one, unless the
    /// response itself states it (RFC 5861).
    pub stale_while_revalidate: Option<Duration>,
    /// Time for which a stale response is served when the upstream fails or answers 5xx, unless the
    /// response itself states it (RFC 5861).
    pub stale_if_error: Option<Duration>,
    /// Request headers that distinguish responses, in addition to those in `Vary`.
    pub key_headers: Vec<Spanned<HeaderName>>,
}

short_or_long!(CacheSetting: Switch(Switch) | Policy(CachePolicy));
