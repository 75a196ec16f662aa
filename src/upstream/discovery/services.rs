//! Reads SRV records as endpoints: targets, ports and weights. Knows nothing of health.

use super::lookup::{Lookups, ResolvedAddresses, own_records};
use super::{DiscoveredEndpoint, RecordKind};
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{RData, RecordType};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::{Instant as Deadline, timeout_at};

/// How long the targets that resolve wait for the next one that does.
const OTHER_TARGETS_TIMEOUT: Duration = Duration::from_secs(1);

/// How many targets are looked up at once.
const MAX_CONCURRENT_LOOKUPS: usize = 32;

/// The largest weight of an endpoint: a schedule has as many entries as the weights add up to.
const MAX_ENDPOINT_WEIGHT: u32 = 1000;

/// The endpoints of an answer.
#[derive(Debug)]
pub(super) struct ServiceAnswer {
    pub found: Vec<DiscoveredEndpoint>,
    /// Until when it holds.
    pub valid_until: Instant,
    /// Whether a part of it was not answered; what that was last is in it.
    pub is_partial: bool,
    /// Targets without an address, each with the reason.
    pub unresolved: BTreeMap<String, String>,
    /// Whether the service is decidedly not available: its only target is the root (RFC 2782).
    pub is_unavailable: bool,
}

/// Asks for the endpoints that there are now.
pub(super) async fn lookup_services(
    lookups: &Lookups,
    records: &RecordKind,
) -> Result<ServiceAnswer, String> {
    match records {
        RecordKind::Addresses(name, port) => hosts(lookups, name, *port).await,
        RecordKind::Services(name) => query_service_records(lookups, name).await,
    }
}

async fn hosts(lookups: &Lookups, name: &str, port: u16) -> Result<ServiceAnswer, String> {
    let ResolvedAddresses { ips, valid_until: until, is_partial } = lookups.resolve(name).await?;
    if ips.is_empty() {
        return Err("the name has no address".to_owned());
    }
    let found = ips.into_iter().map(|ip| DiscoveredEndpoint {
        host: ip.to_string(),
        port,
        weight: 1,
        is_backup: false,
        addresses: vec![SocketAddr::new(ip, port)],
    });
    let found = found.collect();
    Ok(ServiceAnswer {
        found,
        valid_until: until,
        is_partial,
        unresolved: BTreeMap::new(),
        is_unavailable: false,
    })
}

async fn query_service_records(lookups: &Lookups, name: &str) -> Result<ServiceAnswer, String> {
    let answer = lookups.resolver.lookup(name, RecordType::SRV).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let mut until = answer.valid_until();
    let services = own_records(&answer).filter_map(|record| match &record.data {
        // The root says that the service is not available (RFC 2782), and nobody listens on port 0.
        RData::SRV(service) if !service.target.is_root() && service.port != 0 => {
            Some(service.clone())
        }
        _ => None,
    });
    let services: Vec<SRV> = services.collect();
    let is_root = |data: &RData| matches!(data, RData::SRV(service) if service.target.is_root());
    let has_root = own_records(&answer).any(|record| is_root(&record.data));
    let hosts: BTreeSet<String> = services.iter().map(|it| it.target.to_ascii()).collect();
    lookups.retain(|name| hosts.contains(name));
    let (addresses, mut unresolved) = resolve(lookups, &hosts).await;
    let mut is_partial = addresses.len() < hosts.len();
    let mut known: BTreeMap<&str, Vec<IpAddr>> = BTreeMap::new();
    for host in &hosts {
        let ips = match addresses.get(host) {
            Some(answered) => {
                until = until.min(answered.valid_until);
                is_partial |= answered.is_partial;
                answered.ips.clone()
            }
            None => lookups.last_known(host),
        };
        if !ips.is_empty() {
            unresolved.remove(host);
            known.insert(host, ips);
        }
    }
    if known.is_empty() && !hosts.is_empty() {
        let reasons = unresolved.iter().map(|(target, reason)| format!("{target} ({reason})"));
        return Err(format!(
            "no SRV target has an address: {}",
            reasons.collect::<Vec<_>>().join(", ")
        ));
    }
    let weights = weights(&services);
    // The least number is asked first (RFC 2782); the others stand in for those.
    let first = services.iter().map(|service| service.priority).min().unwrap_or_default();
    let found = services.iter().zip(weights).filter_map(|(service, weight)| {
        let host = service.target.to_ascii();
        let ips = known.get(host.as_str())?;
        Some(DiscoveredEndpoint {
            host: host.trim_end_matches('.').to_owned(),
            port: service.port,
            weight,
            is_backup: service.priority > first,
            addresses: ips.iter().map(|&ip| SocketAddr::new(ip, service.port)).collect(),
        })
    });
    let found: Vec<DiscoveredEndpoint> = found.collect();
    let is_unavailable = services.is_empty() && has_root;
    Ok(ServiceAnswer { found, valid_until: until, is_partial, unresolved, is_unavailable })
}

