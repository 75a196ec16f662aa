//! Asks one question of DNS again and again, and notes the answers.
//! It knows nothing of pools.

use super::lookup::{Lookups, resolver};
use super::services::ask;
use super::{DiscoveredEndpoint, Discovery, DnsQuery};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// The soonest that a name is asked for again, whatever its TTL.
const MIN_LOOKUP_INTERVAL: Duration = Duration::from_secs(1);

/// The latest.
const MAX_LOOKUP_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// How long after a failure it is asked for again.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

impl Discovery {
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

pub(super) async fn keep_asking(discovery: Arc<Discovery>, query: DnsQuery) {
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
