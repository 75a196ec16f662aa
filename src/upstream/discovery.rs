//! Follows the endpoints that DNS reports, while a configuration needs them. Knows nothing of pools.

#[cfg(feature = "discovery")]
mod asking;
#[cfg(feature = "discovery")]
mod lookup;
#[cfg(feature = "discovery")]
mod services;

use super::Endpoint;
use crate::background;
#[cfg(feature = "discovery")]
use asking::keep_asking;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What DNS is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsQuery {
    /// The server that is asked; `None` for those of the machine.
    pub server: Option<SocketAddr>,
    /// The records.
    pub records: RecordKind,
}

/// Which records make the endpoints.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    /// Each address of the name (A, AAAA), with this port.
    Addresses(String, u16),
    /// Each target of the service (SRV, RFC 2782).
    Services(String),
}

/// An endpoint that DNS reports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DiscoveredEndpoint {
    host: String,
    port: u16,
    weight: u32,
    is_backup: bool,
    addresses: Vec<SocketAddr>,
}

impl DiscoveredEndpoint {
    /// As an endpoint of a pool.
    pub(crate) fn endpoint(&self) -> Endpoint {
        let addresses = self.addresses.clone();
        Endpoint::found(&self.host, self.port, self.weight, self.is_backup, addresses)
    }
}

impl fmt::Display for DnsQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.records {
            RecordKind::Addresses(name, port) => write!(f, "{name}:{port}"),
            RecordKind::Services(name) => write!(f, "{name} (SRV)"),
        }
    }
}

/// Asks DNS for endpoints, as often as the TTL of its answers says. What it has said last holds
/// while it says nothing.
#[derive(Debug)]
pub(crate) struct Discovery {
    asking: Mutex<BTreeMap<DnsQuery, DiscoveryTask>>,
    /// Counts the changes.
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct DiscoveryTask {
    task: AbortHandle,
    /// `None` until there has been an answer.
    found: Option<Vec<DiscoveredEndpoint>>,
}

impl Drop for DiscoveryTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Default for Discovery {
    fn default() -> Self {
        Self { asking: Mutex::default(), changes: watch::Sender::new(0) }
    }
}

impl Discovery {
    /// Asks these queries from now on, and no others. It takes the runtime.
    pub(crate) fn follow(self: &Arc<Self>, queries: &BTreeSet<DnsQuery>) {
        let mut asking = self.asking();
        asking.retain(|query, _| queries.contains(query));
        for query in queries {
            asking.entry(query.clone()).or_insert_with(|| {
                let (this, asked) = (Arc::clone(self), query.clone());
                let ask = move || keep_asking(Arc::clone(&this), asked.clone());
                let task = background::spawn_restarting(format!("discovery of {query}"), ask);
                DiscoveryTask { task: task.abort_handle(), found: None }
            });
        }
    }

    /// What the last answer was.
    pub(crate) fn found(&self, query: &DnsQuery) -> Vec<DiscoveredEndpoint> {
        let asking = self.asking();
        asking.get(query).and_then(|asking| asking.found.clone()).unwrap_or_default()
    }

    /// Told of each change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Waits until each query has an answer.
    pub(crate) async fn answered(&self) {
        let mut changes = self.changes();
        while self.asking().values().any(|asking| asking.found.is_none()) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn asking(&self) -> MutexGuard<'_, BTreeMap<DnsQuery, DiscoveryTask>> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Never asks: `compile` refuses what would have to be discovered.
#[cfg(not(feature = "discovery"))]
async fn keep_asking(_: Arc<Discovery>, _: DnsQuery) {}
