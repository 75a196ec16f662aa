//! What one walk is to do.
//! It knows nothing of how that is done.

use super::connect::Trust;
use std::time::Duration;

/// Where to and what for.
#[derive(Clone)]
pub(crate) struct Plan {
    /// The host to connect to.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether TLS is spoken, and who is trusted then.
    pub trust: Option<Trust>,
    /// Accepts every certificate: to go on after one that is not good.
    pub any_certificate: Trust,
    /// The name that the certificate must bear, unless it is the host's.
    pub server_name: Option<String>,
    /// Whether requests are sent over HTTP/2; WebSockets are not.
    pub speaks_http2: bool,
    /// Whether an error in the gateway's own JSON is believed to be the gateway's.
    pub trusts_json: bool,
    /// Path and query.
    pub path_and_query: String,
    /// The `Host` field.
    pub authority: String,
    /// The `Origin` field.
    pub origin: Option<String>,
    /// Whether a WebSocket is wanted.
    pub is_websocket: bool,
    /// The subprotocols that are offered.
    pub protocols: Vec<String>,
    /// Further fields.
    pub fields: Vec<(String, String)>,
    /// How long each step may take.
    pub patience: Duration,
    /// How long to stay without traffic.
    pub idle: Duration,
}
