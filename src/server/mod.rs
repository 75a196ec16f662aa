//! The process around the gateway: listeners, signals, start and stop.

mod connection;
mod listen;
mod proxy_protocol;
mod signals;

pub use listen::BindError;

use crate::admin::Admin;
use crate::config::{Sources, Variables};
use crate::filter::Filter;
use crate::generation::{Drain, Generation, Live, Watch};
use crate::proxy::{InFlight, Proxy};
use crate::telemetry::log as own_log;
use crate::websocket::{End, Initiator, Registry, Selector, close_spread};
use connection::Connections;
use pingora::apps::HttpServerOptions;
use pingora::apps::http_app::HttpServer;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::server::configuration::ServerConf;
use pingora::server::{Fds, ListenFds};
use pingora::services::{Service as _, listening::Service};
use pingora_proxy::HttpProxy;
use signals::Stop;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// How long after the last request the sockets get to send what is left.
const FLUSH: Duration = Duration::from_millis(50);

/// How long a session may need to close.
const CLOSING: Duration = Duration::from_secs(5);

/// How long SIGINT waits for what is under way.
const HASTY_GRACE: Duration = Duration::from_millis(500);

/// How long names may take to resolve before the gateway starts without them.
const RESOLVE_AT_START: Duration = Duration::from_secs(2);

/// A gateway about to run.
pub struct Server {
    /// The first generation.
    pub generation: Generation,
    /// Where it was read from, unless it was made in code.
    pub file: Option<(PathBuf, Sources, Variables)>,
    /// The library user's filters.
    pub filters: Arc<[Arc<dyn Filter>]>,
    /// Stops the gateway as SIGTERM does, when it resolves.
    pub stop: Option<oneshot::Receiver<()>>,
    /// Whether SIGTERM and SIGINT stop it.
    pub heeds_signals: bool,
}

impl Server {
    /// Runs until a signal says stop and all is finished, or the time for that is over.
    pub async fn run(self) -> Result<(), BindError> {
        let Self { mut generation, file, filters, stop, heeds_signals } = self;
        own_log::set(generation.log.0, generation.log.1);
        let fixed = generation.fixed.clone();
        // Before there is anything to connect to: who sees a port open may send a signal.
        let mut signals =
            signals::Signals::listen(stop, heeds_signals).map_err(BindError::Signals)?;
        let sockets = listen::bind(fixed.listeners.iter().map(|(address, _)| *address))?;
        let admin = listen::bind(fixed.admin)?.pop();

        let resolving = async {
            for pool in generation.pools.values() {
                pool.resolve().await;
            }
        };
        let _ = tokio::time::timeout(RESOLVE_AT_START, resolving).await;
        generation.warn();
        let routes = generation.table.iter().count();
        let sessions = Arc::new(Registry::default());
        generation.begin(&sessions);
        let live = Arc::new(Live::new(generation));
        let in_flight = Arc::new(InFlight::default());

        let (stop_accepting, stopping) = watch::channel(false);
        let conf = Arc::new(ServerConf {
            threads: fixed.threads,
            // As many attempts as a request may need endpoints, and one for a connection that
            // the upstream closed while it lay idle.
            max_retries: 4,
            upstream_keepalive_pool_size: 1024,
            ..ServerConf::default()
        });
        let mut services = Vec::new();
        for (&(address, h2c), socket) in fixed.listeners.iter().zip(sockets) {
            let proxy = Proxy {
                listener: address,
                live: Arc::clone(&live),
                in_flight: Arc::clone(&in_flight),
                sessions: Arc::clone(&sessions),
            };
            let mut proxy = HttpProxy::new(proxy, Arc::clone(&conf));
            let mut options = HttpServerOptions::default();
            options.h2c = h2c;
            // Let through to `admission`, which refuses it with a reason and a log line.
            options.allow_connect_method_proxying = true;
            proxy.server_options = Some(options);
            proxy.h2_options = Some(http2());
            proxy.handle_init_modules();
            let connections = Connections::new(proxy, Arc::clone(&live), address);
            let address = address.to_string();
            let mut service = Service::new(format!("gateway {address}"), connections);
            // Heads and bodies are read into buffers of their own.
            let buffers = L4BufferSettings::default().read(0);
            service.add_listener(ListenerConfig::tcp(address.clone()).l4_buffer(buffers));
            let mut sockets = Fds::new();
            sockets.add(address, socket);
            let sockets: ListenFds = Arc::new(sockets.into());
            let stopping = stopping.clone();
            services.push(tokio::spawn(async move {
                service.start_service(Some(sockets), stopping, 1).await;
            }));
        }
        if let (Some(address), Some(socket)) = (fixed.admin, admin) {
            let admin = Admin { live: Arc::clone(&live), sessions: Arc::clone(&sessions) };
            let address = address.to_string();
            let mut service = Service::new(format!("admin {address}"), HttpServer::new_app(admin));
            service.add_listener(ListenerConfig::tcp(address.clone()));
            let mut sockets = Fds::new();
            sockets.add(address, socket);
            let sockets: ListenFds = Arc::new(sockets.into());
            // It answers until the very end: what is under way then is worth asking about.
            let (until_the_end, stopping) = watch::channel(false);
            tokio::spawn(async move {
                service.start_service(Some(sockets), stopping, 1).await;
                drop(until_the_end);
            });
        }
        let addresses: Vec<String> =
            fixed.listeners.iter().map(|(address, _)| address.to_string()).collect();
        log::info!("listening on {}, {routes} routes, ready", addresses.join(", "));

        let (reload, reloads) = mpsc::channel(1);
        if let Some((path, sources, variables)) = file {
            let (live, sessions) = (Arc::clone(&live), Arc::clone(&sessions));
            let watch = Watch { path, live, filters, sessions, variables };
            tokio::spawn(watch.run(sources, reloads));
        }
        let stop = loop {
            match signals.next().await {
                signals::Signal::Reload => {
                    if let Some(log) = &live.load().edge.access_log {
                        log.sink().reopen();
                    }
                    // One that waits already will read the newest file as well.
                    let _ = reload.try_send(());
                }
                signals::Signal::Stop(stop) => break stop,
            }
        };
        let grace = match stop {
            Stop::Gracefully => live.load().grace,
            Stop::Fast => HASTY_GRACE,
        };
        let count = in_flight.count();
        log::info!(
            "stopping: no new connections; {count} requests and sessions under way, up to {grace:?} for them"
        );
        let _ = stop_accepting.send(true);
        sessions.set_draining(true);
        let draining = drain(&sessions, live.load().drain, grace);
        let finished = async {
            for service in services {
                let _ = service.await;
            }
            tokio::join!(draining, in_flight.none());
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
        log::info!("stopped");
        Ok(())
    }
}

/// HTTP/2 with bounds for strangers. What a client may make the `h2` crate hold or do without end
/// (resets, CONTINUATION frames, settings, pings) it bounds itself, and ends with GOAWAY.
fn http2() -> H2Options {
    let mut options = default_h2_options();
    // WebSockets by HTTP/2 (RFC 8441).
    options.enable_connect_protocol();
    options
}

/// Closes all sessions, over no more of the grace than leaves time for their answers.
fn drain(sessions: &Registry, drain: Drain, grace: Duration) -> impl Future<Output = ()> {
    let order = End::new(Initiator::Drain, drain.code, "the gateway stops");
    let over = drain.spread.min(grace.saturating_sub(CLOSING).max(grace / 2));
    close_spread(sessions.select(&Selector::default()), order, over)
}
