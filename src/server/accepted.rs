//! A connection that was accepted, with all that is settled about it before HTTP begins.
//! It serves nothing itself.

use super::engine::Engine;
use super::tasks::TaskGuard;
use crate::load::ConnectionPermit;
use crate::snapshot::{CurrentSnapshot, Limits, Listener};
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use std::sync::Arc;
use std::time::Duration;

/// What holds for a connection, from its beginning on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// For all that comes before HTTP.
    pub(super) handshake: Duration,
    /// Until a request comes.
    pub(super) idle: Duration,
    /// From then on until the first one's head is whole.
    pub(super) head: Duration,
    /// Between two parts of a body.
    pub(super) body: Duration,
    /// Between two parts of a response.
    pub(super) send: Duration,
    /// The most requests.
    pub(super) requests: u32,
    /// The most bytes of header fields.
    pub(super) header_size: u32,
    /// HTTP/2: streams at a time.
    pub(super) concurrent_streams: u32,
    /// HTTP/2: resets by the client that nobody has looked at yet.
    pub(super) pending_resets: usize,
    /// HTTP/2: resets for the client's errors.
    pub(super) error_resets: usize,
}

impl Terms {
    pub(super) fn of(limits: &Limits) -> Self {
        Self {
            handshake: limits.handshake_timeout,
            idle: limits.idle_timeout,
            head: limits.header_timeout,
            body: limits.body_timeout,
            send: limits.send_timeout,
            requests: limits.requests_per_connection,
            header_size: u32::try_from(limits.header_size).unwrap_or(u32::MAX),
            concurrent_streams: limits.concurrent_streams,
            pending_resets: limits.pending_resets,
            error_resets: limits.error_resets,
        }
    }
}

/// What may be spoken on a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speaks {
    pub(super) h1: bool,
    /// Without TLS.
    pub(super) h2c: bool,
}

impl Speaks {
    /// What a listener speaks that no configuration knows any more can't be told.
    pub(super) fn at(listener: Option<&Listener>) -> Self {
        listener.map_or(Self { h1: true, h2c: true }, |it| Self { h1: it.h1, h2c: it.h2c })
    }
}

/// A connection that has come through the door.
pub(super) struct Connection {
    pub(super) stream: Stream,
    pub(super) speaks: Speaks,
    pub(super) proxy: Arc<Engine>,
    pub(super) terms: Terms,
    pub(super) shutdown: ShutdownWatch,
    /// Kept as long as the connection lives.
    pub(super) permit: ConnectionPermit,
    /// The configuration in force, for what is refused before there is a request.
    pub(super) current: Arc<CurrentSnapshot>,
    /// The same.
    pub(super) task: TaskGuard,
}
