//! The settings of a pool of endpoints, as written: balancing, health checks, ejection, limits, retries. It
//! knows nothing of connections.

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
    /// The endpoint with the fewest requests and sessions for its weight.
    LeastRequests,
    /// The better of two random endpoints, by latency (a moving average that follows peaks at once)
    /// and requests in flight.
    PeakEwma,
    /// By consistent hashing (Ketama): one user, client, header or cookie keeps its endpoint; round
    /// robin if a request has none.
    Hash(HashKey),
    /// The endpoint that the client had before, by a cookie of this name, which the gateway sets.
    StickyCookie(String),
}

/// The value of a request that is hashed.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum HashKey {
    /// The user id (`identity.user_id`).
    UserId,
    /// The client's address.
    ClientAddress,
    /// The value of a header.
    Header(HeaderName),
    /// The value of a cookie.
    Cookie(String),
}

/// Actively health-checks each endpoint. An endpoint counts as healthy until its first check
/// completes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// The kind of check. Over TLS, `http` and `grpc` keep their connection for the next check, up
    /// to 60 seconds.
    pub check: Check,
    /// Time between two checks, at least `10ms`.
    #[serde(default)]
    pub interval: Option<Spanned<Duration>>,
    /// Maximum time for an answer, at least `10ms`.
    #[serde(default)]
    pub timeout: Option<Spanned<Duration>>,
    /// Number of consecutive successful checks after which an endpoint is healthy.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub healthy_after: Option<u32>,
    /// Number of consecutive failed checks after which an endpoint is unhealthy.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub unhealthy_after: Option<u32>,
    /// The `Host` of the request.
    #[serde(default)]
    pub host: Option<String>,
}

/// What a health check tests.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Check {
    /// The endpoint accepts a connection, and a TLS handshake if the upstream has `tls`.
    Tcp,
    /// The endpoint answers a GET of this path, with or without a query, with 200 to 399.
    Http(ProbeTarget),
    /// The endpoint accepts a WebSocket at this path, with or without a query. The gateway closes
    /// it with 1000.
    Websocket(ProbeTarget),
    /// The endpoint reports this gRPC service, such as `shop.Orders`, as `SERVING`
    /// (`grpc.health.v1.Health/Check`, over HTTP/2); `""` checks the whole server.
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

/// Ejects an endpoint for a while if requests to it fail (outlier detection).
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ejection {
    /// Number of consecutive failed connections that eject an endpoint.
    #[schemars(range(min = 1))]
    pub connect_failures: Option<u32>,
    /// Number of consecutive responses of 500 and above, or broken off, that eject an endpoint.
    #[schemars(range(min = 1))]
    pub server_errors: Option<u32>,
    /// Duration of the first ejection; doubles each further time, up to five minutes.
    pub duration: Option<Duration>,
    /// Maximum percentage of endpoints that are ejected at the same time.
    #[schemars(range(max = 100))]
    pub max_percent: Option<u8>,
}

short_or_long!(EjectionSetting: Switch(Switch) | Settings(Ejection));

/// Limits on concurrent use of an upstream. Beyond them a request is answered 503 with
/// `Retry-After` at once: nothing queues.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamLimits {
    /// Maximum number of requests and WebSocket sessions together.
    pub connections: Option<usize>,
    /// Maximum number of them whose connection is not established yet.
    pub pending: Option<usize>,
    /// Maximum number of requests, without WebSocket sessions.
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

/// Retries of a request, at another endpoint if there is one. The gateway retries only while the
/// client has received nothing of a response and, except for `connect_failure`, only idempotent
/// methods (RFC 9110, section 9.2.2) whose body is not over 64 KiB.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Maximum number of attempts, including the first.
    #[schemars(range(min = 1, max = 10))]
    pub attempts: Option<u32>,
    /// Failures after which the gateway retries.
    pub on: Option<Vec<RetryOn>>,
    /// Maximum wait before the second attempt, at random; doubles for each further attempt. A
    /// refused connection is retried at once.
    pub backoff: Option<Duration>,
}

/// Failures after which the gateway retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RetryOn {
    /// No connection could be established.
    ConnectFailure,
    /// The connection broke before a response.
    Reset,
    /// No response arrived in time (`timeouts.read`).
    Timeout,
    /// A response with status 502.
    #[serde(rename = "502")]
    BadGateway,
    /// A response with status 503.
    #[serde(rename = "503")]
    ServiceUnavailable,
    /// A response with status 504.
    #[serde(rename = "504")]
    GatewayTimeout,
    /// A response with status 429.
    #[serde(rename = "429")]
    TooManyRequests,
}

short_or_long!(RetrySetting: Switch(Switch) | Settings(Retry));
