use super::union::short_or_long;
use super::{Duration, HeaderName, ProbeTarget, Spanned, Switch};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which endpoint takes a request. WebSocket sessions count as load as long as they live.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Balance {
    /// In turn, by their weights.
    #[default]
    RoundRobin,
    /// The one with the fewest requests and sessions for its weight.
    LeastRequests,
    /// The better of two taken at random, by latency (a moving average that follows peaks at
    /// once) and what is under way.
    PeakEwma,
    /// The same for the same user, client, header field or cookie, by consistent hashing
    /// (Ketama); by round robin where a request has none.
    Hash(HashKey),
    /// The endpoint that the client had before, by a cookie of this name, which the gateway sets.
    StickyCookie(String),
}

/// What of a request is hashed.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum HashKey {
    /// The user id (`identity.user_id`).
    UserId,
    /// The client's address.
    ClientAddress,
    /// The value of a header field.
    Header(HeaderName),
    /// The value of a cookie.
    Cookie(String),
}

/// Asks each endpoint, all the time, whether it is well. Until it has been asked it counts as well.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// What is asked. Over TLS, `http` and `grpc` keep their connection for the next check, up to
    /// 60 seconds.
    pub check: Check,
    /// How often, at least `10ms`.
    #[serde(default)]
    pub interval: Option<Spanned<Duration>>,
    /// How long an answer may take, at least `10ms`.
    #[serde(default)]
    pub timeout: Option<Spanned<Duration>>,
    /// So many good answers in a row make it well.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub healthy_after: Option<u32>,
    /// So many bad answers in a row make it unwell.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub unhealthy_after: Option<u32>,
    /// The `Host` of the request.
    #[serde(default)]
    pub host: Option<String>,
}

/// What an endpoint is asked.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Check {
    /// To accept a connection, and the TLS handshake where there is to be one.
    Tcp,
    /// To answer a GET of this path, with or without a query, with 200 to 399.
    Http(ProbeTarget),
    /// To accept a WebSocket at this path, with or without a query. The gateway closes it with 1000.
    Websocket(ProbeTarget),
    /// To answer that this gRPC service is `SERVING` (`grpc.health.v1.Health/Check`, over HTTP/2),
    /// such as `shop.Orders`; `""` asks for the whole server.
    Grpc(#[schemars(length(max = 256))] String),
}

/// `off`, or when endpoints are ejected.
#[derive(Debug, Clone)]
pub enum EjectionSetting {
    /// `off`: none is, whatever it does.
    Switch(Switch),
    /// The settings.
    Settings(Ejection),
}

/// An endpoint that fails requests is not used for a while (outlier detection).
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ejection {
    /// So many connections in a row that could not be established.
    #[schemars(range(min = 1))]
    pub connect_failures: Option<u32>,
    /// So many responses in a row of 500 and above, or broken off.
    #[schemars(range(min = 1))]
    pub server_errors: Option<u32>,
    /// For how long, the first time; each further time doubles it, up to five minutes.
    pub duration: Option<Duration>,
    /// The most endpoints that may be ejected at a time, in percent.
    #[schemars(range(max = 100))]
    pub max_percent: Option<u8>,
}

short_or_long!(EjectionSetting: Switch(Switch) | Settings(Ejection));

/// What may be under way to an upstream. What is over it is answered 503 with `Retry-After` at
/// once: nothing queues.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamLimits {
    /// Requests and WebSocket sessions together.
    pub connections: Option<usize>,
    /// Those of them whose connection is not established yet.
    pub pending: Option<usize>,
    /// Requests alone.
    pub requests: Option<usize>,
}

/// `off`, or when a request is tried again.
#[derive(Debug, Clone)]
pub enum RetrySetting {
    /// `off`: each request is sent once.
    Switch(Switch),
    /// The settings.
    Settings(Retry),
}

/// When a request is tried again, at another endpoint where there is one. Only while nothing of a
/// response has gone down, and but for `connect_failure` only idempotent methods (RFC 9110,
/// section 9.2.2) whose body is not over 64 KiB.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// The most attempts, the first included.
    #[schemars(range(min = 1, max = 10))]
    pub attempts: Option<u32>,
    /// What is tried again.
    pub on: Option<Vec<RetryOn>>,
    /// How long before the second attempt, at random up to this; each further one waits up to twice as long.
    /// A connection that was refused is not waited for.
    pub backoff: Option<Duration>,
}

/// What is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RetryOn {
    /// No connection could be established.
    ConnectFailure,
    /// The connection broke before there was a response.
    Reset,
    /// No response came in time (`timeouts.read`).
    Timeout,
    /// The response 502.
    #[serde(rename = "502")]
    BadGateway,
    /// The response 503.
    #[serde(rename = "503")]
    ServiceUnavailable,
    /// The response 504.
    #[serde(rename = "504")]
    GatewayTimeout,
    /// The response 429.
    #[serde(rename = "429")]
    TooManyRequests,
}

short_or_long!(RetrySetting: Switch(Switch) | Settings(Retry));
