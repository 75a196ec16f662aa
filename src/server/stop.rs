use super::notify;
use super::signals::{Signals, Stop};
use super::socket::Files;
use crate::admin::Readiness;
use crate::generation::{Drain, Live};
use crate::load::InFlight;
use crate::proxy::Proxy;
use crate::websocket::{End, Initiator, Registry, Selector, close_spread};
use pingora::apps::ServerApp;
use pingora_proxy::HttpProxy;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long after the last request the sockets get to send what is left.
const FLUSH: Duration = Duration::from_millis(50);

/// How long a session may need to close.
const CLOSING: Duration = Duration::from_secs(5);

/// How long SIGINT waits for what is under way.
const HASTY_GRACE: Duration = Duration::from_millis(500);

/// How long kept connections may stay after a handover for one more request, which tells their
/// clients to make new ones; no more than a quarter of the grace.
const LINGER: Duration = Duration::from_secs(5);

/// All that ends when the gateway does.
pub(super) struct Ending {
    pub(super) live: Arc<Live>,
    pub(super) sessions: Arc<Registry>,
    pub(super) in_flight: Arc<InFlight>,
    pub(super) readiness: Arc<Readiness>,
    /// What accepts connections.
    pub(super) services: Vec<JoinHandle<()>>,
    pub(super) proxies: Vec<Arc<HttpProxy<Proxy>>>,
    /// Each connection holds a receiver as well: when all are gone, so are the connections.
    pub(super) stop_accepting: watch::Sender<bool>,
    pub(super) stop_admin: Arc<watch::Sender<bool>>,
    pub(super) files: Files,
}

impl Ending {
    /// Lets what is under way come to its end, for as long as there is.
    pub(super) async fn run(self, stop: Stop, signals: &mut Signals) {
        let Self { live, sessions, in_flight, readiness, services, proxies, .. } = self;
        let Self { stop_accepting, stop_admin, files, .. } = self;
        let mut grace = match stop {
            Stop::Gracefully | Stop::Replaced(_) => live.load().grace,
            Stop::Fast => HASTY_GRACE,
        };
        if !matches!(stop, Stop::Replaced(_)) {
            // At its address, the new process is ready.
            readiness.stop();
        }
        let delay = live.load().delay;
        match stop {
            Stop::Replaced(process) => {
                log::info!("upgrade: process {process} serves");
                notify::successor(process, &format!("process {process} has taken over"));
                let _ = stop_admin.send(true);
            }
            Stop::Gracefully if !delay.is_zero() => {
                let next = format!("stopping: not ready any more, accepting for {delay:?}");
                log::info!("{next}");
                notify::stopping(&next);
                tokio::select! {
                    () = tokio::time::sleep(delay) => {}
                    () = signals.fast_stop() => grace = HASTY_GRACE,
                }
            }
            _ => {}
        }
        let count = in_flight.count();
        let next = format!(
            "stopping: no new connections; {count} requests and sessions under way, up to {grace:?} for them"
        );
        log::info!("{next}");
        if !matches!(stop, Stop::Replaced(_)) {
            notify::stopping(&next);
        }
        let _ = stop_accepting.send(true);
        let finished = async {
            for service in services {
                let _ = service.await;
            }
            let mut left = grace;
            if let Stop::Replaced(_) = stop {
                // A client that has just sent a request on a connection that lay idle must not
                // find it closed. Who was accepted last may still open a WebSocket.
                let linger = LINGER.min(grace / 4);
                left -= linger;
                let _ = tokio::time::timeout(linger, stop_accepting.closed()).await;
            }
            for proxy in proxies {
                proxy.cleanup().await;
            }
            sessions.set_draining(true);
            tokio::join!(drain(&sessions, live.load().drain, left), in_flight.none());
        };
        tokio::select! {
            () = finished => tokio::time::sleep(FLUSH).await,
            () = tokio::time::sleep(grace) => {
                log::warn!("stopping: {} still under way after {grace:?}, cut off", in_flight.count());
            }
            () = signals.fast_stop() => log::warn!("stopping at once, {} cut off", in_flight.count()),
        }
        if let Some(log) = &live.load().edge.access_log {
            log.sink().flush();
        }
        if let Some(tracing) = &live.load().edge.tracing {
            let exporter = Arc::clone(tracing.exporter());
            let _ = tokio::task::spawn_blocking(move || exporter.finish()).await;
        }
        if !matches!(stop, Stop::Replaced(_)) {
            files.remove();
        }
    }
}

/// Closes all sessions, over no more of the grace than leaves time for their answers.
fn drain(sessions: &Registry, drain: Drain, grace: Duration) -> impl Future<Output = ()> {
    let order = End::new(Initiator::Drain, drain.code, "the gateway stops");
    let over = drain.spread.min(grace.saturating_sub(CLOSING).max(grace / 2));
    close_spread(sessions.select(&Selector::default()), order, over)
}
