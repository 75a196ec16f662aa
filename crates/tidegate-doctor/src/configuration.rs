//! The questions that the doctor asks about a gateway's configuration; the gateway implements them. It does not know
//! how the gateway reads its file or routes.

use crate::connect::ClientTls;
use crate::target::Target;
use std::time::Duration;
use tidegate_http::secret::SecretNames;

/// A gateway's configuration, as far as the doctor needs it. Lines are `file:line:column`.
pub trait Configuration {
    /// Whether the gateway's errors have a `Proxy-Status` header (RFC 9209).
    fn sends_proxy_status(&self) -> bool;

    /// The query keys that the configuration redacts.
    fn secret_names(&self) -> SecretNames;

    /// The line of the listener with this port, and `true`; if no listener has it, the line of the first, and `false`.
    fn listener_line(&self, port: u16) -> Option<(bool, String)>;

    /// The route of the URL with these headers, and its upstream.
    fn route_of(&self, target: &Target, headers: &[(String, String)]) -> Option<Destination>;

    /// The line of the route that is closest to a URL without a route, or of the last route.
    fn nearest_route(&self, target: &Target) -> Option<String>;

    /// The line of the global CORS policy.
    fn global_cors(&self) -> Option<String>;
}

/// The route and upstream of a URL.
#[derive(Debug, Clone)]
pub struct Destination {
    /// The route's name.
    pub route: String,
    /// The upstream's name.
    pub upstream: String,
    /// Path and query of the request to the upstream.
    pub path_and_query: String,
    /// The upstream's endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Whether the route allows WebSockets.
    pub allows_websocket: bool,
    /// The certificates that the upstream's TLS trusts, if it uses TLS.
    pub trust: Option<ClientTls>,
    /// The name that the endpoints' certificates must have, if it is not the endpoint's own.
    pub server_name: Option<String>,
    /// Whether the upstream is spoken to only over HTTP/2.
    pub speaks_http2: bool,
    /// Maximum time between two parts of a response.
    pub read_timeout: Duration,
    /// `websocket.idle_timeout`, and its line.
    pub idle_timeout: Option<(Duration, String)>,
    /// The lines of the route's keys; the route's own line stands in for a key that is not written.
    pub lines: RouteLines,
}

/// Lines of a route, as `file:line:column`.
#[derive(Debug, Clone)]
pub struct RouteLines {
    /// The route.
    pub route: String,
    /// `websocket`.
    pub websocket: String,
    /// `cors`, where an origin can be added.
    pub cors: String,
    /// `websocket.origins`, or else `cors`, where the origin of a page with WebSockets can be added.
    pub origins: String,
    /// `timeouts.read`.
    pub read: Option<String>,
    /// `rewrite.prefix`.
    pub prefix: String,
}

/// One address of an upstream.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// `host:port`, as written.
    pub name: String,
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The `Host` header that it gets.
    pub authority: String,
    /// Its line.
    pub line: String,
}
