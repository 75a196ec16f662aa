//! What the doctor asks of the gateway's configuration. The gateway answers, since it alone knows how it routes.

use crate::connect::Trust;
use crate::target::Target;
use std::time::Duration;
use tidegate_http::secret::SecretNames;

/// A configuration, as far as the doctor needs it. Lines are `file:line:column`.
pub trait Configuration {
    /// Whether the gateway's own errors have a `Proxy-Status` (RFC 9209).
    fn sends_proxy_status(&self) -> bool;

    /// Names of query keys whose values the file wants hidden.
    fn secret_names(&self) -> SecretNames;

    /// The line of the listener with this port, and `true`; where no listener has it, the line of the first, and `false`.
    fn listener(&self, port: u16) -> Option<(bool, String)>;

    /// The route that takes the URL with these headers, and where it leads.
    fn find(&self, target: &Target, headers: &[(String, String)]) -> Option<Destination>;

    /// The line of the route that comes nearest to a URL that no route takes, or of the last route.
    fn nearest(&self, target: &Target) -> Option<String>;

    /// The line where the origins for all routes are allowed.
    fn default_cors(&self) -> Option<String>;
}

/// Where a URL leads.
#[derive(Debug, Clone)]
pub struct Destination {
    /// The route's name.
    pub route: String,
    /// The upstream's name.
    pub upstream: String,
    /// What the upstream is asked for: path and query.
    pub path_and_query: String,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Whether WebSockets are let through.
    pub takes_websocket: bool,
    /// Who is trusted for them, where they are spoken to by TLS.
    pub trust: Option<Trust>,
    /// The name that their certificates must bear, unless it is the endpoint's own.
    pub server_name: Option<String>,
    /// Whether they are spoken to over HTTP/2 and nothing else.
    pub speaks_http2: bool,
    /// How long the gateway waits between two pieces of a response.
    pub read_timeout: Duration,
    /// `websocket.idle_timeout`, and its line.
    pub idle_timeout: Option<(Duration, String)>,
    /// The lines of the route itself, `websocket`, the CORS policy that holds for it,
    /// `timeouts.read` and `rewrite.prefix`, the route's own where one is not written.
    pub lines: Lines,
}

/// Lines of a route, as `file:line:column`.
#[derive(Debug, Clone)]
pub struct Lines {
    /// Its name.
    pub route: String,
    /// `websocket`.
    pub websocket: String,
    /// `cors`: where an origin is to be added.
    pub cors: String,
    /// `websocket.origins`, or else `cors`: where the origin of a page with WebSockets is to be added.
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
    /// The `Host` field that it sees.
    pub authority: String,
    /// Its line.
    pub line: String,
}
