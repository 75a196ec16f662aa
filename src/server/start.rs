//! Starts a gateway, step by step: sockets, shared state, listeners, admin endpoint, announcement.
//! It knows nothing of how the gateway stops.

use super::apply::{self, Applier};
use super::connection::Connections;
use super::discover::RESOLVE_TIMEOUT;
use super::discover::discover;
use super::engine::{self, Engine};
use super::guard::RollbackMonitor;
use super::handover::{HandoverSocket, InheritedListeners, ListenerDonor, RunningAdmin};
use super::reload::ConfigWatcher;
use super::signals::Signals;
use super::socket::{Socket, UnixSocketFiles};
use super::tasks::Tasks;
use super::{RunError, listen};
use super::{files, notify, snapshot_tasks};
use crate::admin::{Admin, Readiness};
use crate::background;
use crate::cache::Cache;
use crate::filter::FilterRegistry;
use crate::history::{History, Order};
use crate::load::{
    self, AcceptedConnections, ConnectionLimiter, Evictor, InFlight, OverloadControl,
};
use crate::proxy::Proxy;
use crate::snapshot::{CurrentSnapshot, Snapshot, StartupSettings};
use crate::state::State;
use crate::upstream::{Discovery, set_file_limit};
use pingora::apps::http_app::HttpServer;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::server::configuration::ServerConf;
use pingora::server::{Fds, ListenFds};
use pingora::services::{Service as _, listening::Service};
use std::fs::Permissions;
use std::os::fd::IntoRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tidegate_config::{LoadedConfig, Variables};
use tidegate_http::address::Address;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle};

/// Permissions of the admin endpoint's Unix socket: the gateway's user only.
const ADMIN_SOCKET_MODE: u32 = 0o600;

/// Sockets with the addresses that they were written with.
type Sockets = Vec<(Address, Socket)>;

/// The sockets of a gateway.
pub(super) struct BoundSockets {
    pub(super) listeners: Sockets,
    /// At most one.
    pub(super) admin: Sockets,
    /// The files of those that are Unix domain sockets.
    pub(super) files: UnixSocketFiles,
    /// Where the next gateway finds handles of all of them.
    pub(super) handover: Option<(HandoverSocket, Sockets)>,
    /// The gateway before, if they are its.
    pub(super) inherited: Option<InheritedListeners>,
}

/// Binds all sockets, or takes those of the running gateway; `None` if a signal stops it meanwhile.
pub(super) async fn bind(
    startup: &StartupSettings,
    handover_socket: Option<HandoverSocket>,
    takes_over: bool,
    signals: &mut Signals,
) -> Result<Option<BoundSockets>, RunError> {
    let mut taken = match (&handover_socket, takes_over) {
        (Some(handover_socket), true) => tokio::select! {
            taken = InheritedListeners::from(handover_socket) => Some(taken.map_err(RunError::TakeOver)?),
            () = signals.wait_for_stop() => {
                log::info!(
                    "stopped by a signal before the running gateway handed over its listening \
                     sockets"
                );
                return Ok(None);
            }
        },
        _ => None,
    };
    let addresses = startup.listeners.iter().cloned().zip(startup.modes.iter().copied());
    // Who sees a listener's port open may connect to the admin endpoint, so that comes first.
    let addresses = startup.admin.iter().map(|it| (it.clone(), ADMIN_SOCKET_MODE)).chain(addresses);
    let mut admin = listen::take_or_bind_all(addresses, &mut taken)?;
    let listeners = admin.split_off(usize::from(startup.admin.is_some()));
    let files =
        UnixSocketFiles::from_addresses(listeners.iter().chain(&admin).map(|(address, _)| address));
    let kept = handover_socket.map(|handover_socket| {
        (handover_socket, duplicate_sockets(listeners.iter().chain(&admin)))
    });
    Ok(Some(BoundSockets { listeners, admin, files, handover: kept, inherited: taken }))
}

