use super::union::short_or_long;
use super::{EndpointAddress, Spanned};
use schemars::JsonSchema;
use serde::Deserialize;

/// A service to forward to.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Its addresses; several are balanced round robin.
    #[schemars(length(min = 1))]
    pub endpoints: Vec<Spanned<Endpoint>>,
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
