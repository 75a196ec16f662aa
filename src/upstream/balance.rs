//! How a pool selects among its endpoints. Knows nothing of their health.

use super::Endpoint;
use pingora_ketama::{Bucket, Continuum};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tidegate_http::stable_hash::{StableHash, StableHasher, stable_hash};

/// Which endpoint takes a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) enum Balance {
    /// In turn, by their weights.
    #[default]
    RoundRobin,
    /// The one with the fewest requests and sessions for its weight.
    LeastRequests,
    /// The better of two random endpoints, by latency and requests in flight.
    PeakEwma,
    /// By consistent hashing of a key: one key keeps its endpoint, and few keys move when endpoints change.
    Hash(AffinityKey),
    /// The one that this client had before, by a cookie of this name.
    StickyCookie(String),
}

impl StableHash for Balance {
    fn feed(&self, hasher: &mut StableHasher) {
        match self {
            Self::RoundRobin => hasher.number(0),
            Self::LeastRequests => hasher.number(1),
            Self::PeakEwma => hasher.number(2),
            Self::Hash(key) => (3_u8, key).feed(hasher),
            Self::StickyCookie(name) => (4_u8, name).feed(hasher),
        }
    }
}

/// What of a request is hashed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum AffinityKey {
    /// The user id.
    UserId,
    /// The client's address.
    ClientAddress,
    /// A header field.
    Header(http::HeaderName),
    /// A cookie.
    Cookie(String),
}

impl StableHash for AffinityKey {
    fn feed(&self, hasher: &mut StableHasher) {
        match self {
            Self::UserId => hasher.number(0),
            Self::ClientAddress => hasher.number(1),
            Self::Header(name) => (2_u8, name).feed(hasher),
            Self::Cookie(name) => (3_u8, name).feed(hasher),
        }
    }
}

/// A ring of endpoints, for consistent hashing by Ketama.
pub(super) struct HashRing {
    continuum: Continuum,
    indices: HashMap<SocketAddr, usize>,
}

impl std::fmt::Debug for HashRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("endpoints", &self.indices.len()).finish()
    }
}

impl HashRing {
    pub(super) fn new(endpoints: &[Arc<Endpoint>]) -> Option<Self> {
        let indices: HashMap<SocketAddr, usize> =
            endpoints.iter().enumerate().map(|(index, it)| (ring_position(it), index)).collect();
        let bucket = |it: &Arc<Endpoint>| Bucket::new(ring_position(it), it.weight());
        let buckets: Vec<Bucket> = endpoints.iter().map(bucket).collect();
        (!buckets.is_empty()).then(|| Self { continuum: Continuum::new(&buckets), indices })
    }

    /// The endpoints in the order in which this key prefers them, some more than once.
    pub(super) fn order(&self, key: &[u8]) -> impl Iterator<Item = usize> {
        self.continuum.node_iter(key).filter_map(|position| self.indices.get(position).copied())
    }
}

/// Where an endpoint stands in the ring: at its address, as nginx has it, or for a name at one
/// that stands for the name, whatever it resolves to.
fn ring_position(endpoint: &Endpoint) -> SocketAddr {
    endpoint.address_text().parse().unwrap_or_else(|_| {
        let bits = u128::from(stable_hash(endpoint.address_text())) | 0xfd << 120;
        SocketAddr::new(IpAddr::V6(Ipv6Addr::from_bits(bits)), 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Replicas of several versions share these places.
    #[test]
    fn places_on_the_ring_are_the_same_in_every_version() {
        let place_of = |host: &str| ring_position(&Endpoint::new(host, 8080, 1, false)).to_string();
        assert_eq!(place_of("10.0.0.1"), "10.0.0.1:8080");
        assert_eq!(place_of("app.internal"), "[fd00::8ab:8d20:fda1:e911]:0");
    }
}
