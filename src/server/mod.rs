//! The process around the gateway: listeners, signals, start and stop.

mod accepted;
mod apply;
mod bare;
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
mod preflight;
mod proxy_protocol;
mod reload;
mod renew;
mod rest;
mod signals;
mod snapshot_tasks;
mod socket;
mod stop;
mod tasks;
mod watchdog;

pub(crate) use handover::{Place, Running, ask};
pub use listen::BindError;
pub(crate) use preflight::preflight;

use crate::admin::{Admin, Readiness};
use crate::background;
use crate::cache::Cache;
use crate::filter::Filter;
use crate::history::{History, Order};
use crate::load::{self, Arrivals, ConnectionLimiter, Evictor, InFlight, Overload};
use crate::proxy::Proxy;
use crate::snapshot::{CurrentSnapshot, Snapshot};
use crate::telemetry::log as own_log;
use crate::upstream::{Discovery, set_file_limit};
use crate::websocket::Registry;
use apply::Force;
use connection::Connections;
use discover::discover;
use guard::Watchman;
use handover::{Keeper, RunningAdmin, Taken};
use pingora::apps::http_app::HttpServer;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::server::configuration::ServerConf;
use pingora::server::{Fds, ListenFds};
use pingora::services::{Service as _, listening::Service};
use reload::Watch;
use signals::Stop;
use socket::{Files, Socket};
use std::fs::Permissions;
use std::os::fd::IntoRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use stop::Ending;
use tasks::Tasks;
use tidegate_config::{LoadedConfig, Variables};
use tidegate_http::address::Address;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// Who may use the admin endpoint at a Unix domain socket: the gateway's user.
const ADMIN_MODE: u32 = 0o600;

/// How long names may take to resolve before the gateway starts without them.
const RESOLVE_AT_START: Duration = Duration::from_secs(2);

/// A gateway about to run.
pub(crate) struct Server {
    /// The first snapshot.
    pub snapshot: Snapshot,
    /// What it was compiled from.
    pub read: LoadedConfig,
    /// Where that was read from, unless it was made in code.
    pub file: Option<(PathBuf, Variables)>,
    /// The library user's filters.
    pub filters: Arc<[Arc<dyn Filter>]>,
    /// Stops the gateway as SIGTERM does, when it resolves.
    pub stop: Option<oneshot::Receiver<()>>,
    /// Whether SIGTERM and SIGINT stop it.
    pub heeds_signals: bool,
    /// Where it meets the gateways before and after it.
    pub place: Option<Place>,
    /// Whether it takes the listeners of the gateway before it.
    pub takes_over: bool,
    /// Whether SIGUSR2 starts the program anew.
    pub renews: bool,
}

