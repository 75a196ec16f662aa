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
pub(crate) use absent::{Shared, SharedSessionOutcome, SharedSessionPermit};
#[cfg(feature = "valkey")]
pub(crate) use counters::{Shared, SharedSessionOutcome, SharedSessionPermit};

use std::time::Duration;

/// Where it is counted, and how.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedCounterSettings {
    /// `redis://host:port/database`, or `rediss` for TLS; without a password.
    pub url: String,
    /// Who the gateway says it is.
    pub username: Option<String>,
    /// What it shows for it.
    pub password: Option<String>,
    /// The authorities that may vouch for the server, in PEM; those of the machine where it is `None`.
    pub ca: Option<Vec<u8>>,
    /// What the names of its keys begin with.
    pub prefix: String,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How long a session counts without renewal; after that its gateway is assumed to be gone.
    pub lease: Duration,
}

/// How often the counters were asked.
#[derive(Debug, Clone, Copy)]
pub struct SharedCounterTotals {
    /// With an answer.
    pub answered: u64,
    /// Without one.
    pub failed: u64,
    /// Not at all, for they were away.
    pub alone: u64,
}
