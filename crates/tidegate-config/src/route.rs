use super::union::short_or_long;
use super::{
    ByteSize, CacheSetting, CompressionSetting, CorsPolicy, Duration, Exactly, Files, HeaderName,
    Headers, HostPattern, HostRewrite, MaintenanceSetting, Method, Mirror, Path, PathSetting,
    RateLimit, Redirect, Respond, RetrySetting, Spanned, Split, Switch, WebSocketSetting,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Which requests, and where they go.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The route's name, unique; it stands in every log line as `http.route`.
    pub name: Spanned<String>,
    /// What a request must be like.
    #[serde(rename = "match", default)]
    pub matches: Match,
    /// The name of the upstream. A route has just one of `upstream`, `redirect`, `respond` and
    /// `files`.
    #[serde(default)]
    pub upstream: Option<Spanned<String>>,
    /// Sends the client elsewhere.
    #[serde(default)]
    pub redirect: Option<Spanned<Redirect>>,
    /// A fixed answer.
    #[serde(default)]
    pub respond: Option<Spanned<Respond>>,
    /// Files of a folder.
    #[serde(default)]
    pub files: Option<Spanned<Files>>,
    /// Requests that go to another upstream: a canary, or a new version by and by. Those chosen
    /// by a header or a cookie first, then shares of the users.
    #[serde(default)]
    pub split: Vec<Spanned<Split>>,
    /// Copies of its requests for a shadow of the service; not of WebSockets, nor of bodies over
    /// 64 KiB.
    #[serde(default)]
    pub mirror: Option<Mirror>,
    /// What is changed on the way.
    #[serde(default)]
    pub rewrite: Rewrite,
    /// The form in which paths are passed on: `normal`, `raw` (byte for byte as they came), or a
    /// setting for each part. A request is always routed by the normal form of its path, with
    /// encoded slashes decoded. It is answered 400 if the upstream could read the path that is
    /// passed on as one that another route takes.
    #[serde(default)]
    pub path: Option<Spanned<PathSetting>>,
    /// WebSocket upgrades: `on`, `off` (answered 403), or their settings.
    #[serde(default)]
    pub websocket: Option<Spanned<WebSocketSetting>>,
    /// How long to wait for the upstream.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Translates gRPC-Web (in its binary form) to gRPC for an upstream that speaks HTTP/2.
    #[serde(default)]
    pub grpc_web: Option<Spanned<Switch>>,
    /// When a request is tried again. `off`: a request that an upstream may have read is never sent
    /// again, not even if the upstream closes a kept connection while it is sent.
    #[serde(default)]
    pub retry: Option<Spanned<RetrySetting>>,
    /// Replaces the top-level `cors` for this route; `off` switches it off.
    #[serde(default)]
    pub cors: Option<Spanned<CorsPolicy>>,
    /// Header fields that are changed on the way, beside those of the top-level `headers`.
    #[serde(default)]
    pub headers: Headers,
    /// Replaces the top-level `compression` for this route; `off` switches it off.
    #[serde(default)]
    pub compression: Option<Spanned<CompressionSetting>>,
    /// Whether its responses are kept and given to others: `on`, `off`, or how.
    #[serde(default)]
    pub cache: Option<Spanned<CacheSetting>>,
    /// Replaces the top-level `maintenance` for this route; `off` exempts it.
    #[serde(default)]
    pub maintenance: Option<Spanned<MaintenanceSetting>>,
    /// Replaces the top-level `rate_limits` for this route, and counts its requests alone; `[]` exempts
    /// it. All of them hold.
    #[serde(default)]
    pub rate_limits: Option<Vec<Spanned<RateLimit>>>,
    /// Bytes of a request's body; more are answered 413.
    #[serde(default)]
    pub max_body_size: Option<ByteSize>,
}

/// What a request must be like; all that is given must hold.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Match {
    /// Matches this path and all below it, at segment boundaries: `/api/notification` takes
    /// `/api/notification/x`, never `/api/notifications`.
    pub path_prefix: Option<Spanned<Path>>,
    /// Matches just this path.
    pub path: Option<Spanned<Path>>,
    /// Host names without port; `*.example.com` takes every name below example.com.
    pub hosts: Vec<Spanned<HostPattern>>,
    /// Request methods; `GET` includes `HEAD` (RFC 9110, section 9.1). A request with another
    /// method, that no route takes, is answered 405.
    pub methods: Vec<Method>,
    /// Header fields and the value each must have, or `{present: true}`.
    #[schemars(extend("propertyNames" = {"format": "header-name"}))]
    pub headers: BTreeMap<HeaderName, ValueMatch>,
    /// Query parameters and the value each must have, or `{present: true}`.
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

/// Whether it must be there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Presence {
    /// Whether it must be there (`true`) or must not (`false`).
    pub present: bool,
}

/// What is changed on the way to the upstream.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rewrite {
    /// Replaces the prefix that was matched: with `path_prefix: /api/v1` and `prefix: /`,
    /// `/api/v1/users` becomes `/users`.
    pub prefix: Option<Spanned<Path>>,
    /// The `Host` that the upstream sees: `preserve` the client's, `upstream` the endpoint's, or a
    /// name of its own.
    pub host: Option<HostRewrite>,
}

/// How long to wait for the upstream.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// To connect; exceeded, the answer is 504.
    pub connect: Option<Duration>,
    /// For the TLS handshake with an upstream that has `tls`, once it is connected; exceeded, the
    /// answer is 504.
    pub tls: Option<Duration>,
    /// From the end of the request until the response begins; exceeded, the answer is 504. It can
    /// be no longer than `read`, and the upstream must speak HTTP/1.1 alone. On a WebSocket it
    /// bounds the handshake.
    pub first_byte: Option<Spanned<Duration>>,
    /// Between two reads of a response, the first included; exceeded, the answer is 504. On a
    /// WebSocket it bounds the handshake alone.
    pub read: Option<Spanned<Duration>>,
    /// Between two writes of a request.
    pub write: Option<Duration>,
    /// For the whole request, its body, retries and the response's body included; exceeded, the
    /// answer is 504, or 408 where it is the client's body that is waited for, or what has gone
    /// down breaks off. Not for WebSockets.
    pub request: Option<Duration>,
}
