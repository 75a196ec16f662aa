//! The library's face: a configuration that is loaded, and a gateway that runs it. It knows nothing of the
//! command line.

use crate::explain::{Asked, Difference, Explanation, Outline, explain, review, verify};
use crate::filter::Filter;
use crate::server::{HandoverSocket, Running, Server, StartError, ask, preflight};
use crate::snapshot::{CompileEnv, SessionPolicies, Snapshot, compile};
use crate::telemetry::{self, Sink};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tidegate_config::{self as config, LoadedConfig, Problems, Variables};
use tidegate_http::address::Address;
use tokio::sync::oneshot;

/// How long stderr may take for the last lines of the log.
const LAST_LOG_LINES: Duration = Duration::from_millis(500);

/// A configuration, read and ready to be run or checked.
///
/// ```
/// let config = tidegate::Config::from_yaml(
///     "listeners: [{address: 127.0.0.1:0}]
/// upstreams: {api: {endpoints: ['127.0.0.1:4009']}}
/// routes: [{name: api, match: {path_prefix: /api}, upstream: api}]",
/// );
/// assert!(config.check().is_ok());
/// ```
pub struct Config {
    pub(crate) read: LoadedConfig,
    file: Option<PathBuf>,
    variables: Variables,
}

/// Where it is from: what it holds may be secret.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Config {
    /// Reads a file and those that it includes. It is followed while the gateway runs: a good
    /// edit takes effect within a second.
    pub fn from_file(path: impl AsRef<Path>) -> Self {
        Self::from_file_with(path, Variables::default())
    }

    /// The same, with variables that stand before those of the environment.
    pub fn from_file_with(path: impl AsRef<Path>, variables: Variables) -> Self {
        let path = path.as_ref();
        let read = config::read_with(path, &variables);
        Self { read, file: Some(path.to_owned()), variables }
    }

    /// Reads YAML from a string.
    pub fn from_yaml(yaml: &str) -> Self {
        Self::from_yaml_with(yaml, Variables::default())
    }

    /// The same, with variables that stand before those of the environment.
    pub fn from_yaml_with(yaml: &str, variables: Variables) -> Self {
        let read = config::read_str_with(yaml, "configuration", &variables);
        Self { read, file: None, variables }
    }

    fn handover_socket(&self) -> Option<HandoverSocket> {
        let written = self.read.config.upgrade_socket.as_ref();
        HandoverSocket::of(written.map(|path| Path::new(path.as_str())), self.file.as_deref())
    }

    /// The socket by which the process is found that runs this configuration, broken or not.
    #[doc(hidden)]
    pub fn control_socket(&self) -> Option<PathBuf> {
        let LoadedConfig { config, sources, .. } = &self.read;
        let written = config.upgrade_socket.clone().or_else(|| sources.salvage_upgrade_socket());
        let written = written.as_ref().map(|path| Path::new(path.as_str()));
        HandoverSocket::of(written, self.file.as_deref()).map(|socket| socket.control())
    }

    /// The admin endpoint of the gateway that runs this file, and its token, as far as the file
    /// says: it may be broken by now, and the gateway runs all the same.
    ///
    /// # Errors
    /// When there is none, with all that is wrong with the file.
    #[doc(hidden)]
    pub fn running_admin(&self) -> Result<Option<(Address, Option<String>)>, Problems> {
        let LoadedConfig { config, problems, sources, .. } = &self.read;
        match config.admin.clone().or_else(|| sources.salvage_admin()) {
            Some(admin) => Ok(Some((admin.address.value.0, admin.token.map(|it| it.value)))),
            None if problems.is_empty() => Ok(None),
            None => Err(problems.clone()),
        }
    }

    /// The addresses of the gateway that runs this file, as the gateway itself says: the file may have
    /// been edited since, which takes effect only after a restart. `None` when no gateway is found.
    #[doc(hidden)]
    pub fn ask_running(&self) -> Option<Running> {
        ask(&self.control_socket()?).ok()
    }

    /// The first address that the gateway which runs this file listens on, in the same way.
    ///
    /// # Errors
    /// When there is none, with all that is wrong with the file.
    #[doc(hidden)]
    pub fn running_listener(&self) -> Result<Option<Address>, Problems> {
        let LoadedConfig { config, problems, sources, .. } = &self.read;
        match config.listeners.first().cloned().or_else(|| sources.salvage_listener()) {
            Some(listener) => Ok(Some(listener.address.value.0)),
            None if problems.is_empty() => Ok(None),
            None => Err(problems.clone()),
        }
    }

    /// What a running gateway is asked with: which sessions would this configuration touch?
    #[doc(hidden)]
    pub fn session_plan(self) -> Result<String, Problems> {
        let env =
            CompileEnv { previous: None, discovery: None, filters: &[], open_sink: |_| Ok(None) };
        let plan = SessionPolicies::of(&compile(self.read, &env)?);
        // Strings, numbers and lists always become JSON.
        Ok(serde_json::to_string(&plan).unwrap_or_default())
    }

    /// What says what a gateway with this configuration would do with requests.
    ///
    /// # Errors
    /// When the configuration is wrong, with all that is wrong.
    pub fn explainer(self) -> Result<Explainer, Problems> {
        let env =
            CompileEnv { previous: None, discovery: None, filters: &[], open_sink: |_| Ok(None) };
        compile(self.read, &env).map(Explainer)
    }

    /// Says all that is wrong with it, or sums it up in a line.
    pub fn check(self) -> Result<Summary, Problems> {
        let env =
            CompileEnv { previous: None, discovery: None, filters: &[], open_sink: |_| Ok(None) };
        let (config, sources) = (self.read.config.clone(), self.read.sources.clone());
        let mut unusable = Problems::of(sources.clone());
        preflight(&config, &sources, self.file.as_deref(), &mut unusable);
        let compiled = compile(self.read, &env);
        let snapshot = match compiled {
            Ok(snapshot) if unusable.is_empty() => snapshot,
            Ok(_) => return Err(unusable),
            Err(problems) => return Err(problems.and(unusable)),
        };
        verify(&snapshot, &config.tests, sources.clone())?;
        let warnings = review(&snapshot, &config, sources);
        Ok(Summary { warnings, ..Summary::of(&snapshot) })
    }
}