/// What the first snapshot was made from.
pub(super) struct ConfigSources {
    pub(super) read: LoadedConfig,
    pub(super) file: Option<(PathBuf, Variables)>,
    pub(super) filters: Arc<FilterRegistry>,
    pub(super) takes_over: bool,
}

/// A gateway with all of its state, that accepts nothing yet.
pub(super) struct BuiltGateway {
    pub(super) state: State,
    pub(super) tasks: Arc<Tasks>,
    pub(super) configuration: ConfigInForce,
    pub(super) watching_memory: AbortHandle,
    routes: usize,
}

/// What the configuration in force was made from.
pub(super) struct ConfigInForce {
    sources: ConfigSources,
    pub(super) discovery: Arc<Discovery>,
    /// Becomes higher with each answer of DNS that differs from the one before.
    discovered: watch::Receiver<u64>,
}

/// Puts the first snapshot into force, and makes what all parts of the gateway share.
pub(super) async fn build_state(
    mut snapshot: Snapshot,
    sources: ConfigSources,
    listeners: &Sockets,
) -> BuiltGateway {
    let ConfigSources { read, file, filters, takes_over } = &sources;
    let discovery = Arc::new(Discovery::default());
    let discovered = discover(&mut snapshot, read, filters, &discovery).await;
    let resolving = async {
        for pool in snapshot.pools.values() {
            pool.resolve().await;
        }
    };
    let _ = tokio::time::timeout(RESOLVE_TIMEOUT, resolving).await;
    snapshot.warn();
    snapshot.warn_of_empty_files(None);
    let routes = snapshot.table.iter().count();
    let sessions = Arc::clone(&snapshot.sessions);
    let cache = Arc::new(Cache::default());
    cache.apply(snapshot.cache);
    snapshot_tasks::start(&mut snapshot, &sessions);
    if let Some(shared) = &snapshot.global.shared
        && !snapshot.schemes.is_empty()
    {
        shared.wait_for_revocations().await;
    }
    let file = file.as_ref().map(|(file, _)| file.as_path());
    let history = Arc::new(History::open(read.state_dir().as_deref(), file, *takes_over));
    snapshot.number = history.record_start(apply::files(&read.sources));
    let bound = listeners.iter().map(|(written, it)| it.address(written)).collect();
    let current = Arc::new(CurrentSnapshot::new(snapshot, bound));
    let in_flight = Arc::new(InFlight::default());
    let max_connections = files::raise_limit();
    set_file_limit(max_connections);
    let max_connections = load::max_connections(max_connections);
    let connection_limiter = Arc::new(ConnectionLimiter::new(max_connections));
    let overload = Arc::new(OverloadControl::new(max_connections));
    let state =
        State { current, history, sessions, cache, in_flight, overload, connection_limiter };
    let tasks = Arc::new(Tasks::default());
    let watching_memory = watch_memory(&state, &tasks);
    let configuration = ConfigInForce { sources, discovery, discovered };
    BuiltGateway { state, tasks, configuration, watching_memory, routes }
}

/// Ends connections and sessions while memory is short.
fn watch_memory(state: &State, tasks: &Arc<Tasks>) -> AbortHandle {
    let end_connections = {
        let tasks = Arc::clone(tasks);
        Arc::new(move |client| tasks.abort_client(client))
    };
    let (current, overload) = (Arc::clone(&state.current), Arc::clone(&state.overload));
    let (clients, sessions) =
        (Arc::clone(state.connection_limiter.clients()), Arc::clone(&state.sessions));
    background::spawn_restarting("memory", move || {
        let (clients, sessions) = (Arc::clone(&clients), Arc::clone(&sessions));
        let evictor = Evictor::new(clients, sessions, end_connections.clone());
        load::watch_memory(Arc::clone(&current), Arc::clone(&overload), evictor)
    })
    .abort_handle()
}

