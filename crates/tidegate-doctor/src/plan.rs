//! What one probe does: address, TLS, request and timeouts.
//! It does not know how a probe does it.

use super::connect::ClientTls;
use std::time::Duration;

/// The address and the request of a probe.
#[derive(Clone)]
pub(crate) struct ProbePlan {
    /// The host to connect to.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The trusted certificates, if TLS is spoken.
    pub trust: Option<ClientTls>,
    /// Accepts every certificate: used to continue after an invalid one.
    pub any_certificate: ClientTls,
    /// The name that the certificate must have, if it is not the host's.
    pub server_name: Option<String>,
    /// Whether requests are sent over HTTP/2. WebSockets always use HTTP/1.1.
    pub speaks_http2: bool,
    /// Whether an error in the gateway's JSON form counts as the gateway's without a `Proxy-Status`.
    pub trusts_json: bool,
    /// Path and query.
    pub path_and_query: String,
    /// The `Host` header.
    pub authority: String,
    /// The `Origin` header.
    pub origin: Option<String>,
    /// Whether the probe opens a WebSocket.
    pub is_websocket: bool,
    /// The subprotocols to offer.
    pub protocols: Vec<String>,
    /// Additional headers.
    pub headers: Vec<(String, String)>,
    /// Timeout of each step.
    pub step_timeout: Duration,
    /// How long the connection stays idle.
    pub idle: Duration,
}
