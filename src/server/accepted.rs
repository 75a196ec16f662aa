//! An accepted connection with everything known about it before HTTP begins: peer, TLS, PROXY header. Serves nothing.

use super::engine::Engine;
use super::tasks::TaskGuard;
use crate::load::ConnectionPermit;
use crate::snapshot::{CurrentSnapshot, Listener, RequestLimits};
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use std::sync::Arc;
use std::time::Duration;

/// The timeouts and limits of a connection, fixed when it is accepted.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionLimits {
    /// For everything before HTTP: PROXY protocol and TLS.
    pub(super) handshake_timeout: Duration,
    /// Until the first byte of a request.
    pub(super) idle_timeout: Duration,
    /// From the first byte of a request until its head is complete.
    pub(super) head_timeout: Duration,
    /// Between two parts of a body.
    pub(super) body_timeout: Duration,
    /// Between two parts of a response.
    pub(super) send_timeout: Duration,
    /// Maximum number of requests.
    pub(super) max_requests: u32,
    /// Maximum size of all headers, in bytes.
    pub(super) max_header_size: u32,
    /// HTTP/2: maximum number of concurrent streams.
    pub(super) concurrent_streams: u32,
    /// HTTP/2: maximum number of streams that the client has reset and the gateway has not yet seen.
    pub(super) pending_resets: usize,
    /// HTTP/2: maximum number of streams that the gateway resets for errors of the client.
    pub(super) error_resets: usize,
}

impl ConnectionLimits {
    pub(super) fn from_limits(limits: &RequestLimits) -> Self {
        Self {
            handshake_timeout: limits.handshake_timeout,
            idle_timeout: limits.idle_timeout,
            head_timeout: limits.header_timeout,
            body_timeout: limits.body_timeout,
            send_timeout: limits.send_timeout,
            max_requests: limits.requests_per_connection,
            max_header_size: u32::try_from(limits.header_size).unwrap_or(u32::MAX),
            concurrent_streams: limits.concurrent_streams,
            pending_resets: limits.pending_resets,
            error_resets: limits.error_resets,
        }
    }
}

/// The HTTP versions that a listener accepts without ALPN.
#[derive(Debug, Clone, Copy)]
pub(super) struct AllowedProtocols {
    pub(super) h1: bool,
    /// Without TLS.
    pub(super) h2c: bool,
}

impl AllowedProtocols {
    /// Both, if the listener is no longer in the configuration.
    pub(super) fn for_listener(listener: Option<&Listener>) -> Self {
        listener.map_or(Self { h1: true, h2c: true }, |it| Self { h1: it.h1, h2c: it.h2c })
    }
}

/// A connection that the limits admitted.
pub(super) struct Connection {
    pub(super) stream: Stream,
    pub(super) protocols: AllowedProtocols,
    pub(super) proxy: Arc<Engine>,
    pub(super) limits: ConnectionLimits,
    pub(super) shutdown: ShutdownWatch,
    /// Kept as long as the connection lives.
    pub(super) permit: ConnectionPermit,
    /// The configuration in force, for refusals before a request.
    pub(super) current: Arc<CurrentSnapshot>,
    /// Keeps the connection's task in the list as long as the connection lives.
    pub(super) task: TaskGuard,
}
