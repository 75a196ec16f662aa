//! The process of the gateway: listeners, signals, start, reload and stop. Decides nothing about single requests.

mod accepted;
mod apply;
mod client_stream;
mod connection;
mod discover;
mod engine;
mod files;
mod guard;
mod handover;
mod http1;
mod http2;
mod listen;
mod notify;
mod pre_http_response;
mod preflight;
mod proxy_protocol;
mod reload;
mod renew;
mod rest;
mod signals;
mod snapshot_tasks;
mod socket;
mod start;
mod stop;
mod supervise;
mod tasks;
mod watchdog;

pub(crate) use handover::{HandoverSocket, RunningGateway, ask};
pub use listen::StartError;
pub(crate) use preflight::preflight;

use crate::filter::Registry as FilterRegistry;
use crate::snapshot::Snapshot;
use crate::telemetry::log as own_log;
use signals::Signals;
use std::path::PathBuf;
use std::sync::Arc;
use tidegate_config::{LoadedConfig, Variables};
use tokio::sync::oneshot;

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
    /// Stops the gateway as SIGTERM does, when it resolves.
    pub stop: Option<oneshot::Receiver<()>>,
    /// Whether SIGTERM and SIGINT stop it.
    pub heeds_signals: bool,
    /// Where it meets the gateways before and after it.
    pub handover_socket: Option<HandoverSocket>,
    /// Whether it takes the listeners of the gateway before it.
    pub takes_over: bool,
    /// Whether SIGUSR2 starts the program anew.
    pub renews: bool,
}

impl Server {
    /// Runs until a signal says stop and all is finished, or the time for that is over.
    pub(crate) async fn run(self) -> Result<(), StartError> {
        let Self { snapshot, read, file, filters, stop, heeds_signals, .. } = self;
        let Self { handover_socket, takes_over, renews, .. } = self;
        own_log::set(snapshot.log.0, snapshot.log.1);
        // Before there is anything to connect to: who sees a port open may send a signal.
        let mut signals = Signals::listen(stop, heeds_signals).map_err(StartError::Signals)?;
        let startup = snapshot.startup.clone();
        let bound = start::bind(&startup, handover_socket, takes_over, &mut signals).await?;
        let Some(bound) = bound else { return Ok(()) };
        let sources = start::Sources { read, file, filters, takes_over };
        let built = start::build_state(snapshot, sources, &bound.listeners).await;
        let listeners = start::spawn_listeners(bound.listeners, &startup, &built).await?;
        let admin = start::spawn_admin(bound.admin, &built.state, &listeners.arrivals);
        let announced = start::announce(bound.kept, bound.taken, &built, &admin).await;
        let start::BuiltGateway { state, tasks, configuration, .. } = built;
        configuration.follow(state.clone(), admin.ordered);
        let stop =
            supervise::supervise(&mut signals, &state, &announced, &admin.orders, renews).await;
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
            stop_admin: admin.stop,
            files: bound.files,
            ends_process: heeds_signals,
        };
        shutdown.run(stop, &mut signals).await;
        log::info!("stopped");
        Ok(())
    }
}