impl Server {
    /// Runs until a signal says stop and all is finished, or the time for that is over.
    pub(crate) async fn run(self) -> Result<(), BindError> {
        let Self { mut snapshot, read, file, filters, stop, heeds_signals, .. } = self;
        let (place, takes_over, renews) = (self.place, self.takes_over, self.renews);
        own_log::set(snapshot.log.0, snapshot.log.1);
        let startup = snapshot.startup.clone();
        // Before there is anything to connect to: who sees a port open may send a signal.
        let mut signals =
            signals::Signals::listen(stop, heeds_signals).map_err(BindError::Signals)?;
        let mut taken = match (&place, takes_over) {
            (Some(place), true) => tokio::select! {
                taken = Taken::from(place) => Some(taken.map_err(BindError::Handover)?),
                () = signals.stopped() => {
                    log::info!("stopped before the running gateway handed over its listeners");
                    return Ok(());
                }
            },
            _ => None,
        };
        let addresses = startup.listeners.iter().cloned().zip(startup.modes.iter().copied());
        // Who sees a listener's port open may connect to the admin endpoint, so that comes first.
        let addresses = startup.admin.iter().map(|it| (it.clone(), ADMIN_MODE)).chain(addresses);
        let mut admin = listen::bind(addresses, &mut taken)?;
        let sockets = admin.split_off(usize::from(startup.admin.is_some()));
        let files = Files::of(sockets.iter().chain(&admin).map(|(address, _)| address));
        let kept = place.map(|place| (place, duplicates(sockets.iter().chain(&admin))));

        let discovery = Arc::new(Discovery::default());
        let discovered = discover(&mut snapshot, &read, &filters, &discovery).await;
        let resolving = async {
            for pool in snapshot.pools.values() {
                pool.resolve().await;
            }
        };
        let _ = tokio::time::timeout(RESOLVE_AT_START, resolving).await;
        snapshot.warn();
        snapshot.warn_of_empty_files(None);
        let routes = snapshot.table.iter().count();
        let sessions = Arc::new(Registry::default());
        let cache = Arc::new(Cache::default());
        cache.apply(snapshot.cache);
        snapshot_tasks::start(&mut snapshot, &sessions);
        let history = Arc::new(History::open(
            read.state_dir().as_deref(),
            file.as_ref().map(|(file, _)| file.as_path()),
            takes_over,
        ));
        snapshot.number = history.begin(apply::files(&read.sources));
        let bound: Vec<_> = sockets.iter().map(|(written, it)| it.address(written)).collect();
        let addresses: Vec<String> = bound.iter().map(ToString::to_string).collect();
        let current = Arc::new(CurrentSnapshot::new(snapshot, bound));
        let in_flight = Arc::new(InFlight::default());
        let most = files::raise_limit();
        set_file_limit(most);
        let most = load::max_connections(most);
        let places = Arc::new(ConnectionLimiter::new(most));
        let overload = Arc::new(Overload::new(most));
        let tasks = Arc::new(Tasks::default());
        let end_connections = {
            let tasks = Arc::clone(&tasks);
            Arc::new(move |client| tasks.abort_of(client))
        };
        let watch_memory = {
            let (current, overload) = (Arc::clone(&current), Arc::clone(&overload));
            let (clients, sessions) = (Arc::clone(places.clients()), Arc::clone(&sessions));
            move || {
                let (clients, sessions) = (Arc::clone(&clients), Arc::clone(&sessions));
                let evictor = Evictor::new(clients, sessions, end_connections.clone());
                load::watch_memory(Arc::clone(&current), Arc::clone(&overload), evictor)
            }
        };
        background::keep("memory", watch_memory);

        let (stop_accepting, stopping) = watch::channel(false);
        let conf = Arc::new(ServerConf {
            threads: startup.threads,
            // As many attempts as a route may ask for, and one for a connection that the upstream
            // closed while it lay idle.
            max_retries: 11,
            upstream_keepalive_pool_size: startup.upstream_pool_size,
            ..ServerConf::default()
        });
        let mut services = Vec::new();
        let mut proxies = Vec::new();
        let mut arrivals = Vec::new();
        let modes = startup.modes.iter().copied();
        for ((address, socket), mode) in sockets.into_iter().zip(modes) {
            let proxy = Proxy {
                listener: address.clone(),
                current: Arc::clone(&current),
                in_flight: Arc::clone(&in_flight),
                overload: Arc::clone(&overload),
                places: Arc::clone(&places),
                sessions: Arc::clone(&sessions),
                cache: Arc::clone(&cache),
            };
            let proxy = engine::build(proxy, &conf).await.map_err(BindError::Engine)?;
            proxies.push(Arc::clone(&proxy));
            let (current, places) = (Arc::clone(&current), Arc::clone(&places));
            let arriving = Arc::new(Arrivals::new(address.clone()));
            arrivals.push(Arc::clone(&arriving));
            let connections =
                Connections::new(proxy, current, places, arriving, Arc::clone(&tasks));
            let mut service = Service::new(format!("gateway {address}"), connections);
            // Heads and bodies are read into buffers of their own.
            let buffers = L4BufferSettings::default().read(0);
            let (config, name) = inherited(&address, mode);
            service.add_listener(config.l4_buffer(buffers));
            let mut sockets = Fds::new();
            sockets.add(name, socket.into_raw_fd());
            let sockets: ListenFds = Arc::new(sockets.into());
            let stopping = stopping.clone();
            services.push(background::spawn(format!("listener {address}"), async move {
                service.start_service(Some(sockets), stopping, 1).await;
            }));
        }
        current.load().probing.release();
        // Each connection has one as well: when all are gone, so are the connections.
        drop(stopping);
        let arrivals: Arc<[Arc<Arrivals>]> = arrivals.into();
        let readiness = Arc::new(Readiness::default());
        // The admin endpoint answers until the very end: what is under way then is worth asking
        // about. When another process has its socket, that one is to be asked.
        let (orders, ordered) = mpsc::channel(1);
        let (stop_admin, stopping) = watch::channel(false);
        let stop_admin = Arc::new(stop_admin);
        let admin_address = admin.first().map(|(written, socket)| socket.address(written));
        for (address, socket) in admin {
            let admin = Admin {
                address: address.clone(),
                current: Arc::clone(&current),
                sessions: Arc::clone(&sessions),
                cache: Arc::clone(&cache),
                readiness: Arc::clone(&readiness),
                in_flight: Arc::clone(&in_flight),
                overload: Arc::clone(&overload),
                places: Arc::clone(&places),
                arrivals: Arc::clone(&arrivals),
                history: Arc::clone(&history),
                orders: orders.clone(),
                since: Instant::now(),
            };
            let mut service = Service::new(format!("admin {address}"), HttpServer::new_app(admin));
            let (config, name) = inherited(&address, ADMIN_MODE);
            service.add_listener(config);
            let mut sockets = Fds::new();
            sockets.add(name, socket.into_raw_fd());
            let sockets: ListenFds = Arc::new(sockets.into());
            let (until_the_end, stopping) = (Arc::clone(&stop_admin), stopping.clone());
            background::spawn("admin endpoint", async move {
                service.start_service(Some(sockets), stopping, 1).await;
                drop(until_the_end);
            });
        }
        let serving = format!("listening on {}, {routes} routes", addresses.join(", "));
        let running_admin = RunningAdmin { address: admin_address, current: Arc::clone(&current) };
        let keeper = kept.and_then(|(place, sockets)| keep(place, sockets, running_admin));
        if let Some(taken) = taken {
            taken.ready().await;
        }
        log::info!("{serving}, ready");
        notify::ready(&serving);

        let force = Force {
            read,
            file,
            current: Arc::clone(&current),
            filters,
            sessions: Arc::clone(&sessions),
            cache,
            discovery,
            history: Arc::clone(&history),
            watchman: Watchman::default(),
        };
        background::spawn("configuration", Watch::new(force).run(ordered, discovered));
        let mut handing: Option<JoinHandle<Result<u32, String>>> = None;
        let stop = loop {
            let signal = tokio::select! {
                signal = signals.next() => signal,
                given = finished(&mut handing) => {
                    handing = None;
                    match given {
                        Ok(process) => break Stop::Replaced(process),
                        Err(reason) => {
                            log::error!("no upgrade: {reason}; this gateway goes on serving");
                            notify::status(&format!("{serving}; no upgrade: {reason}"));
                        }
                    }
                    continue;
                }
            };
            match signal {
                signals::Signal::Reopen => reopen(&current),
                signals::Signal::Reload => {
                    reopen(&current);
                    notify::reloading();
                    let (done, reloaded) = oneshot::channel();
                    // One that waits already will read the newest file as well.
                    let _ = orders.try_send(Order::Reload(done));
                    let serving = serving.clone();
                    tokio::spawn(async move {
                        let _ = reloaded.await;
                        notify::ready(&serving);
                    });
                }
                signals::Signal::Upgrade => match &keeper {
                    Some(keeper) if handing.is_none() => {
                        log::info!("upgrade: handing the listeners over");
                        let keeper = Arc::clone(keeper);
                        handing = Some(tokio::spawn(async move { keeper.give().await }));
                    }
                    Some(_) => log::warn!("an upgrade is under way already"),
                    None => log::error!("no upgrade: this gateway can't hand its listeners over"),
                },
                signals::Signal::Renew if renews && keeper.is_some() => renew::start(),
                signals::Signal::Renew => {
                    log::error!("no upgrade: this program can't start itself anew")
                }
                signals::Signal::Stop(stop) => break stop,
            }
        };
        // The keeper's handles would let who connects after the end wait in vain instead of being
        // refused.
        if let Some(handing) = handing {
            handing.abort();
        }
        drop(keeper);
        let ending = Ending {
            current,
            history,
            sessions,
            in_flight,
            tasks,
            readiness,
            services,
            proxies,
            stop_accepting,
            stop_admin,
            files,
            ends_process: heeds_signals,
        };
        ending.run(stop, &mut signals).await;
        log::info!("stopped");
        Ok(())
    }
}

