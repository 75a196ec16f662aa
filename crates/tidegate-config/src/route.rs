//! The section `routes`, as written. It knows nothing of the order in which routes are tried.

use super::union::short_or_long;
use super::{
    ByteSize, CacheSetting, Clients, CompressionSetting, CorsPolicy, Duration, Exactly, Files,
    Filters, HeaderName, Headers, HostPattern, HostRewrite, MaintenanceSetting, Method, Mirror,
    Path, PathSetting, RateLimit, Redirect, RequireSetting, Respond, RetrySetting, Spanned, Split,
    Switch, WebSocketSetting,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Which requests a route takes, and where they go.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Name of the route, unique; every log line has it as `http.route`.
    pub name: Spanned<String>,
    /// Conditions on a request.
    #[serde(rename = "match", default)]
    pub matches: Match,
    /// Name of the upstream. A route has exactly one of `upstream`, `redirect`, `respond` and
    /// `files`.
    #[serde(default)]
    pub upstream: Option<Spanned<String>>,
    /// Redirects the client.
    #[serde(default)]
    pub redirect: Option<Spanned<Redirect>>,
    /// A fixed response.
    #[serde(default)]
    pub respond: Option<Spanned<Respond>>,
    /// Serves files of a folder.
    #[serde(default)]
    pub files: Option<Spanned<Files>>,
    /// Sends some requests to another upstream, for a canary or a gradual roll-out: first those
    /// with a header or a cookie, then a share of the users.
    #[serde(default)]
    pub split: Vec<Spanned<Split>>,
    /// Sends copies of requests to a shadow of the service; not of WebSockets, nor of bodies over
    /// 64 KiB.
    #[serde(default)]
    pub mirror: Option<Mirror>,
    /// Changes of the request for the upstream.
    #[serde(default)]
    pub rewrite: Rewrite,
    /// The form in which paths are passed on: `normal`, `raw` (byte for byte as received), or a
    /// setting for each part. Routing always uses the normal form of the path, with encoded slashes
    /// decoded. If the upstream could read the path that is passed on as one that another route
    /// takes, the request is answered 400.
    #[serde(default)]
    pub path: Option<Spanned<PathSetting>>,
    /// Replaces the top-level `require` for this route: `off`, the name of a scheme of `authentication`, or
    /// settings. A request that no scheme verifies is answered 401.
    #[serde(default)]
    pub require: Option<Spanned<RequireSetting>>,
    /// Client addresses that are admitted, in addition to the lists of the listener and of the whole
    /// gateway.
    #[serde(default)]
    pub clients: Clients,
    /// WebSocket upgrades: `on`, `off` (answered 403), or their settings.
    #[serde(default)]
    pub websocket: Option<Spanned<WebSocketSetting>>,
    /// Timeouts towards the upstream.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Translates gRPC-Web (in its binary form) to gRPC for an upstream that speaks HTTP/2.
    #[serde(default)]
    pub grpc_web: Option<Spanned<Switch>>,
    /// When the gateway retries a request. `off`: it never sends a request again that an upstream
    /// may have read, not even if the upstream closes a kept connection while it is sent.
    #[serde(default)]
    pub retry: Option<Spanned<RetrySetting>>,
    /// Replaces the top-level `cors` for this route; `off` switches it off.
    #[serde(default)]
    pub cors: Option<Spanned<CorsPolicy>>,
    /// Changes of headers, in addition to those of the top-level `headers`.
    #[serde(default)]
    pub headers: Headers,
    /// Replaces the top-level `compression` for this route; `off` switches it off.
    #[serde(default)]
    pub compression: Option<Spanned<CompressionSetting>>,
    /// Whether its responses are stored and reused for other clients: `on`, `off`, or the settings.
    #[serde(default)]
    pub cache: Option<Spanned<CacheSetting>>,
    /// Filters that the program registers under these names, in this order, after those of the
    /// top-level `filters`. Example: `[{api_keys: {keys: [{id: a}]}}]`.
    #[serde(default)]
    pub filters: Filters,
    /// Replaces the top-level `maintenance` for this route; `off` exempts it.
    #[serde(default)]
    pub maintenance: Option<Spanned<MaintenanceSetting>>,
    /// Replaces the top-level `rate_limits` for this route, and counts its requests alone; `[]`
    /// exempts it. All of them apply.
    #[serde(default)]
    pub rate_limits: Option<Vec<Spanned<RateLimit>>>,
    /// Maximum size of a request body; a larger one is answered 413.
    #[serde(default)]
    pub max_body_size: Option<ByteSize>,
}

/// Conditions on a request; all that are given must hold.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Match {
    /// Matches this path and all paths below it, at segment boundaries: `/api/notification` matches
    /// `/api/notification/x`, but not `/api/notifications`.
    pub path_prefix: Option<Spanned<Path>>,
    /// Matches exactly this path.
    pub path: Option<Spanned<Path>>,
    /// Host names without port; `*.example.com` matches every name below example.com.
    pub hosts: Vec<Spanned<HostPattern>>,
    /// Request methods; `GET` includes `HEAD` (RFC 9110, section 9.1). A request whose method no
    /// route takes is answered 405.
    pub methods: Vec<Method>,
    /// Headers and the required value of each, or `{present: true}`.
    #[schemars(extend("propertyNames" = {"format": "header-name"}))]
    pub headers: BTreeMap<HeaderName, ValueMatch>,
    /// Query parameters and the required value of each, or `{present: true}`.
    pub query: BTreeMap<String, ValueMatch>,
}

/// The value that a header field or query parameter must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueMatch {
    /// Just this value.
    Exact(Exactly),
    /// Any value, or none at all.
    Presence(Presence),
}

short_or_long!(ValueMatch: Exact(Exactly) | Presence(Presence));

/// Whether it must be present.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Presence {
    /// Whether it must be present (`true`) or absent (`false`).
    pub present: bool,
}

/// Changes of the request for the upstream.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rewrite {
    /// Replaces the matched prefix: with `path_prefix: /api/v1` and `prefix: /`, `/api/v1/users`
    /// becomes `/users`.
    pub prefix: Option<Spanned<Path>>,
    /// The `Host` that the upstream gets: `preserve` keeps the client's, `upstream` uses the
    /// endpoint's, any other value is the host itself.
    pub host: Option<HostRewrite>,
}

/// Timeouts towards the upstream.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// Maximum time to connect; the request then fails with 504.
    pub connect: Option<Duration>,
    /// Maximum time for the TLS handshake with an upstream that has `tls`, once it is connected;
    /// the request then fails with 504.
    pub tls: Option<Duration>,
    /// Maximum time from the end of the request to the beginning of the response; the request then
    /// fails with 504. It can't be longer than `read`, and the upstream must speak only HTTP/1.1.
    /// On a WebSocket it limits the handshake.
    pub first_byte: Option<Spanned<Duration>>,
    /// Maximum time between two reads of a response, including the first; the request then fails
    /// with 504. On a WebSocket it limits only the handshake.
    pub read: Option<Spanned<Duration>>,
    /// Maximum time between two writes of a request.
    pub write: Option<Duration>,
    /// Maximum time for the whole request, including its body, retries and the response body. The
    /// request then fails with 504, or with 408 if the gateway waited for the client's body; a
    /// response that has begun breaks off. Not for WebSockets.
    pub request: Option<Duration>,
}
