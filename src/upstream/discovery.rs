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
use asking::lookup_forever;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What DNS is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct DnsQuery {
    /// The server that is asked; `None` for those of the machine.
    pub server: Option<SocketAddr>,
    /// The records.
    pub records: RecordKind,
}

/// Which records make the endpoints.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum RecordKind {
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
        Endpoint::discovered(&self.host, self.port, self.weight, self.is_backup, addresses)
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
    tasks: Mutex<BTreeMap<DnsQuery, DiscoveryTask>>,
    /// Counts the changes.
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct DiscoveryTask {
    task: AbortHandle,
    /// `None` until there has been an answer.
    last_endpoints: Option<Vec<DiscoveredEndpoint>>,
}

impl Drop for DiscoveryTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Default for Discovery {
    fn default() -> Self {
        Self { tasks: Mutex::default(), changes: watch::Sender::new(0) }
    }
}

impl Discovery {
    /// Asks these queries from now on, and no others. It takes the runtime.
    pub(crate) fn set_queries(self: &Arc<Self>, queries: &BTreeSet<DnsQuery>) {
        let mut asking = self.lock_tasks();
        asking.retain(|query, _| queries.contains(query));
        for query in queries {
            asking.entry(query.clone()).or_insert_with(|| {
                let (this, asked) = (Arc::clone(self), query.clone());
                let ask = move || lookup_forever(Arc::clone(&this), asked.clone());
                let task = background::spawn_restarting(format!("discovery of {query}"), ask);
                DiscoveryTask { task: task.abort_handle(), last_endpoints: None }
            });
        }
    }

    /// What the last answer was.
    pub(crate) fn endpoints(&self, query: &DnsQuery) -> Vec<DiscoveredEndpoint> {
        let asking = self.lock_tasks();
        asking.get(query).and_then(|asking| asking.last_endpoints.clone()).unwrap_or_default()
    }

    /// Told of each change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Waits until each query has an answer.
    pub(crate) async fn wait_until_all_answered(&self) {
        let mut changes = self.changes();
        while self.lock_tasks().values().any(|asking| asking.last_endpoints.is_none()) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn lock_tasks(&self) -> MutexGuard<'_, BTreeMap<DnsQuery, DiscoveryTask>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Never asks: `compile` refuses what would have to be discovered.
#[cfg(not(feature = "discovery"))]
async fn lookup_forever(_: Arc<Discovery>, _: DnsQuery) {}
