use super::InFlight;
use crate::generation::Limits;
use crate::telemetry::Alarm;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the process has as much to do as it can.
#[derive(Debug)]
pub struct Overload {
    /// The most connections that it has files for.
    connections: usize,
    is_short_of_memory: AtomicBool,
    /// Requests refused because of `limits.requests`.
    pub requests: Alarm,
    /// Requests refused because of `limits.memory`.
    pub memory: Alarm,
    /// Requests refused for there was no file for a connection to their upstream.
    pub files: Alarm,
}

impl Overload {
    /// For a process that has files for so many connections.
    pub fn new(connections: usize) -> Self {
        Self {
            connections,
            is_short_of_memory: AtomicBool::new(false),
            requests: Alarm::default(),
            memory: Alarm::default(),
            files: Alarm::default(),
        }
    }

    /// Says whether memory is short.
    pub fn set_short_of_memory(&self, is_short: bool) {
        self.is_short_of_memory.store(is_short, Ordering::Relaxed);
    }

    /// There was no file for a connection to an upstream.
    pub fn out_of_files(&self) {
        if self.files.ring() {
            log::warn!(
                "the process may open no more files, and thus no more connections to upstreams: \
                 requests that need one are answered 503"
            );
        }
    }

    /// Whether a request is one too many. It has been counted in already.
    pub fn refuses(&self, in_flight: &InFlight, limits: &Limits) -> bool {
        if self.is_short_of_memory.load(Ordering::Relaxed) {
            // Who watches the memory has told it.
            self.memory.ring();
            return true;
        }
        let most = limits.requests.or(limits.connections).unwrap_or(self.connections);
        if in_flight.requests() <= most {
            return false;
        }
        if self.requests.ring() {
            log::warn!(
                "{most} requests are under way, as many as may be (limits.requests): what comes \
                 beyond is answered 503"
            );
        }
        true
    }
}