/// Says what a gateway would do with requests.
pub struct Explainer(Snapshot);

impl Explainer {
    /// What would become of this one, and why. Nothing is sent.
    pub async fn explain(&self, asked: &Asked) -> Explanation {
        explain(&self.0, asked).await
    }

    /// What a running gateway is asked with: what does this configuration do otherwise?
    #[doc(hidden)]
    pub fn outline(&self) -> String {
        // Strings, numbers and lists always become JSON.
        serde_json::to_string(&Outline::of(&self.0)).unwrap_or_default()
    }

    /// What the other one's configuration does otherwise.
    pub fn difference(&self, other: &Self) -> Difference {
        Difference::between(&self.0, &other.0)
    }
}

/// What a configuration holds.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The addresses that it listens on.
    pub listeners: Vec<Address>,
    /// The admin endpoint.
    pub admin: Option<Address>,
    /// How many upstreams.
    pub upstreams: usize,
    /// How many routes.
    pub routes: usize,
    /// What is not wise of it.
    pub warnings: Problems,
}

impl Summary {
    fn of(snapshot: &Snapshot) -> Self {
        let listeners = snapshot.startup.listeners.iter();
        Self {
            listeners: listeners.cloned().collect(),
            admin: snapshot.startup.admin.clone(),
            upstreams: snapshot.pools.len(),
            routes: snapshot.table.iter().count(),
            warnings: Problems::default(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listeners, upstreams, routes, .. } = self;
        let count = |count: usize, what| {
            let plural = if count == 1 { "" } else { "s" };
            format!("{count} {what}{plural}")
        };
        let parts = [
            count(listeners.len(), "listener"),
            count(*upstreams, "upstream"),
            count(*routes, "route"),
        ];
        f.write_str(&parts.join(", "))
    }
}

/// Why a gateway did not run. Its `Debug` is made for people as well, for that is what a `main`
/// that returns it prints.
pub enum RunError {
    /// The configuration is wrong.
    Config(Problems),
    /// An address can't be listened on.
    Bind(StartError),
    /// The runtime can't be started.
    Runtime(std::io::Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(problems) => problems.fmt(f),
            Self::Bind(error) => error.fmt(f),
            Self::Runtime(error) => write!(f, "cannot start the worker threads: {error}"),
        }
    }
}

impl fmt::Debug for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for RunError {}

/// The configuration is wrong (`EX_CONFIG` of sysexits.h).
const BAD_CONFIGURATION: u8 = 78;

impl RunError {
    /// The status of a program that ends by it: 78 where the configuration is wrong, else 1.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) => ExitCode::from(BAD_CONFIGURATION),
            Self::Bind(_) | Self::Runtime(_) => ExitCode::FAILURE,
        }
    }

    /// Prints it to stderr, and returns the status to end with.
    pub fn report(&self) -> ExitCode {
        let kind = if matches!(self, Self::Config(_)) { "" } else { "error: " };
        eprintln!("{kind}{self}");
        self.exit_code()
    }
}

