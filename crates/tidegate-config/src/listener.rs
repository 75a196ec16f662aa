//! The section `listeners`, as written. It opens no socket.

use super::union::short_or_long;
use super::{Cidr, Clients, ListenAddress, ListenerTls, Spanned, Switch};
use schemars::JsonSchema;
use serde::Deserialize;

/// An address to accept connections on.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// IP address and port: `127.0.0.1:3000`, `0.0.0.0:80`, `[::]:80`; or the absolute path of a
    /// Unix domain socket, `unix:/run/tidegate/http.sock`, which the gateway creates at the start
    /// and removes at the end.
    pub address: Spanned<ListenAddress>,
    /// Permissions of the file of a Unix domain socket, in octal: who may connect to it.
    #[serde(default)]
    pub mode: Option<Spanned<String>>,
    /// Protocols that the listener accepts; without `h1`, HTTP/1 is answered 505.
    #[serde(default)]
    pub protocols: Vec<Spanned<Protocol>>,
    /// Maximum number of concurrent connections at this listener; further connections are answered
    /// 503 or, with TLS, closed at once.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub connections: Option<usize>,
    /// TLS.
    #[serde(default)]
    pub tls: Option<Spanned<ListenerTls>>,
    /// Client addresses that are admitted at this listener.
    #[serde(default)]
    pub clients: Clients,
    /// Answers every request with a redirect (308) to the same URL over HTTPS: `on` for port 443,
    /// or `{port: …}`.
    #[serde(default)]
    pub redirect_to_https: Option<Spanned<RedirectToHttps>>,
    /// Expects the PROXY protocol (version 1 or 2) at the start of each connection from these
    /// networks, and takes the client's address from it. Other connections are served directly.
    #[serde(default)]
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// A protocol of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1 and HTTP/1.0.
    H1,
    /// HTTP/2 over TLS.
    H2,
    /// HTTP/2 without TLS, with prior knowledge (RFC 9113, section 3.3).
    H2c,
}

/// `on`, `off`, or a port.
#[derive(Debug, Clone)]
pub enum RedirectToHttps {
    /// `on` is port 443.
    Switch(Switch),
    /// Another port.
    Port(HttpsPort),
}

/// Where the redirect to HTTPS leads.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpsPort {
    /// The port at which browsers reach HTTPS.
    #[schemars(range(min = 1))]
    pub port: u16,
}

short_or_long!(RedirectToHttps: Switch(Switch) | Port(HttpsPort));

/// The PROXY protocol, with which a load balancer reports the client of a connection.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxyProtocol {
    /// Networks (CIDR) of the load balancers. The gateway closes a connection from there without a
    /// header.
    #[schemars(length(min = 1))]
    pub from: Vec<Spanned<Cidr>>,
}
