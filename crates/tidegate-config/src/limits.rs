use super::{ByteSize, Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bounds on what a client may send, and on what strangers may make the gateway hold.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of all header fields of a request together; more is answered 431.
    pub header_size: Option<ByteSize>,
    /// Header fields of a request; more are answered 431.
    #[schemars(range(min = 1, max = 256))]
    pub header_count: Option<usize>,
    /// Request headers with `_` in their names. CGI, WSGI, Rack and PHP read `X_Real_IP` as
    /// `X-Real-IP`. `drop_managed` drops those that read so are a header which the gateway sets,
    /// removes, believes, matches or keys by; `drop` drops all; `reject` answers 400; `allow`
    /// passes all on.
    pub underscore_headers: Option<Underscores>,
    /// Bytes of path and query; more are answered 414.
    pub uri_size: Option<ByteSize>,
    /// Bytes of a request's body; more are answered 413. A route may set its own.
    pub body_size: Option<ByteSize>,
    /// How long the PROXY header and the handshakes of TLS and HTTP/2 may take together.
    pub handshake_timeout: Option<Duration>,
    /// How long the head of a connection's first request may take from its first byte on; longer is
    /// answered 408. A later request's head may take this and `idle_timeout` together, or up to
    /// twice that. It bounds HTTP/1; by HTTP/2, a head that is not whole does not count as a
    /// request, and `idle_timeout` goes on.
    pub header_timeout: Option<Duration>,
    /// How long a connection may lie idle before a request, in whole seconds.
    pub idle_timeout: Option<Duration>,
    /// How long a client may send nothing of a body that it owes; longer is answered 408. It bounds
    /// HTTP/1; by HTTP/2, the route's `timeouts.read` does.
    pub body_timeout: Option<Duration>,
    /// Bytes of a body in a second, the least: a body may take `body_timeout`, and a second more
    /// for each time that so many bytes have come; slower is answered 408. Time in which the
    /// upstream takes nothing does not count, nor what comes once the response has begun; streams
    /// of gRPC are exempt. `0` sets no least.
    pub body_rate: Option<ByteSize>,
    /// How long a client may take nothing of a response, or of what comes in a WebSocket session;
    /// the connection is closed then.
    pub send_timeout: Option<Duration>,
    /// Connections that are held at a time, at all listeners together; what comes beyond is
    /// answered 503 or, with TLS, closed at once.
    #[schemars(range(min = 1))]
    pub connections: Option<usize>,
    /// The same for one client's address (for IPv6, its /64), answered 429. Addresses in
    /// `trusted_proxies` are not counted: they speak for many.
    #[schemars(range(min = 1))]
    pub connections_per_client: Option<usize>,
    /// Requests on one connection, before its client is asked to make a new one.
    #[schemars(range(min = 1))]
    pub requests_per_connection: Option<u32>,
    /// Requests under way at a time, WebSocket sessions not included; what comes beyond is answered
    /// 503.
    #[schemars(range(min = 1))]
    pub requests: Option<usize>,
    /// Requests in flight of one client's address (for IPv6, its /64), WebSocket sessions not
    /// included; further requests are answered 429. For requests from `trusted_proxies`, the client
    /// is the address that the proxy reports.
    #[schemars(range(min = 1))]
    pub requests_per_client: Option<usize>,
    /// Memory of the process. Above it, the client that holds most loses its connections, requests
    /// and WebSocket sessions; while no client holds much, all requests are answered 503.
    pub memory: Option<ByteSize>,
    /// HTTP/2.
    pub http2: Http2Limits,
}

/// What becomes of request headers with `_` in their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Underscores {
    /// Those that equal a header which the gateway uses are dropped.
    DropManaged,
    /// All are dropped.
    Drop,
    /// The request is answered 400.
    Reject,
    /// All are passed on.
    Allow,
}

/// Bounds on what a client may do by HTTP/2 (RFC 9113). `header_size` bounds its header lists.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Http2Limits {
    /// Streams at a time on one connection (SETTINGS_MAX_CONCURRENT_STREAMS).
    #[schemars(range(min = 1, max = 10_000))]
    pub concurrent_streams: Option<u32>,
    /// Streams that the client has reset before the gateway came to look at them; with more, the
    /// connection ends with GOAWAY (CVE-2023-44487).
    #[schemars(range(min = 1, max = 10_000))]
    pub pending_resets: Option<usize>,
    /// Streams that the gateway has had to reset for what the client did; with more, the connection
    /// ends with GOAWAY (CVE-2025-8671).
    #[schemars(range(min = 1, max = 10_000))]
    pub error_resets: Option<usize>,
}