/// The addresses of those that are answered while answers come, and why the others have none.
async fn resolve(
    lookups: &Lookups,
    hosts: &BTreeSet<String>,
) -> (BTreeMap<String, ResolvedAddresses>, BTreeMap<String, String>) {
    let (mut resolved, mut unresolved) = (BTreeMap::new(), BTreeMap::new());
    let mut waiting = hosts.iter();
    let mut pending = JoinSet::new();
    let mut deadline: Option<Deadline> = None;
    loop {
        while pending.len() < MAX_CONCURRENT_LOOKUPS {
            let Some(host) = waiting.next().cloned() else { break };
            let lookups = lookups.clone();
            pending.spawn(async move { (lookups.resolve(&host).await, host) });
        }
        let next = match deadline {
            None => pending.join_next().await,
            Some(deadline) => match timeout_at(deadline, pending.join_next()).await {
                Ok(next) => next,
                Err(_) => break,
            },
        };
        match next {
            None => break,
            Some(Ok((Ok(addresses), host))) => {
                if addresses.ips.is_empty() {
                    unresolved.insert(host.clone(), "the name has no address".to_owned());
                } else {
                    deadline = Some(Deadline::now() + OTHER_TARGETS_TIMEOUT);
                }
                resolved.insert(host, addresses);
            }
            Some(Ok((Err(reason), host))) => {
                unresolved.insert(host, reason);
            }
            Some(Err(_)) => {}
        }
    }
    for host in hosts.iter().filter(|host| !resolved.contains_key(*host)) {
        unresolved.entry(host.clone()).or_insert_with(|| "no response from DNS yet".to_owned());
    }
    (resolved, unresolved)
}

/// The weights of services as those of endpoints: of one priority in the same proportion.
fn weights(services: &[SRV]) -> Vec<u32> {
    let mut tiers: BTreeMap<u16, Vec<u32>> = BTreeMap::new();
    for service in services {
        tiers.entry(service.priority).or_default().push(service.weight.into());
    }
    let scale = |service: &SRV| {
        let tier = tiers.get(&service.priority).map(Vec::as_slice).unwrap_or_default();
        let max = tier.iter().copied().max().unwrap_or_default();
        let divisor = tier.iter().copied().fold(0, gcd).max(1);
        let weight = u32::from(service.weight);
        if max == 0 {
            1
        } else if tier.contains(&0) || max / divisor > MAX_ENDPOINT_WEIGHT {
            // 0 is for a very small chance there (RFC 2782), and for none in a schedule.
            ((weight * MAX_ENDPOINT_WEIGHT + max / 2) / max).max(1)
        } else if max > MAX_ENDPOINT_WEIGHT {
            weight / divisor
        } else {
            weight
        }
    };
    services.iter().map(scale).collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::proto::rr::Name;

    fn scaled(services: &[(u16, u16)]) -> Vec<u32> {
        let service = |&(priority, weight)| SRV::new(priority, weight, 80, Name::root());
        weights(&services.iter().map(service).collect::<Vec<_>>())
    }

    #[test]
    fn scaled_weights_keep_their_proportion() {
        assert_eq!(scaled(&[(1, 30), (1, 10)]), [30, 10]);
        assert_eq!(scaled(&[(1, 60_000), (1, 20_000), (1, 40_000)]), [3, 1, 2]);
        assert_eq!(scaled(&[(1, 65_535), (1, 65_535), (1, 65_535)]), [1, 1, 1]);
        assert_eq!(scaled(&[(1, 65_535), (1, 32_768), (1, 1)]), [1000, 500, 1]);
    }

    #[test]
    fn weight_of_zero_has_a_very_small_chance_beside_others() {
        assert_eq!(scaled(&[(1, 0), (1, 0)]), [1, 1]);
        assert_eq!(scaled(&[(1, 0), (1, 10), (1, 5)]), [1, 1000, 500]);
    }

    #[test]
    fn each_priority_has_its_own_scale() {
        assert_eq!(scaled(&[(1, 1), (2, 65_535), (2, 13_107)]), [1, 5, 1]);
    }
}