/// Opens the access log's file again, for it may have been rotated.
fn reopen(current: &CurrentSnapshot) {
    if let Some(log) = &current.load().global.access_log {
        log.sink().reopen();
    }
}

/// A socket that is bound already, as Pingora takes it, and by which name.
fn inherited(address: &Address, mode: u32) -> (ListenerConfig, String) {
    match address {
        Address::Inet(address) => (ListenerConfig::tcp(address.to_string()), address.to_string()),
        Address::Unix(path) => {
            let mode = Permissions::from_mode(mode);
            (ListenerConfig::uds(&**path).permissions(mode), path.to_string())
        }
    }
}

/// Handles of the keeper's own; none when the process has no more files to open.
fn duplicates<'s>(sockets: impl Iterator<Item = &'s (Address, Socket)>) -> Vec<(Address, Socket)> {
    let duplicate = |(address, socket): &(Address, Socket)| {
        socket.try_clone().ok().map(|socket| (address.clone(), socket))
    };
    sockets.filter_map(duplicate).collect()
}

fn keep(place: Place, sockets: Vec<(Address, Socket)>, admin: RunningAdmin) -> Option<Arc<Keeper>> {
    let control = place.control();
    match Keeper::open(place, sockets, admin) {
        Ok(keeper) => Some(Arc::new(keeper)),
        Err(error) => {
            log::warn!("upgrades are not possible: {}: {error}", control.display());
            None
        }
    }
}

/// How a handover ended; never, when there is none.
async fn finished(handing: &mut Option<JoinHandle<Result<u32, String>>>) -> Result<u32, String> {
    match handing {
        Some(handing) => handing.await.map_err(|error| error.to_string()).flatten(),
        None => std::future::pending().await,
    }
}