impl ConfigInForce {
    /// Starts to follow the files of the configuration, DNS, and orders of the admin endpoint.
    pub(super) fn spawn_watcher(self, state: State, ordered: mpsc::Receiver<Order>) -> AbortHandle {
        let Self { sources: ConfigSources { read, file, filters, .. }, discovery, discovered } =
            self;
        let rollback_monitor = RollbackMonitor::default();
        let applier = Applier { read, file, state, filters, discovery, rollback_monitor };
        background::spawn("configuration", ConfigWatcher::new(applier).run(ordered, discovered))
            .abort_handle()
    }
}

/// What accepts connections.
pub(super) struct Listeners {
    pub(super) services: Vec<JoinHandle<()>>,
    pub(super) proxies: Vec<Arc<Engine>>,
    pub(super) arrivals: Arc<[Arc<AcceptedConnections>]>,
    pub(super) stop_accepting: watch::Sender<bool>,
}

/// Accepts connections at all listeners.
pub(super) async fn spawn_listeners(
    sockets: Sockets,
    startup: &StartupSettings,
    built: &BuiltGateway,
) -> Result<Listeners, RunError> {
    let state = &built.state;
    let (stop_accepting, stopping) = watch::channel(false);
    let conf = Arc::new(ServerConf {
        threads: startup.threads,
        // As many attempts as a route may ask for, and one for a connection that the upstream
        // closed while it lay idle.
        max_retries: 11,
        upstream_keepalive_pool_size: startup.upstream_pool_size,
        ..ServerConf::default()
    });
    let (mut services, mut proxies, mut arrivals) = (Vec::new(), Vec::new(), Vec::new());
    let modes = startup.modes.iter().copied();
    for ((address, socket), mode) in sockets.into_iter().zip(modes) {
        let proxy = Proxy { listener: address.clone(), state: state.clone() };
        let proxy = engine::build(proxy, &conf).await.map_err(RunError::Loopback)?;
        proxies.push(Arc::clone(&proxy));
        let (current, connection_limiter) =
            (Arc::clone(&state.current), Arc::clone(&state.connection_limiter));
        let arriving = Arc::new(AcceptedConnections::new(address.clone()));
        arrivals.push(Arc::clone(&arriving));
        let connections = Connections::new(
            proxy,
            current,
            connection_limiter,
            arriving,
            Arc::clone(&built.tasks),
        );
        let mut service = Service::new(format!("gateway {address}"), connections);
        // Heads and bodies are read into buffers of their own.
        let buffers = L4BufferSettings::default().read(0);
        let (config, name) = listener_config(&address, mode);
        service.add_listener(config.l4_buffer(buffers));
        let sockets = into_listen_fds(name, socket);
        let stopping = stopping.clone();
        services.push(background::spawn(format!("listener {address}"), async move {
            service.start_service(Some(sockets), stopping, 1).await;
        }));
    }
    state.current.load().probing.release();
    // Each connection has a receiver as well: when all are gone, so are the connections.
    drop(stopping);
    Ok(Listeners { services, proxies, arrivals: arrivals.into(), stop_accepting })
}

/// The admin endpoint, if there is one.
pub(super) struct RunningEndpoint {
    address: Option<Address>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) ordered: mpsc::Receiver<Order>,
}

