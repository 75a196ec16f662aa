//! Counts the connections of a listener, and how those failed that did not reach HTTP. Refuses nothing.

use crate::tls::HandshakeFailure;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tidegate_http::address::Address;

/// The connections that have come to a listener, and how those failed that did not come to HTTP.
#[derive(Debug)]
pub(crate) struct AcceptedConnections {
    address: Address,
    accepted: AtomicU64,
    proxy_headers: AtomicU64,
    handshakes: [AtomicU64; HandshakeFailure::ALL.len()],
}

impl AcceptedConnections {
    /// Nobody has come to this address yet.
    pub(crate) fn new(address: Address) -> Self {
        let [accepted, proxy_headers] = Default::default();
        Self { address, accepted, proxy_headers, handshakes: Default::default() }
    }

    /// Where they come.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Somebody has come.
    pub(crate) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    /// There is no header of the PROXY protocol where there must be one.
    pub(crate) fn no_proxy_header(&self) {
        self.proxy_headers.fetch_add(1, Relaxed);
    }

    /// A TLS handshake has failed.
    pub(crate) fn no_handshake(&self, failure: HandshakeFailure) {
        if let Some(count) = self.handshakes.get(failure as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// How many have come, those included that were refused.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// How many were without the PROXY protocol's header.
    pub(crate) fn proxy_header_failures(&self) -> u64 {
        self.proxy_headers.load(Relaxed)
    }

    /// Handshakes that failed, by why.
    pub(crate) fn handshake_failures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = HandshakeFailure::ALL.into_iter().map(HandshakeFailure::name);
        names.zip(self.handshakes.iter().map(|count| count.load(Relaxed)))
    }
}
