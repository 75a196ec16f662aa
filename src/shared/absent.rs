//! Replaces the shared counters in a build without the feature `valkey`: no value of the type can exist. Knows nothing
//! of Valkey.

use super::{SharedCounterSettings, SharedCounterTotals};
use crate::websocket::Session;
use std::sync::Arc;
use std::time::Duration;

/// Counters that can't be made.
#[derive(Debug)]
pub enum Shared {}

/// What nobody is asked for.
#[derive(Debug)]
pub enum SharedSessionOutcome {
    /// The session may come in.
    Granted(SharedSessionPermit),
    /// It may not.
    LimitReached,
    /// Nobody knows.
    CountersAway(SharedSessionPermit),
}

/// What nobody is granted.
#[derive(Debug)]
pub enum SharedSessionPermit {}

impl Shared {
    /// Refuses the settings.
    pub fn new(_: SharedCounterSettings) -> Result<Self, String> {
        Err("this binary was built without shared counters; build it with `--features valkey`"
            .to_owned())
    }

    /// Where it is counted, and how.
    pub fn settings(&self) -> &SharedCounterSettings {
        match *self {}
    }

    /// Connects.
    pub fn begin(&self) {
        match *self {}
    }

    /// Whether it can be asked.
    pub fn is_up(&self) -> bool {
        match *self {}
    }

    /// How often it was asked so far.
    pub fn tally(&self) -> SharedCounterTotals {
        match *self {}
    }

    /// One request more.
    pub async fn take(&self, _: &str, _: &[&[u8]], _: Duration, _: u32) -> Option<Duration> {
        match *self {}
    }

    /// A session more.
    pub async fn acquire_session(
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
