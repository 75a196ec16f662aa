//! The section `limits`, as written. It enforces nothing.

use super::{ByteSize, Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_http::head::MAX_HEADER_COUNT;

/// Limits on what a client may send, and on what it may make the gateway hold.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Maximum size of all headers of a request together; a larger request is answered 431.
    pub header_size: Option<ByteSize>,
    /// Maximum number of headers of a request; more are answered 431.
    #[schemars(range(min = 1, max = MAX_HEADER_COUNT))]
    pub header_count: Option<usize>,
    /// Handling of request headers with `_` in their names. CGI, WSGI, Rack and PHP read
    /// `X_Real_IP` as `X-Real-IP`. `drop_managed` drops those that they read as a header which the
    /// gateway sets, removes, trusts, matches or keys by; `drop` drops all; `reject` answers 400;
    /// `allow` passes all on.
    pub underscore_headers: Option<Underscores>,
    /// Maximum size of path and query; a longer target is answered 414.
    pub uri_size: Option<ByteSize>,
    /// Maximum size of a request body; a larger one is answered 413. A route may set its own.
    pub body_size: Option<ByteSize>,
    /// Maximum time for the PROXY header and the handshakes of TLS and HTTP/2 together.
    pub handshake_timeout: Option<Duration>,
    /// Maximum time for the head of a connection's first request, from its first byte on; the
    /// request then fails with 408. The head of a later request may take this and `idle_timeout`
    /// together, or up to twice that. Applies to HTTP/1; over HTTP/2, an incomplete head does not
    /// count as a request, and `idle_timeout` continues.
    pub header_timeout: Option<Duration>,
    /// Maximum time that a connection may be idle before a request, in whole seconds.
    pub idle_timeout: Option<Duration>,
    /// Maximum time between two chunks of a request body; the request then fails with 408. Applies
    /// to HTTP/1; over HTTP/2, the route's `timeouts.read` does.
    pub body_timeout: Option<Duration>,
    /// Minimum rate of a request body, in bytes per second: a body may take `body_timeout`, and one
    /// second more for each `body_rate` bytes that have arrived; a slower request fails with 408.
    /// Time in which the upstream takes nothing does not count, nor does time after the response
    /// has begun; gRPC streams are exempt. `0` sets no minimum.
    pub body_rate: Option<ByteSize>,
    /// Maximum time in which a client takes nothing of a response or of a WebSocket session; the
    /// gateway then closes the connection.
    pub send_timeout: Option<Duration>,
    /// Maximum number of concurrent connections at all listeners together; further connections are
    /// answered 503 or, with TLS, closed at once.
    #[schemars(range(min = 1))]
    pub connections: Option<usize>,
    /// Maximum number of concurrent connections of one client's address (for IPv6, its /64); further
    /// connections are answered 429.
    /// Addresses in `trusted_proxies` are not counted, because they connect for many clients.
    #[schemars(range(min = 1))]
    pub connections_per_client: Option<usize>,
    /// Maximum number of requests on one connection; the gateway then asks the client to open a new
    /// one.
    #[schemars(range(min = 1))]
    pub requests_per_connection: Option<u32>,
    /// Maximum number of requests in flight, without WebSocket sessions; further requests are
    /// answered 503.
    #[schemars(range(min = 1))]
    pub requests: Option<usize>,
    /// Maximum number of requests in flight of one client's address (for IPv6, its /64), without
    /// WebSocket sessions; further requests are answered 429. For requests from `trusted_proxies`,
    /// the client is the address that the proxy reports.
    #[schemars(range(min = 1))]
    pub requests_per_client: Option<usize>,
    /// Maximum size of all bodies together that the gateway holds because filters read them whole; a
    /// request whose body exceeds it is answered 503, and a response is broken off.
    pub collected_bodies: Option<ByteSize>,
    /// Maximum size of those bodies of one client's address (for IPv6, its /64); a request whose
    /// body exceeds it is answered 429, or 413 if the body alone is larger.
    pub collected_bodies_per_client: Option<ByteSize>,
    /// Maximum memory of the process. Above it, the client that holds most loses its connections,
    /// requests and WebSocket sessions; if no client holds much, all requests are answered 503.
    pub memory: Option<ByteSize>,
    /// Limits of HTTP/2.
    pub http2: Http2Limits,
}

/// Handling of request headers with `_` in their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Underscores {
    /// Drops those that equal a header which the gateway uses.
    DropManaged,
    /// Drops all.
    Drop,
    /// Answers 400.
    Reject,
    /// Passes all on.
    Allow,
}

/// Limits on what a client may do over HTTP/2 (RFC 9113). `header_size` limits its header lists.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Http2Limits {
    /// Maximum number of concurrent streams on one connection (SETTINGS_MAX_CONCURRENT_STREAMS).
    #[schemars(range(min = 1, max = 10_000))]
    pub concurrent_streams: Option<u32>,
    /// Maximum number of streams that the client has reset and the gateway has not yet processed;
    /// with more, the connection ends with GOAWAY (CVE-2023-44487).
    #[schemars(range(min = 1, max = 10_000))]
    pub pending_resets: Option<usize>,
    /// Maximum number of streams that the gateway had to reset because of the client; with more,
    /// the connection ends with GOAWAY (CVE-2025-8671).
    #[schemars(range(min = 1, max = 10_000))]
    pub error_resets: Option<usize>,
}
