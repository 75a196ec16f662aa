use super::union::short_or_long;
use super::{EndpointAddress, Protocol, Spanned, UpstreamTlsSetting};
use schemars::JsonSchema;
use serde::Deserialize;

/// A service to forward to.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Its addresses; several are balanced round robin.
    #[schemars(length(min = 1))]
    pub endpoints: Vec<Spanned<Endpoint>>,
    /// TLS to its endpoints: `on`, `off` (default), or settings.
    #[serde(default)]
    pub tls: Option<Spanned<UpstreamTlsSetting>>,
    /// What it speaks. Default: `[h1]`. With `tls`, `[h2, h1]` leaves the choice to it (ALPN) and
    /// `[h2]` insists; without, `[h2c]` is HTTP/2 by prior knowledge. gRPC needs HTTP/2.
    /// WebSockets go by HTTP/1.1 all the same.
    #[serde(default)]
    pub protocols: Vec<Spanned<Protocol>>,
}

/// One address of a service.
#[derive(Debug, Clone)]
pub enum Endpoint {
    /// `host:port`; a name is resolved by DNS, and again every 30 seconds.
    Address(EndpointAddress),
    /// An address with its weight.
    Weighted(WeightedEndpoint),
}

/// An address with its weight.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WeightedEndpoint {
    /// `host:port`; a name is resolved by DNS, and again every 30 seconds.
    pub address: EndpointAddress,
    /// Its share of the requests relative to its neighbours. Default: `1`.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1000))]
    pub weight: Option<u32>,
}

short_or_long!(Endpoint: Address(EndpointAddress) | Weighted(WeightedEndpoint));
