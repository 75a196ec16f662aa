//! Refuses requests while the gateway or a client has too many in flight. Counts nothing itself.

use super::clients::try_count;
use super::{ClientLoad, InFlight, RequestPermit};
use crate::rate_limited_log::RateLimitedLog;
use crate::snapshot::RequestLimits;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Whether the process has as much to do as it can.
#[derive(Debug)]
pub(crate) struct OverloadControl {
    /// The most connections that it has files for.
    connections: usize,
    is_short_of_memory: AtomicBool,
    /// Bytes of bodies that are collected for filters.
    collected: AtomicUsize,
    /// Bodies refused because of `limits.collected_bodies`.
    pub collected_bodies: RateLimitedLog,
    /// Bodies refused because of `limits.collected_bodies_per_client`.
    pub collected_bodies_per_client: RateLimitedLog,
    /// Requests refused because of `limits.requests`.
    pub requests: RateLimitedLog,
    /// Requests refused because of `limits.requests_per_client`.
    pub requests_per_client: RateLimitedLog,
    /// Requests refused because of `limits.memory`.
    pub memory: RateLimitedLog,
    /// Clients evicted because of `limits.memory`.
    pub evictions: RateLimitedLog,
    /// Requests refused for there was no file for a connection to their upstream.
    pub files: RateLimitedLog,
}

impl OverloadControl {
    /// The limits for a process with descriptors for this many connections.
    pub(crate) fn new(connections: usize) -> Self {
        Self {
            connections,
            is_short_of_memory: AtomicBool::new(false),
            collected: AtomicUsize::new(0),
            collected_bodies: RateLimitedLog::default(),
            collected_bodies_per_client: RateLimitedLog::default(),
            requests: RateLimitedLog::default(),
            requests_per_client: RateLimitedLog::default(),
            memory: RateLimitedLog::default(),
            evictions: RateLimitedLog::default(),
            files: RateLimitedLog::default(),
        }
    }

    /// Says whether memory is short.
    pub(crate) fn set_short_of_memory(&self, is_short: bool) {
        self.is_short_of_memory.store(is_short, Ordering::Relaxed);
    }

    /// How many bytes of bodies are collected for filters.
    pub(crate) fn collected_bytes(&self) -> usize {
        self.collected.load(Ordering::Relaxed)
    }

    /// Counts bytes that are collected of a body, unless all together are more than they may be.
    pub(super) fn add_collected(&self, bytes: usize, max: usize) -> bool {
        try_count(&self.collected, bytes, max)
    }

    /// They are no longer kept.
    pub(super) fn remove_collected(&self, bytes: usize) {
        self.collected.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// There was no file for a connection to an upstream.
    pub(crate) fn out_of_files(&self) {
        if self.files.should_log() {
            log::warn!(
                "the process has no file descriptors left for connections to upstreams: the \
                 gateway answers requests that need one with 503"
            );
        }
    }

    /// Whether a request is one too many. It has been counted in already.
    pub(crate) fn refuses(&self, in_flight: &InFlight, limits: &RequestLimits) -> bool {
        if self.is_short_of_memory.load(Ordering::Relaxed) {
            // Who watches the memory has told it.
            self.memory.should_log();
            return true;
        }
        let max_requests = self.most_requests(limits);
        if in_flight.requests() <= max_requests {
            return false;
        }
        if self.requests.should_log() {
            log::warn!(
                "{max_requests} requests are in flight, the limit (limits.requests): the gateway answers \
                 further ones with 503"
            );
        }
        true
    }

    /// Whether a client's requests are refused, for it is evicted.
    pub(crate) fn refuses_client(&self, client: &ClientLoad) -> bool {
        if client.is_evicted() {
            self.memory.should_log();
            return true;
        }
        false
    }

    fn most_requests(&self, limits: &RequestLimits) -> usize {
        limits.requests.or(limits.connections).unwrap_or(self.connections)
    }

    /// Counts a request among those of its client; `None` when it is one too many.
    pub(crate) fn admit_client_request(
        &self,
        client: Arc<ClientLoad>,
        limits: &RequestLimits,
    ) -> Option<RequestPermit> {
        let max_requests =
            limits.requests_per_client.unwrap_or_else(|| self.most_requests(limits) / 2);
        let max_requests = max_requests.max(1);
        let address = client.address();
        let permit = client.try_request(max_requests);
        if permit.is_none() && self.requests_per_client.should_log() {
            log::warn!(
                "client {address} has {max_requests} requests in flight, the limit for one client \
                 (limits.requests_per_client): the gateway answers further ones with 429"
            );
        }
        permit
    }
}
