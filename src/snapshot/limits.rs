//! The compiled limits on what clients may make the gateway hold. It knows nothing of the current load;
//! `load/` counts it.

use std::time::Duration;

/// What strangers may make the gateway hold, and for how long. What a request is refused for is
/// told in `limits` of the configuration.
#[derive(Debug)]
pub(crate) struct RequestLimits {
    /// The most bytes of header fields.
    pub header_size: u64,
    /// The most header fields.
    pub header_count: usize,
    /// The most bytes of path and query.
    pub uri_size: u64,
    /// For all that comes before HTTP.
    pub handshake_timeout: Duration,
    /// For the head of a connection's first request.
    pub header_timeout: Duration,
    /// Before a request.
    pub idle_timeout: Duration,
    /// Between two parts of a request's body.
    pub body_timeout: Duration,
    /// The least bytes of it in a second.
    pub body_rate: Option<u64>,
    /// Between two parts of a response that the client takes.
    pub send_timeout: Duration,
    /// The most connections, if written.
    pub connections: Option<usize>,
    /// The most connections of one client, if written.
    pub connections_per_client: Option<usize>,
    /// The most requests on one connection.
    pub requests_per_connection: u32,
    /// The most requests under way, if written.
    pub requests: Option<usize>,
    /// The most requests in flight of one client, if written.
    pub requests_per_client: Option<usize>,
    /// The most bytes of bodies that are collected for filters.
    pub collected_bodies: usize,
    /// The most bytes of them of one client.
    pub collected_bodies_per_client: usize,
    /// The most bytes of memory, if written.
    pub memory: Option<u64>,
    /// HTTP/2: concurrent streams.
    pub concurrent_streams: u32,
    /// HTTP/2: resets by the client that are not processed yet.
    pub pending_resets: usize,
    /// HTTP/2: resets for the client's errors.
    pub error_resets: usize,
}

impl RequestLimits {
    /// The most bytes of one body that is collected for filters, of a client that is counted or not.
    pub(crate) fn max_collected_body(&self, is_client_counted: bool) -> usize {
        match is_client_counted {
            true => self.collected_bodies.min(self.collected_bodies_per_client),
            false => self.collected_bodies,
        }
    }
}
