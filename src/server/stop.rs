//! Stops the gateway: lets requests and sessions end, then cuts off the rest. Decides not when.

use super::engine::Engine;
use super::notify;
use super::signals::{Signals, StopMode};
use super::socket::UnixSocketFiles;
use super::tasks::Tasks;
use super::watchdog::Watchdog;
use crate::admin::Readiness;
use crate::snapshot::{CurrentSnapshot, DrainSettings};
use crate::state::State;
use crate::websocket::CLOSE_TIMEOUT;
use crate::websocket::{End, Initiator, SessionRegistry, SessionSelector, close_spread};
use pingora::apps::ServerApp;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Time after the last request for the sockets to send their buffers.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(50);

/// Maximum time for requests that are cut off to log their end.
const CUT_OFF_TIMEOUT: Duration = Duration::from_millis(300);

/// How long SIGINT waits for requests in flight.
const FAST_STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// Maximum time to write buffered logs and traces after the grace period.
const LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum time to write buffered logs and traces within the grace period.
const MAX_LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Time after the grace period at which the process is ended in any case.
const FORCED_EXIT_TIMEOUT: Duration = Duration::from_millis(1700);

/// How long idle connections stay open after a handover for one more request, whose response tells the client to open
/// a new connection; at most a quarter of the grace period.
const LINGER_TIMEOUT: Duration = Duration::from_secs(5);

/// Everything that ends with the gateway.
pub(super) struct Shutdown {
    pub(super) state: State,
    pub(super) tasks: Arc<Tasks>,
    pub(super) readiness: Arc<Readiness>,
    /// The tasks that accept connections.
    pub(super) services: Vec<JoinHandle<()>>,
    pub(super) proxies: Vec<Arc<Engine>>,
    /// Each connection holds a receiver: when no receiver is left, all connections have ended.
    pub(super) stop_accepting: watch::Sender<bool>,
    pub(super) stop_admin: Arc<watch::Sender<bool>>,
    pub(super) files: UnixSocketFiles,
    /// Whether the process is the gateway's own, so that it may be ended and the service manager notified.
    pub(super) is_program: bool,
}

impl Shutdown {
    /// Waits until everything in flight has ended, or the grace period is over.
    pub(super) async fn run(self, stop: StopMode, signals: &mut Signals) {
        let State { current, history, sessions, in_flight, .. } = self.state;
        let Self { readiness, services, proxies, stop_accepting, .. } = self;
        let Self { stop_admin, files, tasks, is_program, .. } = self;
        history.release();
        let mut grace = match stop {
            StopMode::Gracefully | StopMode::Replaced(_) => current.load().grace,
            StopMode::Fast => FAST_STOP_TIMEOUT,
        };
        let delay = current.load().delay;
        let guarded =
            |after| is_program.then(|| Watchdog::start(after + FORCED_EXIT_TIMEOUT)).flatten();
        let _at_the_latest = guarded(delay + grace);
        if !matches!(stop, StopMode::Replaced(_)) {
            // The new process already serves at its address.
            readiness.stop();
        }
        match stop {
            StopMode::Replaced(process) => {
                log::info!(
                    "upgrade: the new process {process} serves; this process finishes its \
                     requests and exits"
                );
                notify::successor(process, &format!("the new process {process} has taken over"));
                let _ = stop_admin.send(true);
            }
            StopMode::Gracefully if !delay.is_zero() => {
                let next = format!(
                    "stopping: /readyz answers 503; new connections are accepted for another \
                     {delay:?} (shutdown.delay)"
                );
                log::info!("{next}");
                if is_program {
                    notify::stopping(&next);
                }
                tokio::select! {
                    () = tokio::time::sleep(delay) => {}
                    () = signals.fast_stop() => grace = FAST_STOP_TIMEOUT,
                }
            }
            _ => {}
        }
        let mut deadline = Instant::now() + grace;
        let count = in_flight.count();
        let next = format!(
            "stopping: no new connections are accepted; {count} requests and sessions in flight \
             have up to {grace:?} to finish"
        );
        log::info!("{next}");
        if is_program && !matches!(stop, StopMode::Replaced(_)) {
            notify::stopping(&next);
        }
        let _ = stop_accepting.send(true);
        let finished = async {
            for service in services {
                let _ = service.await;
            }
            let mut left = grace;
            if let StopMode::Replaced(_) = stop {
                // A client that has just sent a request on a connection that lay idle must not
                // find it closed. Who was accepted last may still open a WebSocket.
                let linger = LINGER_TIMEOUT.min(grace / 4);
                left -= linger;
                let _ = tokio::time::timeout(linger, stop_accepting.closed()).await;
            }
            for proxy in proxies {
                proxy.cleanup().await;
            }
            tasks.abort_idle();
            sessions.set_draining(true);
            tokio::join!(drain(&sessions, current.load().drain, left), in_flight.wait_for_none());
        };
        tokio::select! {
            () = finished => tokio::time::sleep(FLUSH_TIMEOUT).await,
            () = tokio::time::sleep(grace) => {
                log::warn!(
                    "stopping: {} requests and sessions are still in flight after {grace:?} and \
                     are cut off",
                    in_flight.count()
                );
            }
            () = signals.fast_stop() => {
                log::warn!(
                    "stopping at once: {} requests and sessions in flight are cut off",
                    in_flight.count()
                );
                deadline = Instant::now();
            }
        }
        // The rest is cut off, which the access log shows.
        in_flight.mark_cut_off();
        tasks.abort_all();
        let _ = tokio::time::timeout(CUT_OFF_TIMEOUT, in_flight.wait_for_none()).await;
        let rest = deadline.saturating_duration_since(Instant::now());
        let rest = rest.clamp(LOG_FLUSH_TIMEOUT, MAX_LOG_FLUSH_TIMEOUT);
        let _now = guarded(rest - LOG_FLUSH_TIMEOUT);
        let _ = tokio::time::timeout(rest, write_out(&current, rest)).await;
        if !matches!(stop, StopMode::Replaced(_)) {
            files.remove();
        }
    }
}

/// Flushes the access log and the traces, on threads that may block.
async fn write_out(current: &CurrentSnapshot, bound: Duration) {
    let global = Arc::clone(&current.load().global);
    let log = global.access_log.as_ref().map(|log| Arc::clone(log.sink()));
    let exporter = global.tracing.as_ref().map(|tracing| Arc::clone(tracing.exporter()));
    let log = log.map(|sink| tokio::task::spawn_blocking(move || sink.flush(bound)));
    let traces = exporter.map(|it| tokio::task::spawn_blocking(move || it.finish()));
    for writing in [log, traces].into_iter().flatten() {
        let _ = writing.await;
    }
}

/// Closes all sessions over a part of the grace period, so that time remains for their close frames.
fn drain(
    sessions: &SessionRegistry,
    drain: DrainSettings,
    grace: Duration,
) -> impl Future<Output = ()> {
    let request = End::new(Initiator::Drain, drain.code, "the gateway stops");
    let over = drain.spread.min(grace.saturating_sub(CLOSE_TIMEOUT).max(grace / 2));
    close_spread(sessions.select(&SessionSelector::default()), request, over)
}
