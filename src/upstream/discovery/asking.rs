//! Repeats one DNS query by its TTL, and records the answers. Knows nothing of pools.

use super::lookup::{Lookups, resolver};
use super::services::lookup_services;
use super::{DiscoveredEndpoint, Discovery, DnsQuery};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Minimum time between two lookups of a name, whatever its TTL.
const MIN_LOOKUP_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum time between two lookups of a name.
const MAX_LOOKUP_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Wait after a failed lookup.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

impl Discovery {
    /// Whether this is another answer than the last one.
    fn record_answer(&self, query: &DnsQuery, mut found: Vec<DiscoveredEndpoint>) -> bool {
        found.sort();
        found.dedup();
        let mut asking = self.lock_tasks();
        let Some(asking) = asking.get_mut(query) else { return false };
        let is_new = asking.last_endpoints.as_ref() != Some(&found);
        if is_new {
            asking.last_endpoints = Some(found);
        }
        is_new
    }
}

pub(super) async fn lookup_forever(discovery: Arc<Discovery>, query: DnsQuery) {
    let resolver = match resolver(query.server) {
        Ok(resolver) => resolver,
        Err(reason) => {
            log::error!(
                "DNS discovery: cannot create the resolver for {query}: {reason}; its upstream \
                 gets no endpoints from DNS"
            );
            return;
        }
    };
    let lookups = Lookups::new(resolver);
    let mut has_failed = false;
    let mut unresolved = BTreeMap::new();
    loop {
        match lookup_services(&lookups, &query.records).await {
            Ok(answer) => {
                if std::mem::take(&mut has_failed) {
                    log::info!("DNS discovery: {query} resolves again");
                }
                report_targets(&query, &unresolved, &answer.unresolved);
                unresolved = answer.unresolved;
                let count = answer.found.len();
                let is_unavailable = answer.is_unavailable;
                if discovery.record_answer(&query, answer.found) {
                    match count {
                        0 if is_unavailable => log::warn!(
                            "DNS discovery: {query} has no endpoints: its SRV target is `.`, so \
                             the service is not available"
                        ),
                        0 => log::warn!(
                            "DNS discovery: {query} has no endpoints: the DNS response lists none"
                        ),
                        count => log::info!("DNS discovery: {query} has {count} endpoints"),
                    }
                    discovery.changes.send_modify(|changes| *changes += 1);
                }
                let left = answer.valid_until.saturating_duration_since(Instant::now());
                let latest = if answer.is_partial { RETRY_INTERVAL } else { MAX_LOOKUP_INTERVAL };
                sleep(left.clamp(MIN_LOOKUP_INTERVAL, latest)).await;
            }
            Err(error) => {
                if !std::mem::replace(&mut has_failed, true) {
                    log::warn!(
                        "DNS discovery: {query} does not resolve: {error}; its last known \
                         endpoints stay in use"
                    );
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
        log::warn!(
            "DNS discovery: the target {target} of {query} does not resolve ({reason}) and gets \
             no requests"
        );
    }
    for target in before.keys().filter(|target| !now.contains_key(*target)) {
        log::info!(
            "DNS discovery: the target {target} of {query} resolves again, or DNS no longer \
             lists it"
        );
    }
}
