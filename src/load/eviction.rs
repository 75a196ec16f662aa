//! Evicts the client that holds most when memory is short. Knows nothing of how memory is measured.

use super::{ClientLoad, Clients};
use crate::background;
use crate::websocket::{End, Initiator, Session, SessionRegistry, SessionSelector};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_http::address::client;
use tidegate_http::websocket::close_code;

/// Minimum number of connections, requests and sessions that an evicted client holds: a browser with a few tabs
/// holds fewer.
const MIN_HELD_BY_EVICTED_CLIENT: usize = 16;

/// How long WebSocket sessions may take to close before the client's connections are ended.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a client that was evicted isn't evicted again: what it held may not be released yet.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(3);

/// The close reason that the client of an evicted session gets.
const EVICTION_REASON: &str = "the gateway is short of memory; try again later";

/// Ends all connections of a client.
pub(super) type EndConnections = Arc<dyn Fn(IpAddr) + Send + Sync>;

/// Evicts clients: ends their connections, requests and WebSocket sessions, and refuses their
/// requests until memory is no longer short.
pub(crate) struct Evictor {
    clients: Arc<Clients>,
    sessions: Arc<SessionRegistry>,
    end_connections: EndConnections,
    /// Those that are refused, and when each was evicted.
    evicted: Vec<(Arc<ClientLoad>, Instant)>,
}

/// A client that was evicted, and what it held.
pub(super) struct EvictionReport {
    pub(super) address: IpAddr,
    pub(super) connections: usize,
    pub(super) requests: usize,
    pub(super) sessions: usize,
}

impl Evictor {
    /// `end_connections` gets the address of a client, of IPv6 that of its /64 network.
    pub(crate) fn new(
        clients: Arc<Clients>,
        sessions: Arc<SessionRegistry>,
        end_connections: EndConnections,
    ) -> Self {
        Self { clients, sessions, end_connections, evicted: Vec::new() }
    }

    /// Evicts the client that holds most; `None` when none holds enough.
    pub(super) fn evict_largest(&mut self) -> Option<EvictionReport> {
        let mut sessions: HashMap<IpAddr, Vec<Arc<Session>>> = HashMap::new();
        for session in self.sessions.select(&SessionSelector::default()) {
            if let Some(address) = session.identity.client {
                sessions.entry(client(address)).or_default().push(session);
            }
        }
        let counted = self.clients.all();
        // Behind a trusted proxy a client has sessions, and no connections of its own.
        let others = sessions.keys().map(|&address| self.clients.find(address));
        let all: Vec<_> = counted.into_iter().chain(others).collect();
        let sessions_of = |it: &ClientLoad| sessions.get(&it.address()).map_or(0, Vec::len);
        let largest = all
            .iter()
            .filter(|it| !self.is_leaving(it))
            .max_by_key(|it| it.held_total() + sessions_of(it))
            .filter(|it| it.held_total() + sessions_of(it) >= MIN_HELD_BY_EVICTED_CLIENT)?;
        let largest = Arc::clone(largest);
        let evicted = EvictionReport {
            address: largest.address(),
            connections: largest.connections(),
            requests: largest.requests(),
            sessions: sessions_of(&largest),
        };
        let sessions = sessions.remove(&largest.address()).unwrap_or_default();
        self.evict(largest, &sessions);
        Some(evicted)
    }

    /// Serves the requests of all clients again.
    pub(super) fn readmit_after_release(&mut self) {
        for (client, _) in self.evicted.drain(..) {
            client.set_evicted(false);
        }
    }

    /// Whether a client was evicted so recently that what it held may not be released yet.
    pub(super) fn is_releasing(&self) -> bool {
        self.recently_evicted().next().is_some()
    }

    fn recently_evicted(&self) -> impl Iterator<Item = &Arc<ClientLoad>> {
        let is_recent = |at: &Instant| at.elapsed() < RELEASE_TIMEOUT;
        self.evicted.iter().filter(move |(_, at)| is_recent(at)).map(|(client, _)| client)
    }

    fn is_leaving(&self, client: &Arc<ClientLoad>) -> bool {
        self.recently_evicted().any(|it| Arc::ptr_eq(it, client))
    }

    fn evict(&mut self, client: Arc<ClientLoad>, sessions: &[Arc<Session>]) {
        let address = client.address();
        client.set_evicted(true);
        client.end_shared();
        self.evicted.retain(|(it, _)| !Arc::ptr_eq(it, &client));
        self.evicted.push((client, Instant::now()));
        let request = End::new(Initiator::Limit, close_code::TRY_AGAIN_LATER, EVICTION_REASON);
        for session in sessions {
            session.request_close(request.clone());
        }
        let end_connections = Arc::clone(&self.end_connections);
        if sessions.is_empty() {
            end_connections(address);
            return;
        }
        background::spawn("evicting a client", async move {
            tokio::time::sleep(CLOSE_TIMEOUT).await;
            end_connections(address);
        });
    }
}