/// The workers are made first; the threads that may wait for files have another name.
fn thread_names(workers: usize) -> impl Fn() -> String + Send + Sync + 'static {
    let made = AtomicUsize::new(0);
    move || {
        let is_worker = made.fetch_add(1, Ordering::Relaxed) < workers;
        if is_worker { "gateway" } else { "gateway-files" }.to_owned()
    }
}

/// The gateway: a configuration, and filters of your own.
///
/// ```no_run
/// # struct MyFilter;
/// # impl tidegate::Filter for MyFilter {}
/// # fn main() -> std::process::ExitCode {
/// let config = tidegate::Config::from_file("tidegate.yaml");
/// tidegate::Gateway::from_config(config).filter(MyFilter).run_program()
/// # }
/// ```
pub struct Gateway {
    config: Config,
    filters: Vec<Arc<dyn Filter>>,
    stop: Option<oneshot::Receiver<()>>,
    heeds_signals: bool,
    takes_over: bool,
    renews: bool,
}

impl Gateway {
    /// A gateway with this configuration.
    pub fn from_config(config: Config) -> Self {
        Self {
            config,
            filters: Vec::new(),
            stop: None,
            heeds_signals: true,
            takes_over: false,
            renews: false,
        }
    }

    /// Adds a filter to every route, behind the built-in ones and those added before.
    #[must_use]
    pub fn filter(mut self, filter: impl Filter + 'static) -> Self {
        self.filters.push(Arc::new(filter));
        self
    }

    /// Stops as on SIGTERM when the sender sends or is dropped.
    #[must_use]
    pub fn stop_when(mut self, stop: oneshot::Receiver<()>) -> Self {
        self.stop = Some(stop);
        self
    }

    /// Leaves SIGTERM and SIGINT to the program around the gateway, which then ends it by
    /// [`Gateway::stop_when`]. SIGHUP still reloads.
    #[must_use]
    pub fn ignore_signals(mut self) -> Self {
        self.heeds_signals = false;
        self
    }

    /// Takes the listening sockets of the gateway that runs with this configuration. That one
    /// finishes what it has under way and goes, once this one serves.
    #[must_use]
    pub fn take_over(mut self) -> Self {
        self.takes_over = true;
        self
    }

    /// Runs this program again with `--upgrade` at SIGUSR2.
    #[doc(hidden)]
    #[must_use]
    pub fn renew_on_signal(mut self) -> Self {
        self.renews = true;
        self
    }

    /// Runs the gateway as all that a program does: prints an error as people read it, and
    /// returns the status to end with, 78 where the configuration is wrong.
    pub fn run_program(self) -> ExitCode {
        match self.run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => error.report(),
        }
    }

    /// Runs until SIGTERM, SIGINT or [`Gateway::stop_when`] ends it.
    ///
    /// # Errors
    /// When the configuration is wrong, with all that is wrong; when an address can't be
    /// listened on; when threads can't be started.
    pub fn run(self) -> Result<(), RunError> {
        telemetry::log::start();
        let ended = self.serve();
        telemetry::log::flush(LAST_LOG_LINES);
        ended
    }

    fn serve(self) -> Result<(), RunError> {
        let Self { config, filters, stop, heeds_signals, takes_over, renews } = self;
        // The first process of a container takes the container with it when it goes.
        let handover_socket =
            (heeds_signals && std::process::id() != 1).then(|| config.handover_socket()).flatten();
        if takes_over && handover_socket.is_none() {
            let reason = "there is no `upgrade_socket`, or this is process 1, or signals are not \
                          heeded";
            return Err(RunError::Bind(StartError::Handover(std::io::Error::other(reason))));
        }
        let filters: Arc<[Arc<dyn Filter>]> = filters.into();
        let read = config.read.clone();
        let env = CompileEnv {
            previous: None,
            discovery: None,
            filters: &filters,
            open_sink: |target| Sink::open(target).map(Some),
        };
        let snapshot = compile(config.read, &env).map_err(RunError::Config)?;
        verify(&snapshot, &read.config.tests, read.sources.clone()).map_err(RunError::Config)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(snapshot.startup.threads)
            .thread_name_fn(thread_names(snapshot.startup.threads))
            .enable_all()
            .build()
            .map_err(RunError::Runtime)?;
        let file = config.file.map(|path| (path, config.variables));
        let server = Server {
            snapshot,
            read,
            file,
            filters,
            stop,
            heeds_signals,
            handover_socket,
            takes_over,
            renews,
        };
        // On a worker, where accepting and serving happen, not on this thread.
        let ended = runtime.block_on(async { tokio::spawn(server.run()).await });
        // Tunnels that outlived the grace end here.
        runtime.shutdown_background();
        match ended {
            Ok(ended) => ended.map_err(RunError::Bind),
            Err(panicked) => Err(RunError::Runtime(std::io::Error::other(panicked))),
        }
    }
}
