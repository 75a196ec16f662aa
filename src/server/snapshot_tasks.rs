//! The tasks that a snapshot needs while it is in force: orders of certificates, exports, health checks.
//! It knows nothing of requests.

use crate::acme::ManagedCertificate;
use crate::background;
use crate::snapshot::{DrainSettings, Snapshot};
use crate::websocket::{End, Initiator, OnChange, SessionRegistry, SessionSelector, close_spread};
use std::sync::Arc;

/// Starts the tasks of a snapshot that is about to be in force; they end with it. Needs a runtime.
pub(super) fn start(snapshot: &mut Snapshot, sessions: &Arc<SessionRegistry>) {
    snapshot.managed().for_each(ManagedCertificate::start_renewal);
    if let Some(tracing) = &snapshot.global.tracing {
        tracing.exporter().start();
    }
    if let Some(shared) = &snapshot.global.shared {
        shared.start();
        if !snapshot.schemes.is_empty() {
            shared.start_revocations(sessions);
        }
    }
    sessions.revocations().set_remember(snapshot.remember_revocations);
    for kept in snapshot.schemes.values() {
        Arc::clone(&kept.scheme).start();
    }
    let Snapshot { probes, pools, probing, drain, .. } = snapshot;
    for (name, probe) in &*probes {
        if let Some(pool) = pools.get(name) {
            let (sessions, drain) = (Arc::clone(sessions), *drain);
            let upstream = Arc::clone(pool.name());
            probing.start(pool, probe, move |endpoint| {
                release_sessions(&sessions, &upstream, endpoint, drain)
            });
        }
    }
}

/// Drains or closes the sessions on an unhealthy endpoint, as `on_change` of their routes says.
fn release_sessions(
    sessions: &SessionRegistry,
    upstream: &str,
    endpoint: &str,
    drain: DrainSettings,
) {
    let on_it = sessions.select(&SessionSelector::default()).into_iter().filter(|session| {
        *session.identity.upstream == *upstream
            && session.endpoint().is_some_and(|(_, written)| *written == *endpoint)
    });
    let (mut drained, mut closed) = (Vec::new(), Vec::new());
    for session in on_it {
        match session.identity.on_change {
            OnChange::Keep => {}
            OnChange::Drain => drained.push(session),
            OnChange::Close => closed.push(session),
        }
    }
    if drained.is_empty() && closed.is_empty() {
        return;
    }
    log::info!(
        "upstream `{upstream}`: endpoint {endpoint} is unhealthy; the gateway drains {} of its \
         WebSocket sessions and closes {} at once",
        drained.len(),
        closed.len()
    );
    let reason = "the endpoint behind the gateway is unhealthy";
    let request = End::new(Initiator::Drain, drain.code, reason);
    for session in closed {
        session.request_close(request.clone());
    }
    background::spawn("closing sessions", close_spread(drained, request, drain.spread));
}
