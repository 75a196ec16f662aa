use super::{EndpointAddress, ListenAddress};
use schemars::JsonSchema;
use serde::Deserialize;

/// Endpoints that DNS tells of. It is asked as often as the TTL of its answers says, no sooner than
/// after a second and no later than after an hour; while it does not answer, what it has said
/// last holds.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Discover {
    /// `host:port`: each address of the name (A and AAAA) is an endpoint, with this port.
    Host(EndpointAddress),
    /// The name of a service, `_http._tcp.app.internal`: each of its targets is an endpoint, with
    /// its port and weight; those that are not of the first priority are backups (SRV, RFC 2782).
    Srv(String),
}

/// Which server of DNS is asked for the endpoints that are discovered.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resolver {
    /// IP address and port: `127.0.0.1:8600`.
    pub address: ListenAddress,
}
