//! DNS lookups of addresses, A and AAAA separately. Knows nothing of endpoints.

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use hickory_resolver::{Resolver, TokioResolver};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Maximum time for one answer of one server. Each server is asked three times.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the addresses of one family wait for those of the other. RFC 8305 (section 3) waits 50 ms before it
/// connects; no request waits here, so a longer time rarely misses a slow answer.
const OTHER_FAMILY_TIMEOUT: Duration = Duration::from_millis(500);

/// The addresses of one family, and until when they are valid.
type FamilyAddresses = (Vec<IpAddr>, Instant);

/// The addresses of a name.
#[derive(Debug)]
pub(super) struct ResolvedAddresses {
    pub ips: Vec<IpAddr>,
    pub valid_until: Instant,
    /// Whether one family has not been answered; what it was last is among them.
    pub is_partial: bool,
}

/// Looks up addresses, and remembers the last answer for each name and family.
#[derive(Debug, Clone)]
pub(super) struct Lookups {
    pub(super) resolver: TokioResolver,
    known: Arc<Mutex<BTreeMap<String, KnownAddresses>>>,
}

/// The last answers for a name.
#[derive(Debug, Default)]
struct KnownAddresses {
    ipv4: Option<FamilyAddresses>,
    ipv6: Option<FamilyAddresses>,
}

impl KnownAddresses {
    fn family(&mut self, kind: RecordType) -> &mut Option<FamilyAddresses> {
        if kind == RecordType::A { &mut self.ipv4 } else { &mut self.ipv6 }
    }
}

impl Lookups {
    pub(super) fn new(resolver: TokioResolver) -> Self {
        Self { resolver, known: Arc::default() }
    }

    /// Resolves a name to its addresses of both families. A family that is answered by an error or not at all holds
    /// nothing back: what it was last stands in. Fails when neither is answered.
    pub(super) async fn resolve(&self, name: &str) -> Result<ResolvedAddresses, String> {
        let mut ipv4 = self.spawn_query(name, RecordType::A);
        let mut ipv6 = self.spawn_query(name, RecordType::AAAA);
        let (first, other, other_kind) = tokio::select! {
            first = &mut ipv4 => (first, ipv6, RecordType::AAAA),
            first = &mut ipv6 => (first, ipv4, RecordType::A),
        };
        let first = first.unwrap_or_else(|error| Err(error.to_string()));
        let has_addresses = first.as_ref().is_ok_and(|(ips, _)| !ips.is_empty());
        let other = if has_addresses {
            timeout(OTHER_FAMILY_TIMEOUT, other).await.unwrap_or_else(|_| Ok(Err(String::new())))
        } else {
            other.await
        };
        let other = other.unwrap_or_else(|error| Err(error.to_string()));
        let first_kind = if other_kind == RecordType::A { RecordType::AAAA } else { RecordType::A };
        let (mut all, until, is_partial) = match (first, other) {
            (Ok((mut ips, until)), Ok((others, others_until))) => {
                ips.extend(others);
                (ips, until.min(others_until), false)
            }
            (Ok((mut ips, until)), Err(_)) => {
                ips.extend(self.last_addresses(name, other_kind));
                (ips, until, true)
            }
            (Err(_), Ok((mut ips, until))) => {
                ips.extend(self.last_addresses(name, first_kind));
                (ips, until, true)
            }
            (Err(reason), Err(_)) => return Err(reason),
        };
        all.sort();
        all.dedup();
        Ok(ResolvedAddresses { ips: all, valid_until: until, is_partial })
    }

    /// What the addresses of the name were last.
    pub(super) fn last_known(&self, name: &str) -> Vec<IpAddr> {
        let mut ips = self.last_addresses(name, RecordType::A);
        ips.extend(self.last_addresses(name, RecordType::AAAA));
        ips.sort();
        ips
    }

    /// Forgets all names but these.
    pub(super) fn retain(&self, is_wanted: impl Fn(&str) -> bool) {
        self.lock_known().retain(|name, _| is_wanted(name));
    }

    fn last_addresses(&self, name: &str, kind: RecordType) -> Vec<IpAddr> {
        let mut known = self.lock_known();
        let family = known.get_mut(name).and_then(|known| known.family(kind).as_ref());
        family.map(|(ips, _)| ips.clone()).unwrap_or_default()
    }

    /// In a task of its own: an answer that comes late is known the next time.
    fn spawn_query(
        &self,
        name: &str,
        kind: RecordType,
    ) -> JoinHandle<Result<FamilyAddresses, String>> {
        let (lookups, name) = (self.clone(), name.to_owned());
        tokio::spawn(async move {
            let answer = lookups.query_family(&name, kind).await;
            if let Ok(family) = &answer {
                *lookups.lock_known().entry(name).or_default().family(kind) = Some(family.clone());
            }
            answer
        })
    }

    async fn query_family(&self, name: &str, kind: RecordType) -> Result<FamilyAddresses, String> {
        match self.resolver.lookup(name, kind).await {
            Ok(answer) => {
                let ips = own_records(&answer).filter_map(|record| match &record.data {
                    RData::A(address) => Some(IpAddr::V4(address.0)),
                    RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                    _ => None,
                });
                Ok((ips.collect(), answer.valid_until()))
            }
            Err(error) if has_no_records(&error) => Ok((Vec::new(), Instant::now())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What it protects is whole between any two statements.
    fn lock_known(&self) -> MutexGuard<'_, BTreeMap<String, KnownAddresses>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The records of the name that was asked for, or of what it is an alias of (RFC 1034, section 3.6.2).
/// Others that a server puts among them are nobody's business.
pub(super) fn own_records(answer: &Lookup) -> impl Iterator<Item = &Record> {
    let records = answer.answers();
    let mut names = vec![answer.query().name()];
    while let Some(last) = names.last().copied() {
        let alias = records.iter().find_map(|record| match &record.data {
            RData::CNAME(alias) if record.name == *last => Some(&alias.0),
            _ => None,
        });
        match alias.filter(|alias| !names.contains(alias)) {
            Some(alias) => names.push(alias),
            None => break,
        }
    }
    records.iter().filter(move |record| names.contains(&&record.name))
}

/// Whether the server says that there are none, rather than that it can't tell.
fn has_no_records(error: &NetError) -> bool {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
        }
        _ => false,
    }
}

pub(super) fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver, String> {
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
    // Aliases tell which records belong to a name.
    options.preserve_intermediates = true;
    options.timeout = ANSWER_TIMEOUT;
    builder.build().map_err(|error| error.to_string())
}
