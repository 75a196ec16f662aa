//! The limits on the time of a handshake with an upstream, and their keys in the configuration. Keeps no clock.

use pingora::Error;
use std::fmt;
use std::io;
use std::time::Duration;

/// The setting that ends a handshake which the upstream does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeLimit {
    /// `timeouts.first_byte`.
    FirstByte,
    /// `timeouts.read`.
    Read,
    /// `websocket.idle_timeout`.
    Idle,
    /// `websocket.max_lifetime`.
    Lifetime,
}

impl HandshakeLimit {
    /// The key of the configuration.
    pub fn key(self) -> &'static str {
        match self {
            Self::FirstByte => "timeouts.first_byte",
            Self::Read => "timeouts.read",
            Self::Idle => "websocket.idle_timeout",
            Self::Lifetime => "websocket.max_lifetime",
        }
    }

    /// Whether it bounds all attempts of a handshake together.
    pub fn bounds_all_attempts(self) -> bool {
        matches!(self, Self::Idle | Self::Lifetime)
    }

    /// Why a session ends that has reached it, for the log.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::FirstByte => "the upstream did not answer the handshake (timeouts.first_byte)",
            Self::Read => "the upstream did not answer the handshake (timeouts.read)",
            Self::Idle => "the upstream did not answer the handshake (websocket.idle_timeout)",
            Self::Lifetime => "the upstream did not answer the handshake (websocket.max_lifetime)",
        }
    }
}

/// The upstream has not answered a handshake within this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandshakeTimeout {
    /// The setting that limits it.
    pub limit: HandshakeLimit,
    /// The time that it allows.
    pub time: Duration,
}

impl HandshakeTimeout {
    /// The timeout that caused this error.
    pub fn from_error(error: &Error) -> Option<&Self> {
        let cause = error.root_cause().downcast_ref::<io::Error>()?;
        cause.get_ref()?.downcast_ref()
    }
}

impl fmt::Display for HandshakeTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, time } = self;
        let (time, key) = (humantime::format_duration(*time), limit.key());
        write!(f, "the upstream did not answer the handshake within {time} ({key})")
    }
}

impl std::error::Error for HandshakeTimeout {}

impl From<HandshakeTimeout> for io::Error {
    fn from(timeout: HandshakeTimeout) -> Self {
        Self::new(io::ErrorKind::TimedOut, timeout)
    }
}
