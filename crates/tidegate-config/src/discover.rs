//! The section `discover` of an upstream, as written. It asks no DNS server.

use super::{EndpointAddress, ListenAddress};
use schemars::JsonSchema;
use serde::Deserialize;

/// Endpoints from DNS. The gateway asks again when the TTL of the answer is over, after at least a
/// second and at most an hour. While DNS does not answer, its last answer stays in use.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Discover {
    /// `host:port`: each address of the name (A and AAAA) is an endpoint, with this port.
    Host(EndpointAddress),
    /// The name of a service, `_http._tcp.app.internal`: each of its targets is an endpoint, with
    /// its port and weight; targets after the first priority are backups (SRV, RFC 2782).
    Srv(String),
}

/// DNS server for discovered endpoints.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resolver {
    /// IP address and port: `127.0.0.1:8600`.
    pub address: ListenAddress,
}