/// Serves the admin endpoint.
///
/// It answers until the very end: what is in flight then is worth asking about. When another process has its
/// socket, that one is to be asked.
pub(super) fn spawn_admin(
    sockets: Sockets,
    state: &State,
    arrivals: &Arc<[Arc<AcceptedConnections>]>,
    (stop, stopping): &(Arc<watch::Sender<bool>>, watch::Receiver<bool>),
) -> RunningEndpoint {
    let readiness = Arc::new(Readiness::default());
    let (orders, ordered) = mpsc::channel(1);
    let bound = sockets.first().map(|(written, socket)| socket.address(written));
    for (address, socket) in sockets {
        let admin = Admin {
            address: address.clone(),
            state: state.clone(),
            readiness: Arc::clone(&readiness),
            arrivals: Arc::clone(arrivals),
            orders: orders.clone(),
            since: Instant::now(),
        };
        let mut service = Service::new(format!("admin {address}"), HttpServer::new_app(admin));
        let (config, name) = listener_config(&address, ADMIN_SOCKET_MODE);
        service.add_listener(config);
        let sockets = into_listen_fds(name, socket);
        let (until_the_end, stopping) = (Arc::clone(stop), stopping.clone());
        background::spawn("admin endpoint", async move {
            service.start_service(Some(sockets), stopping, 1).await;
            drop(until_the_end);
        });
    }
    RunningEndpoint { address: bound, readiness, orders, ordered }
}

/// What others know of a gateway that serves.
pub(super) struct Announcement {
    /// Where it listens, for logs and the service manager.
    pub(super) serving: String,
    /// What hands the listeners over to the next gateway, if that is possible.
    pub(super) donor: Option<Arc<ListenerDonor>>,
    /// Whether the service manager hears of what happens.
    pub(super) notifies: bool,
}

/// Lets the gateway before, the service manager and the log know that this one serves.
pub(super) async fn announce(
    kept: Option<(HandoverSocket, Sockets)>,
    taken: Option<InheritedListeners>,
    built: &BuiltGateway,
    admin: &RunningEndpoint,
    is_program: bool,
) -> Announcement {
    let current = &built.state.current;
    let addresses: Vec<_> = current.bound_addresses().iter().map(ToString::to_string).collect();
    let serving = format!("listening on {}, {} routes", addresses.join(", "), built.routes);
    let sessions = Arc::clone(&built.state.sessions);
    let running =
        RunningAdmin { address: admin.address.clone(), current: Arc::clone(current), sessions };
    let donor =
        kept.and_then(|(handover_socket, sockets)| open_donor(handover_socket, sockets, running));
    if let Some(taken) = taken {
        taken.notify_ready().await;
    }
    log::info!("{serving}, ready");
    if is_program {
        notify::ready(&serving);
    }
    Announcement { serving, donor, notifies: is_program }
}

/// A socket that is bound already, as Pingora takes it, and by which name.
fn listener_config(address: &Address, mode: u32) -> (ListenerConfig, String) {
    match address {
        Address::Inet(address) => (ListenerConfig::tcp(address.to_string()), address.to_string()),
        Address::Unix(path) => {
            let mode = Permissions::from_mode(mode);
            (ListenerConfig::uds(&**path).permissions(mode), path.to_string())
        }
    }
}

/// A socket as Pingora takes it.
fn into_listen_fds(name: String, socket: Socket) -> ListenFds {
    let mut sockets = Fds::new();
    sockets.add(name, socket.into_raw_fd());
    Arc::new(sockets.into())
}

/// Handles of the donor's own; none when the process has no more files to open.
fn duplicate_sockets<'s>(
    sockets: impl Iterator<Item = &'s (Address, Socket)>,
) -> Vec<(Address, Socket)> {
    let duplicate = |(address, socket): &(Address, Socket)| {
        socket.try_clone().ok().map(|socket| (address.clone(), socket))
    };
    sockets.filter_map(duplicate).collect()
}

fn open_donor(
    handover_socket: HandoverSocket,
    sockets: Vec<(Address, Socket)>,
    admin: RunningAdmin,
) -> Option<Arc<ListenerDonor>> {
    let control = handover_socket.control();
    match ListenerDonor::open(handover_socket, sockets, admin) {
        Ok(donor) => Some(Arc::new(donor)),
        Err(error) => {
            log::warn!(
                "cannot open the upgrade socket {}: {error}; `tidegate upgrade` does not work \
                 until a restart",
                control.display()
            );
            None
        }
    }
}
