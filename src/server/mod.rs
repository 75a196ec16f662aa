//! The process of the gateway: listeners, signals, start, reload and stop. Decides nothing about single requests.

mod accepted;
mod apply;
mod client_stream;
mod connection;
mod discover;
mod engine;
mod files;
mod guard;
mod handle;
mod handover;
mod http1;
mod http2;
mod listen;
mod notify;
mod pre_http_response;
mod preflight;
mod proxy_protocol;
mod reload;
mod run_error;
mod settled_files;
mod signals;
mod snapshot_tasks;
mod socket;
mod start;
mod start_successor;
mod stop;
mod supervise;
mod tasks;
mod tasks_guard;
mod watchdog;

pub use handle::{Handle, HandleError};
pub(crate) use handover::{HandoverSocket, RunningGateway, query_running};
pub(crate) use preflight::preflight;
pub(crate) use run_error::EXIT_BAD_CONFIGURATION;
pub use run_error::RunError;
pub(crate) use signals::{HandledSignals, RequestedSignals, ShutdownSignal};

use crate::filter::FilterRegistry;
use crate::snapshot::Snapshot;
use crate::telemetry::log as own_log;
use handover::InheritedListeners;
use signals::Signals;
use std::path::PathBuf;
use std::sync::Arc;
use tasks_guard::TasksGuard;
use tidegate_config::{LoadedConfig, Variables};
use tokio::sync::watch;

/// A gateway that is ready to run.
pub(crate) struct Server {
    /// The first snapshot.
    pub snapshot: Snapshot,
    /// What it was compiled from.
    pub read: LoadedConfig,
    /// Where that was read from, unless it was made in code.
    pub file: Option<(PathBuf, Variables)>,
    /// The filters that the program brings along.
    pub filters: Arc<FilterRegistry>,
    /// Stops the gateway as SIGTERM does, when it completes.
    pub shutdown: Option<ShutdownSignal>,
    /// Which signals it handles.
    pub signals: HandledSignals,
    /// Whether the process is the gateway's own: its end is the process's, and the service manager hears of it.
    pub is_program: bool,
    /// What the program's handles request of it.
    pub requests: RequestedSignals,
    /// Where it meets the gateways before and after it.
    pub handover_socket: Option<HandoverSocket>,
    /// Whether it takes the listeners of the gateway before it.
    pub takes_over: bool,
    /// Whether SIGUSR2 starts the program anew.
    pub upgrades_on_signal: bool,
}

impl Server {
    /// Runs until a signal says stop and all is finished, or the time for that is over. A run that is dropped before
    /// ends as it is.
    pub(crate) async fn run(self) -> Result<(), RunError> {
        let Self { snapshot, read, file, filters, shutdown, signals, is_program, .. } = self;
        let Self { requests, handover_socket, takes_over, upgrades_on_signal, .. } = self;
        own_log::start_logging(snapshot.log.0, snapshot.log.1);
        // Before there is anything to connect to: who sees a port open may send a signal.
        let signals = Signals::listen(shutdown, signals, requests);
        let mut signals = signals.map_err(RunError::Signals)?;
        let startup = snapshot.startup.clone();
        let bound = start::bind(&startup, handover_socket, takes_over, &mut signals).await?;
        let Some(bound) = bound else { return Ok(()) };
        let sources = start::ConfigSources { read, file, filters, takes_over };
        let built = start::build_state(snapshot, sources, &bound.listeners).await;
        for revocation in bound.inherited.iter().flat_map(InheritedListeners::revoked) {
            built.state.sessions.revocations().take_over(*revocation);
        }
        let (stop_admin, admin_stopping) = watch::channel(false);
        let mut guard = TasksGuard {
            connections: Arc::clone(&built.tasks),
            discovery: Arc::clone(&built.configuration.discovery),
            stop_admin: Arc::new(stop_admin),
            watching: vec![built.watching_memory.clone()],
        };
        let listeners = start::spawn_listeners(bound.listeners, &startup, &built).await?;
        let stopping = (Arc::clone(&guard.stop_admin), admin_stopping);
        let admin = start::spawn_admin(bound.admin, &built.state, &listeners.arrivals, &stopping);
        let announced =
            start::announce(bound.handover, bound.inherited, &built, &admin, is_program).await;
        let start::BuiltGateway { state, tasks, configuration, .. } = built;
        guard.watching.push(configuration.spawn_watcher(state.clone(), admin.ordered));
        let stop = supervise::supervise(
            &mut signals,
            &state,
            &announced,
            &admin.orders,
            upgrades_on_signal,
        )
        .await;
        // The donor's handles would let who connects after the end wait in vain instead of being
        // refused.
        drop(announced);
        let shutdown = stop::Shutdown {
            state,
            tasks,
            readiness: admin.readiness,
            services: listeners.services,
            proxies: listeners.proxies,
            stop_accepting: listeners.stop_accepting,
            stop_admin: Arc::clone(&guard.stop_admin),
            files: bound.files,
            is_program,
        };
        shutdown.run(stop, &mut signals).await;
        log::info!("stopped");
        Ok(())
    }
}
