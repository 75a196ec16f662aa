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
    /// Its addresses; several are balanced.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub endpoints: Vec<Spanned<Endpoint>>,
    /// A file with further endpoints, one a line: `host:port`, then `weight=N` and `backup` where
    /// wanted; what follows a `#` is a comment. It is followed as the configuration is, so another
    /// program may write it. The path starts at the folder of the configuration file.
    #[serde(default)]
    pub endpoints_file: Option<Spanned<String>>,
    /// Further endpoints, which DNS tells of.
    #[serde(default)]
    pub discover: Option<Spanned<Discover>>,
    /// TLS to its endpoints: `on`, `off`, or settings.
    #[serde(default)]
    pub tls: Option<Spanned<UpstreamTlsSetting>>,
    /// What it speaks. With `tls`, `[h2, h1]` leaves the choice to it (ALPN) and `[h2]` insists;
    /// without, `[h2c]` is HTTP/2 by prior knowledge. gRPC needs HTTP/2. WebSockets go by HTTP/1.1
    /// all the same.
    #[serde(default)]
    pub protocols: Vec<Spanned<Protocol>>,
    /// HTTP/2 to its endpoints.
    #[serde(default)]
    pub http2: UpstreamHttp2,
    /// Which endpoint takes a request.
    #[serde(default)]
    pub balance: Balance,
    /// Asks each endpoint whether it is well.
    #[serde(default)]
    pub health: Option<HealthCheck>,
    /// Endpoints that fail requests are not used for a while; `off` uses them on.
    #[serde(default)]
    pub ejection: Option<EjectionSetting>,
    /// How long an endpoint that comes back takes until it gets its whole share.
    #[serde(default)]
    pub slow_start: Option<Duration>,
    /// Below so many percent of endpoints that are well, backups are used too, and where there are
    /// none, all endpoints whatever is known of them: the few would break down as well.
    #[serde(default)]
    #[schemars(range(max = 100))]
    pub panic_below: Option<u8>,
    /// What may be under way.
    #[serde(default)]
    pub limits: UpstreamLimits,
    /// Retries for a hundred requests; `connect_failure` does not count.
    #[serde(default)]
    #[schemars(range(max = 100))]
    pub retry_percent: Option<u8>,
    /// How long a connection may lie idle before the gateway closes it.
    #[serde(default)]
    pub idle_timeout: Option<Duration>,
}

/// HTTP/2 to the endpoints of an upstream (RFC 9113).
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamHttp2 {
    /// Bytes of one response that an endpoint may send before the gateway has passed them on
    /// (SETTINGS_INITIAL_WINDOW_SIZE), from `16KiB` to `16MiB`. It bounds what one response can
    /// bring: a window in each round trip. A distant service of 20 ms sends 3.2 MB a second with
    /// the default, 50 MB with `1MiB`. A client that reads slowly makes the gateway hold up to a
    /// window. A change holds for new connections.
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
    /// Its share of the requests relative to its neighbours.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1000))]
    pub weight: Option<u32>,
    /// Whether it is used only when too few of the others are well.
    #[serde(default)]
    pub backup: bool,
}

short_or_long!(Endpoint: Address(EndpointAddress) | Weighted(WeightedEndpoint));
