//! Replaces the shared counters in a build without the feature `valkey`: no value of the type can exist. Knows nothing
//! of Valkey.

use super::{SharedCounterSettings, SharedCounterTotals};
use crate::websocket::{Session, SessionRegistry};
use std::sync::Arc;
use std::time::Duration;

/// Shared counters; no value of this type exists.
#[derive(Debug)]
pub(crate) enum SharedCounterClient {}

/// The admission of a session; never produced.
#[derive(Debug)]
#[expect(dead_code, reason = "nothing can produce it; the proxy matches on all variants")]
pub(crate) enum SharedSessionOutcome {
    /// The session is admitted.
    Granted(SharedSessionPermit),
    /// The session is refused.
    LimitReached,
    /// The counters are unreachable.
    CountersAway(SharedSessionPermit),
}

/// The permit of a session; no value of this type exists.
#[derive(Debug)]
pub(crate) enum SharedSessionPermit {}

impl SharedCounterClient {
    /// Refuses the settings.
    pub(crate) fn new(_: SharedCounterSettings) -> Result<Self, String> {
        Err("this binary was built without shared counters; build it with `--features valkey`"
            .to_owned())
    }

    /// The settings.
    pub(crate) fn settings(&self) -> &SharedCounterSettings {
        match *self {}
    }

    /// Connects.
    pub(crate) fn start(&self) {
        match *self {}
    }

    /// Exchanges revocations.
    pub(crate) fn start_revocations(&self, _: &Arc<SessionRegistry>) {
        match *self {}
    }

    /// Waits for revocations.
    pub(crate) async fn wait_for_revocations(&self) {
        match *self {}
    }

    /// Whether the server is reachable.
    pub(crate) fn is_up(&self) -> bool {
        match *self {}
    }

    /// The totals so far.
    pub(crate) fn totals(&self) -> SharedCounterTotals {
        match *self {}
    }

    /// Counts a request.
    pub(crate) async fn take_token(
        &self,
        _: &str,
        _: &[&[u8]],
        _: Duration,
        _: u32,
    ) -> Option<Duration> {
        match *self {}
    }

    /// Counts a session.
    pub(crate) async fn acquire_session(
        &self,
        _: &str,
        _: &str,
        _: &Arc<Session>,
        _: usize,
        _: bool,
    ) -> SharedSessionOutcome {
        match *self {}
    }
}
