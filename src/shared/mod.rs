//! Counters that several gateways share in Valkey or Redis: rate limits, and the sessions of a user. Knows nothing of
//! routes.
//!
//! No request waits longer than [`SharedCounterSettings::timeout`] for the server, and none fails because of it: while the server is
//! unreachable each gateway counts alone.

#[cfg(not(feature = "valkey"))]
mod absent;
#[cfg(feature = "valkey")]
mod counters;

#[cfg(not(feature = "valkey"))]
pub(crate) use absent::{SharedCounterClient, SharedSessionOutcome, SharedSessionPermit};
#[cfg(feature = "valkey")]
pub(crate) use counters::{SharedCounterClient, SharedSessionOutcome, SharedSessionPermit};

use std::time::Duration;

/// The server of the shared counters, and how it is used.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SharedCounterSettings {
    /// `redis://host:port/database`, or `rediss` for TLS; without a password.
    pub url: String,
    /// The user name.
    pub username: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// The trusted authorities for the server, in PEM; `None` for those of the system.
    pub ca: Option<Vec<u8>>,
    /// The prefix of all keys.
    pub prefix: String,
    /// Maximum time of an answer.
    pub timeout: Duration,
    /// How long a session counts without renewal; after that its gateway is assumed to be gone.
    pub lease: Duration,
}

/// How often the counters were used, by result.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SharedCounterTotals {
    /// Answered.
    pub answered: u64,
    /// Failed.
    pub failed: u64,
    /// Skipped, because the server was unreachable.
    pub unanswered: u64,
}
