//! Resolves the endpoints of the first snapshot by DNS before the gateway serves. Knows nothing of reloads.

use crate::filter::FilterRegistry;
use crate::snapshot::{CompileEnv, Snapshot, compile};
use crate::telemetry::LineSink;
use crate::upstream::Discovery;
use std::sync::Arc;
use std::time::Duration;
use tidegate_config::LoadedConfig;
use tokio::sync::watch;
use tokio::time::timeout;

/// Maximum time that a start or a reload waits for DNS; the configuration then applies without its answers.
pub(super) const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks DNS for endpoints, and compiles the snapshot again with them. The receiver that it
/// returns is notified of every later change in DNS.
pub(super) async fn discover(
    snapshot: &mut Snapshot,
    read: &LoadedConfig,
    filters: &FilterRegistry,
    discovery: &Arc<Discovery>,
) -> watch::Receiver<u64> {
    let mut changes = discovery.changes();
    if snapshot.dns_queries.is_empty() {
        return changes;
    }
    discovery.set_queries(&snapshot.dns_queries);
    let _ = timeout(RESOLVE_TIMEOUT, discovery.wait_until_all_answered()).await;
    changes.mark_unchanged();
    let env = CompileEnv {
        previous: Some(snapshot),
        discovery: Some(discovery),
        filters,
        open_sink: |target| LineSink::open(target).map(Some),
    };
    match compile(read.clone(), &env) {
        Ok(compiled) => *snapshot = Snapshot { number: snapshot.number, ..compiled },
        // It has been compiled before, and endpoints that are found are never wrong; but a factory of the program's
        // own may fail when it runs again.
        Err(problems) => log::error!(
            "cannot use the endpoints that DNS lists until the next reload:\n{problems}"
        ),
    }
    changes
}
