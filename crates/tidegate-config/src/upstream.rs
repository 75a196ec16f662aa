//! The section `upstreams`, as written. It connects to nothing.

use super::union::short_or_long;
use super::{
    Balance, ByteSize, Discover, Duration, EjectionSetting, EndpointAddress, HealthCheck, Protocol,
    Spanned, UpstreamLimits, UpstreamTlsSetting,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// A service to forward to.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Its endpoints; requests are balanced over several.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub endpoints: Vec<Spanned<Endpoint>>,
    /// File with additional endpoints, one per line: `host:port`, then `weight=N` and `backup` if
    /// needed; `#` begins a comment. The gateway watches the file like the configuration, so
    /// another program may write it. The path starts at the folder of the configuration file.
    #[serde(default)]
    pub endpoints_file: Option<Spanned<String>>,
    /// Additional endpoints, from DNS.
    #[serde(default)]
    pub discover: Option<Spanned<Discover>>,
    /// TLS to its endpoints: `on`, `off`, or settings.
    #[serde(default)]
    pub tls: Option<Spanned<UpstreamTlsSetting>>,
    /// Protocols of its endpoints. With `tls`, `[h2, h1]` lets the endpoint choose (ALPN) and
    /// `[h2]` requires HTTP/2; without, `[h2c]` is HTTP/2 with prior knowledge. gRPC needs HTTP/2.
    /// WebSockets use HTTP/1.1 in any case.
    #[serde(default)]
    pub protocols: Vec<Spanned<Protocol>>,
    /// Settings of HTTP/2 to its endpoints.
    #[serde(default)]
    pub http2: UpstreamHttp2,
    /// Which endpoint takes a request.
    #[serde(default)]
    pub balance: Balance,
    /// Actively health-checks each endpoint.
    #[serde(default)]
    pub health: Option<HealthCheck>,
    /// Ejects endpoints for a while if requests to them fail; `off` continues to use them.
    #[serde(default)]
    pub ejection: Option<EjectionSetting>,
    /// Time in which an endpoint that comes back reaches its whole share.
    #[serde(default)]
    pub slow_start: Option<Duration>,
    /// If fewer than this percentage of endpoints are healthy, backups are used too; without
    /// backups, all endpoints are used regardless of their health, because the few healthy ones
    /// would fail as well.
    #[serde(default)]
    #[schemars(range(max = 100))]
    pub panic_below: Option<u8>,
    /// Limits on concurrent use.
    #[serde(default)]
    pub limits: UpstreamLimits,
    /// Number of retries per hundred requests; `connect_failure` does not count.
    #[serde(default)]
    #[schemars(range(max = 100))]
    pub retry_percent: Option<u8>,
    /// Maximum time that a connection may be idle before the gateway closes it.
    #[serde(default)]
    pub idle_timeout: Option<Duration>,
}

/// HTTP/2 to the endpoints of an upstream (RFC 9113).
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamHttp2 {
    /// Bytes of one response that an endpoint may send before the gateway has passed them on
    /// (SETTINGS_INITIAL_WINDOW_SIZE), from `16KiB` to `16MiB`. It limits the speed of one
    /// response: one window per round trip. A distant service of 20 ms sends 3.2 MB per second with
    /// `64KiB`, 50 MB with `1MiB`. A client that reads slowly makes the gateway hold up to one
    /// window. A change applies to new connections.
    pub window: Option<Spanned<ByteSize>>,
}

/// One address of a service.
#[derive(Debug, Clone)]
pub enum Endpoint {
    /// `host:port`, or `unix:/run/app.sock`; a name is resolved by DNS, and again every 30
    /// seconds.
    Address(EndpointAddress),
    /// An address with its weight.
    Weighted(WeightedEndpoint),
}

/// An address with its weight.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WeightedEndpoint {
    /// `host:port`, or `unix:/run/app.sock`; a name is resolved by DNS, and again every 30
    /// seconds.
    pub address: EndpointAddress,
    /// Its share of the requests relative to the other endpoints.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1000))]
    pub weight: Option<u32>,
    /// Whether it is used only when too few of the others are healthy.
    #[serde(default)]
    pub backup: bool,
}

short_or_long!(Endpoint: Address(EndpointAddress) | Weighted(WeightedEndpoint));
