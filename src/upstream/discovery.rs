//! Follows the endpoints that DNS names, while a configuration needs them. Knows nothing of pools.

mod lookup;
mod services;

use super::Endpoint;
use crate::background;
use lookup::{Lookups, resolver};
use services::ask;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// The soonest that a name is asked for again, whatever its TTL.
const MIN_LOOKUP_INTERVAL: Duration = Duration::from_secs(1);

/// The latest.
const MAX_LOOKUP_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// How long after a failure it is asked for again.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

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

/// An endpoint that DNS tells of.
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
    asking: Mutex<BTreeMap<DnsQuery, Asking>>,
    /// Counts the changes.
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Asking {
    task: AbortHandle,
    /// `None` until there has been an answer.
    found: Option<Vec<DiscoveredEndpoint>>,
}

impl Drop for Asking {
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
                let task = background::keep(format!("discovery of {query}"), ask);
                Asking { task: task.abort_handle(), found: None }
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

    fn asking(&self) -> MutexGuard<'_, BTreeMap<DnsQuery, Asking>> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this is another answer than the last one.
    fn answer(&self, query: &DnsQuery, mut found: Vec<DiscoveredEndpoint>) -> bool {
        found.sort();
        found.dedup();
        let mut asking = self.asking();
        let Some(asking) = asking.get_mut(query) else { return false };
        let is_new = asking.found.as_ref() != Some(&found);
        if is_new {
            asking.found = Some(found);
        }
        is_new
    }
}

async fn keep_asking(discovery: Arc<Discovery>, query: DnsQuery) {
    let resolver = match resolver(query.server) {
        Ok(resolver) => resolver,
        Err(reason) => {
            log::error!("{query} can't be asked for: {reason}");
            return;
        }
    };
    let lookups = Lookups::new(resolver);
    let mut has_failed = false;
    let mut unresolved = BTreeMap::new();
    loop {
        match ask(&lookups, &query.records).await {
            Ok(answer) => {
                if std::mem::take(&mut has_failed) {
                    log::info!("{query} resolves again");
                }
                report_targets(&query, &unresolved, &answer.unresolved);
                unresolved = answer.unresolved;
                let count = answer.found.len();
                let is_unavailable = answer.is_unavailable;
                if discovery.answer(&query, answer.found) {
                    match count {
                        0 if is_unavailable => log::warn!(
                            "{query} has no endpoints: DNS says that the service is not available \
                             (its SRV target is `.`)"
                        ),
                        0 => log::warn!("{query} has no endpoints: DNS answers without any"),
                        count => log::info!("{query} has {count} endpoints"),
                    }
                    discovery.changes.send_modify(|changes| *changes += 1);
                }
                let left = answer.until.saturating_duration_since(Instant::now());
                let latest = if answer.is_partial { RETRY_INTERVAL } else { MAX_LOOKUP_INTERVAL };
                sleep(left.clamp(MIN_LOOKUP_INTERVAL, latest)).await;
            }
            Err(error) => {
                if !std::mem::replace(&mut has_failed, true) {
                    log::warn!("{query} does not resolve: {error}; its last endpoints stay in use");
                }
                sleep(RETRY_INTERVAL).await;
            }
        }
    }
}

/// Logs the targets of a service that can't be resolved since this answer, or can again.
fn report_targets(
    query: &DnsQuery,
    before: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
) {
    for (target, reason) in now.iter().filter(|(target, _)| !before.contains_key(*target)) {
        log::warn!("{query}: its target {target} does not resolve ({reason}) and is left out");
    }
    for target in before.keys().filter(|target| !now.contains_key(*target)) {
        log::info!("{query}: its target {target} resolves again, or DNS no longer lists it");
    }
}
