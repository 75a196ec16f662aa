use super::Endpoint;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{Resolver, TokioResolver};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// The soonest that a name is asked for again, whatever its TTL.
const SOONEST: Duration = Duration::from_secs(1);

/// The latest.
const LATEST: Duration = Duration::from_secs(60 * 60);

/// How long after a failure it is asked for again.
const RETRY: Duration = Duration::from_secs(5);

/// What DNS is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Question {
    /// The server that is asked; `None` for those of the machine.
    pub server: Option<SocketAddr>,
    /// The records.
    pub records: Records,
}

/// Which records make the endpoints.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Records {
    /// Each address of the name (A, AAAA), with this port.
    Addresses(String, u16),
    /// Each target of the service (SRV, RFC 2782).
    Services(String),
}

/// An endpoint that DNS tells of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    host: String,
    port: u16,
    weight: u32,
    is_backup: bool,
    addresses: Vec<SocketAddr>,
}

impl Found {
    /// As an endpoint of a pool.
    pub fn endpoint(&self) -> Endpoint {
        let addresses = self.addresses.clone();
        Endpoint::found(&self.host, self.port, self.weight, self.is_backup, addresses)
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.records {
            Records::Addresses(name, port) => write!(f, "{name}:{port}"),
            Records::Services(name) => write!(f, "{name} (SRV)"),
        }
    }
}

/// Asks DNS for endpoints, as often as the TTL of its answers says. What it has said last holds
/// while it says nothing.
#[derive(Debug)]
pub struct Discovery {
    asking: Mutex<BTreeMap<Question, Asking>>,
    /// Counts the changes.
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Asking {
    task: AbortHandle,
    /// `None` until there has been an answer.
    found: Option<Vec<Found>>,
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
    /// Asks these questions from now on, and no others. It takes the runtime.
    pub fn follow(self: &Arc<Self>, questions: &BTreeSet<Question>) {
        let mut asking = self.asking();
        asking.retain(|question, _| questions.contains(question));
        for question in questions {
            asking.entry(question.clone()).or_insert_with(|| {
                let task = tokio::spawn(keep_asking(Arc::clone(self), question.clone()));
                Asking { task: task.abort_handle(), found: None }
            });
        }
    }

    /// What the last answer was.
    pub fn found(&self, question: &Question) -> Vec<Found> {
        let asking = self.asking();
        asking.get(question).and_then(|asking| asking.found.clone()).unwrap_or_default()
    }

    /// Told of each change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Waits until each question has an answer.
    pub async fn answered(&self) {
        let mut changes = self.changes();
        while self.asking().values().any(|asking| asking.found.is_none()) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn asking(&self) -> MutexGuard<'_, BTreeMap<Question, Asking>> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this is another answer than the last one.
    fn answer(&self, question: &Question, mut found: Vec<Found>) -> bool {
        found.sort();
        let mut asking = self.asking();
        let Some(asking) = asking.get_mut(question) else { return false };
        let is_new = asking.found.as_ref() != Some(&found);
        if is_new {
            asking.found = Some(found);
        }
        is_new
    }
}

async fn keep_asking(discovery: Arc<Discovery>, question: Question) {
    let resolver = match resolver(question.server) {
        Ok(resolver) => resolver,
        Err(reason) => {
            log::error!("{question} can't be asked for: {reason}");
            return;
        }
    };
    let mut has_failed = false;
    loop {
        match ask(&resolver, &question.records).await {
            Ok((found, until)) => {
                if std::mem::take(&mut has_failed) {
                    log::info!("{question} resolves again");
                }
                let count = found.len();
                if discovery.answer(&question, found) {
                    log::info!("{question} has {count} endpoints");
                    discovery.changes.send_modify(|changes| *changes += 1);
                }
                let left = until.saturating_duration_since(Instant::now());
                sleep(left.clamp(SOONEST, LATEST)).await;
            }
            Err(error) => {
                if !std::mem::replace(&mut has_failed, true) {
                    log::warn!("{question} does not resolve: {error}; what it was last stays");
                }
                sleep(RETRY).await;
            }
        }
    }
}

fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver, String> {
    let mut builder = match server {
        None => TokioResolver::builder_tokio().map_err(|error| error.to_string())?,
        Some(address) => {
            let [mut udp, mut tcp] = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
            (udp.port, tcp.port) = (address.port(), address.port());
            let server = NameServerConfig::new(address.ip(), true, vec![udp, tcp]);
            let config = ResolverConfig::from_name_servers(vec![server]);
            Resolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    let options: &mut ResolverOpts = builder.options_mut();
    // When to ask again is decided here.
    options.cache_size = 0;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build().map_err(|error| error.to_string())
}

type Answer = Result<(Vec<Found>, Instant), Box<dyn std::error::Error + Send + Sync>>;

/// What there is now, and until when that holds.
async fn ask(resolver: &TokioResolver, records: &Records) -> Answer {
    match records {
        Records::Addresses(name, port) => {
            let (addresses, until) = addresses(resolver, name).await?;
            let found = addresses.into_iter().map(|ip| Found {
                host: ip.to_string(),
                port: *port,
                weight: 1,
                is_backup: false,
                addresses: vec![SocketAddr::new(ip, *port)],
            });
            Ok((found.collect(), until))
        }
        Records::Services(name) => services(resolver, name).await,
    }
}

async fn services(resolver: &TokioResolver, name: &str) -> Answer {
    let answer = resolver.lookup(name, RecordType::SRV).await?;
    let mut until = answer.valid_until();
    let services = answer.answers().iter().filter_map(|record| match &record.data {
        RData::SRV(service) => Some(service),
        _ => None,
    });
    let services: Vec<_> = services.cloned().collect();
    // The least number is asked first (RFC 2782); the others stand in for those.
    let first = services.iter().map(|service| service.priority).min().unwrap_or_default();
    let mut found = Vec::new();
    for service in services {
        let host = service.target.to_ascii();
        let (ips, known_until) = addresses(resolver, &host).await?;
        until = until.min(known_until);
        found.push(Found {
            host: host.trim_end_matches('.').to_owned(),
            port: service.port,
            // 0 is for "little" there, and for "never" in a schedule.
            weight: u32::from(service.weight).clamp(1, 1000),
            is_backup: service.priority > first,
            addresses: ips.into_iter().map(|ip| SocketAddr::new(ip, service.port)).collect(),
        });
    }
    Ok((found, until))
}

async fn addresses(
    resolver: &TokioResolver,
    name: &str,
) -> Result<(Vec<IpAddr>, Instant), Box<dyn std::error::Error + Send + Sync>> {
    let answer = resolver.lookup_ip(name).await?;
    let mut addresses: Vec<IpAddr> = answer.iter().collect();
    addresses.sort();
    addresses.dedup();
    Ok((addresses, answer.valid_until()))
}
