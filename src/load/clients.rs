//! Counts for each client address its connections and requests, so that one client can be limited or evicted. Evicts
//! nothing itself.

use atomic_waker::AtomicWaker;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use tidegate_http::address::client;

/// Number of locks over the clients, so that connections seldom wait for each other.
const SHARDS: usize = 16;

/// The clients with connections or requests, by address.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    shards: [Mutex<HashMap<IpAddr, Weak<ClientLoad>>>; SHARDS],
    /// A randomly seeded hash over the shards, so that no client can choose its shard.
    hasher: RandomState,
}

/// What one client holds: an IPv4 address, or the /64 network of an IPv6 address.
///
/// A connection looks its client up once and keeps it, so that counting a request takes no lock.
#[derive(Debug)]
pub(crate) struct ClientLoad {
    address: IpAddr,
    connections: AtomicUsize,
    requests: AtomicUsize,
    /// Bytes of its requests' bodies, and of those of the responses, that are collected for filters.
    collected: AtomicUsize,
    is_evicted: AtomicBool,
    /// Those of its requests that do not end with connections of its own, by number.
    shared: Mutex<HashMap<u64, Weak<SharedRequest>>>,
    clients: Weak<Clients>,
}

/// One request in flight of a client; it no longer counts when this is dropped.
#[derive(Debug)]
pub(crate) struct RequestPermit(Arc<ClientLoad>);

/// A request on a connection that other clients use as well: a trusted proxy's. It watches for the eviction
/// of its client, because the connection has to go on.
#[derive(Debug)]
pub(crate) struct SharedRequest {
    client: Arc<ClientLoad>,
    number: u64,
    has_to_end: AtomicBool,
    waker: AtomicWaker,
}

impl Clients {
    /// The client with this address.
    pub(crate) fn find(self: &Arc<Self>, address: IpAddr) -> Arc<ClientLoad> {
        let address = client(address);
        let mut shard = self.shard(address);
        if let Some(found) = shard.get(&address).and_then(Weak::upgrade) {
            return found;
        }
        let new = Arc::new(ClientLoad {
            address,
            connections: AtomicUsize::default(),
            requests: AtomicUsize::default(),
            collected: AtomicUsize::default(),
            is_evicted: AtomicBool::default(),
            shared: Mutex::default(),
            clients: Arc::downgrade(self),
        });
        shard.insert(address, Arc::downgrade(&new));
        new
    }

    /// All clients that hold something.
    pub(super) fn all(&self) -> Vec<Arc<ClientLoad>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            // Kept beyond the lock, which a client takes when it is dropped.
            all.extend(lock(shard).values().filter_map(Weak::upgrade));
        }
        all
    }

    fn shard(&self, client: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, Weak<ClientLoad>>> {
        let number = self.hasher.hash_one(client) as usize % SHARDS;
        #[expect(clippy::indexing_slicing, reason = "the number is less than the length")]
        lock(&self.shards[number])
    }
}

impl ClientLoad {
    /// Its address; of IPv6, that of its network.
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    /// How many connections it has; a WebSocket session over HTTP/2 counts as one.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// How many requests it has in flight.
    pub(super) fn requests(&self) -> usize {
        self.requests.load(Relaxed)
    }

    /// How many things it holds that end when it is evicted, besides its sessions.
    pub(super) fn held_total(&self) -> usize {
        self.connections() + self.requests()
    }

    /// Whether the gateway ends what it holds and refuses its requests, for memory is short.
    pub(crate) fn is_evicted(&self) -> bool {
        self.is_evicted.load(Relaxed)
    }

    /// Evicts it, or lets it come back.
    pub(super) fn set_evicted(&self, is_evicted: bool) {
        self.is_evicted.store(is_evicted, Relaxed);
    }

    /// Ends its requests on connections that others use as well.
    pub(super) fn end_shared(&self) {
        let shared: Vec<_> = lock(&self.shared).values().filter_map(Weak::upgrade).collect();
        // Beyond the lock, which a request takes when it ends.
        for request in shared {
            request.has_to_end.store(true, Release);
            request.waker.wake();
        }
    }

    /// Counts a connection, unless it has as many as it may.
    pub(super) fn add_connection(&self, max: usize) -> bool {
        try_count(&self.connections, 1, max)
    }

    /// A connection has ended.
    pub(super) fn remove_connection(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    /// Counts bytes that are collected of its bodies, unless they are more than it may have.
    pub(super) fn add_collected(&self, bytes: usize, max: usize) -> bool {
        try_count(&self.collected, bytes, max)
    }

    /// They are no longer kept.
    pub(super) fn remove_collected(&self, bytes: usize) {
        self.collected.fetch_sub(bytes, Relaxed);
    }

    /// Counts a request, unless it has as many in flight as it may.
    pub(crate) fn try_request(self: Arc<Self>, max: usize) -> Option<RequestPermit> {
        try_count(&self.requests, 1, max).then(|| RequestPermit(self))
    }
}

impl RequestPermit {
    /// Its client.
    pub(crate) fn client(&self) -> &Arc<ClientLoad> {
        &self.0
    }

    /// Whether its client is evicted.
    pub(crate) fn is_evicted(&self) -> bool {
        self.0.is_evicted()
    }

    /// For a request on a connection that other clients use as well.
    pub(crate) fn shared_request(&self) -> Arc<SharedRequest> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let number = NUMBERS.fetch_add(1, Relaxed);
        let (client, has_to_end, waker) =
            (Arc::clone(&self.0), AtomicBool::new(false), AtomicWaker::new());
        let request = Arc::new(SharedRequest { client, number, has_to_end, waker });
        lock(&self.0.shared).insert(number, Arc::downgrade(&request));
        request
    }
}

impl SharedRequest {
    /// Ready when the request has to end, because its client is evicted.
    pub(crate) fn poll_eviction(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        match self.has_to_end.load(Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Drop for SharedRequest {
    fn drop(&mut self) {
        lock(&self.client.shared).remove(&self.number);
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Relaxed);
    }
}

impl Drop for ClientLoad {
    fn drop(&mut self) {
        let Some(clients) = self.clients.upgrade() else { return };
        let mut shard = clients.shard(self.address);
        // It may have come again since.
        if shard.get(&self.address).is_some_and(|there| there.strong_count() == 0) {
            shard.remove(&self.address);
        }
    }
}

/// Adds to a counter, unless it would exceed `max`.
pub(super) fn try_count(counter: &AtomicUsize, amount: usize, max: usize) -> bool {
    let is_room = counter.fetch_add(amount, Relaxed).saturating_add(amount) <= max;
    if !is_room {
        counter.fetch_sub(amount, Relaxed);
    }
    is_room
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_is_counted_while_it_holds_a_permit() {
        let clients = Arc::new(Clients::default());
        let one = clients.find("192.0.2.1".parse().unwrap());
        let same = clients.find("::ffff:192.0.2.1".parse().unwrap());
        assert!(Arc::ptr_eq(&one, &same));
        let permit = same.try_request(1).expect("room");
        assert!(Arc::clone(&one).try_request(1).is_none());
        drop(one);
        let again = clients.find("192.0.2.1".parse().unwrap());
        assert!(again.try_request(1).is_none(), "its request is in flight");
        drop(permit);
        assert!(clients.shards.iter().all(|shard| lock(shard).is_empty()));
    }
}
