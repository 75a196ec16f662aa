//! The library's entry points: a configuration that is loaded, and a gateway that runs it. Knows nothing of the command
//! line.

use crate::explain::{Explainer, review, verify};
use crate::filter::{self, Filter, FilterRegistry};
use crate::server::{
    HandledSignals, HandoverSocket, RunError, RunningGateway, Server, ShutdownSignal, preflight,
    query_running,
};
use crate::snapshot::{CompileEnv, SessionPolicies, Snapshot, compile};
use crate::telemetry::{self, LineSink};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tidegate_config::{self as config, FilterSchemas, LoadedConfig, Problems, Variables};
use tidegate_http::address::Address;

/// Maximum time for writing the last lines of the log to stderr.
const LAST_LOG_LINES_TIMEOUT: Duration = Duration::from_millis(500);

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

    /// Reads a file as [`Config::from_file`] does; these variables take precedence over the environment.
    pub fn from_file_with(path: impl AsRef<Path>, variables: Variables) -> Self {
        let path = path.as_ref();
        let read = config::read_with(path, &variables, &FilterSchemas::default());
        Self { read, file: Some(path.to_owned()), variables }
    }

    /// Reads a file to find the gateway that runs it, which may be that of a program with filters of its own.
    pub(crate) fn of_running(path: &Path) -> Self {
        let variables = Variables::default();
        let read = config::read_with(path, &variables, &FilterSchemas::any());
        Self { read, file: Some(path.to_owned()), variables }
    }

    /// Reads YAML from a string.
    pub fn from_yaml(yaml: &str) -> Self {
        Self::from_yaml_with(yaml, Variables::default())
    }

    /// Reads YAML from a string; these variables take precedence over the environment.
    pub fn from_yaml_with(yaml: &str, variables: Variables) -> Self {
        let read =
            config::read_str_with(yaml, "configuration", &variables, &FilterSchemas::default());
        Self { read, file: None, variables }
    }

    fn handover_socket(&self) -> Option<HandoverSocket> {
        let written = self.read.config.upgrade_socket.as_ref();
        HandoverSocket::locate(written.map(|path| Path::new(path.as_str())), self.file.as_deref())
    }

    /// The socket by which the process is found that runs this configuration, broken or not.
    pub(crate) fn control_socket(&self) -> Option<PathBuf> {
        let LoadedConfig { config, sources, .. } = &self.read;
        let written = config.upgrade_socket.clone().or_else(|| sources.salvage_upgrade_socket());
        let written = written.as_ref().map(|path| Path::new(path.as_str()));
        HandoverSocket::locate(written, self.file.as_deref()).map(|socket| socket.control())
    }

    /// The admin endpoint of the gateway that runs this file, and its token, as far as the file
    /// says: it may be broken by now, and the gateway runs all the same.
    ///
    /// # Errors
    /// When there is none, with all that is wrong with the file.
    pub(crate) fn running_admin(&self) -> Result<Option<(Address, Option<String>)>, Problems> {
        let LoadedConfig { config, problems, sources, .. } = &self.read;
        match config.admin.clone().or_else(|| sources.salvage_admin()) {
            Some(admin) => Ok(Some((admin.address.value.0, admin.token.map(|it| it.value)))),
            None if problems.is_empty() => Ok(None),
            None => Err(problems.clone()),
        }
    }

    /// The addresses of the gateway that runs this file, as the gateway itself says: the file may have
    /// been edited since, which takes effect only after a restart. `None` when no gateway is found.
    pub(crate) fn ask_running(&self) -> Option<RunningGateway> {
        query_running(&self.control_socket()?).ok()
    }

    /// The first address that the gateway which runs this file listens on, in the same way.
    ///
    /// # Errors
    /// When there is none, with all that is wrong with the file.
    pub(crate) fn running_listener(&self) -> Result<Option<Address>, Problems> {
        let LoadedConfig { config, problems, sources, .. } = &self.read;
        match config.listeners.first().cloned().or_else(|| sources.salvage_listener()) {
            Some(listener) => Ok(Some(listener.address.value.0)),
            None if problems.is_empty() => Ok(None),
            None => Err(problems.clone()),
        }
    }

    /// What says what a gateway with this configuration would do with requests.
    ///
    /// # Errors
    /// When the configuration is wrong, with all that is wrong.
    pub fn explainer(self) -> Result<Explainer, Problems> {
        Gateway::from_config(self).explainer()
    }

    /// Says all that is wrong with it, or sums it up in a line.
    ///
    /// # Errors
    /// When the configuration is wrong, with all that is wrong.
    pub fn check(self) -> Result<Summary, Problems> {
        Gateway::from_config(self).check()
    }

    /// Reads the configuration again, for a program that registers these filters.
    fn read_for_filters(self, filters: &FilterRegistry) -> Self {
        let Self { read, file, variables } = self;
        if filters.schemas().is_empty() {
            return Self { read, file, variables };
        }
        let read = match &file {
            Some(path) => config::read_with(path, &variables, filters.schemas()),
            None => {
                let files = read.sources.files();
                let files: Vec<_> =
                    files.map(|(path, text)| (path.to_owned(), text.to_owned())).collect();
                config::read_stored(&files, &variables, filters.schemas())
            }
        };
        Self { read, file, variables }
    }
}

/// What a configuration holds.
#[derive(Debug, Clone)]
#[non_exhaustive]
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
    fn from_snapshot(snapshot: &Snapshot) -> Self {
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
/// A program that is a gateway calls [`run_program`](Self::run_program), or [`cli::main_with`](crate::cli::main_with)
/// to have every verb of `tidegate`:
///
/// ```no_run
/// # struct MyFilter;
/// # impl tidegate::Filter for MyFilter {}
/// # fn main() -> std::process::ExitCode {
/// let config = tidegate::Config::from_file("tidegate.yaml");
/// tidegate::Gateway::from_config(config).filter(MyFilter).run_program()
/// # }
/// ```
///
/// A program that has a gateway among other things calls [`serve`](Self::serve) in its own runtime.
pub struct Gateway {
    config: Config,
    filters: FilterRegistry,
    shutdown: Option<ShutdownSignal>,
    /// `None` until the program decides.
    signals: Option<HandledSignals>,
    takes_over: bool,
    upgrades_on_signal: bool,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A gateway whose configuration is good.
struct Prepared {
    server: Server,
    threads: usize,
}

impl Gateway {
    /// A gateway with this configuration.
    pub fn from_config(config: Config) -> Self {
        Self {
            config,
            filters: FilterRegistry::default(),
            shutdown: None,
            signals: None,
            takes_over: false,
            upgrades_on_signal: false,
        }
    }

    /// Adds a filter to every route, behind those added before; [`filter::Phase`] has the whole order.
    #[must_use]
    pub fn filter(mut self, filter: impl Filter + 'static) -> Self {
        self.filters.add(Arc::new(filter));
        self
    }

    /// Makes a filter known by a name, so that the configuration can use it: `filters: [{NAME: {…}}]`, at the
    /// top or on a route.
    ///
    /// The type `S` is the schema of its settings, with the meaning of each in its doc comment. `check`, editors
    /// and `tidegate schema` know it, and errors have their lines. The factory makes a filter of settings.
    ///
    /// A filter lives as long as its settings: a reload keeps it, with its state, where the route's name, the filter's
    /// name and its settings (variables replaced) stay the same. Else the factory runs: at the start, at an edit of the
    /// settings (also one that is then refused), and in dry runs such as `check`, which keep nothing. What has to outlive a
    /// change of settings, or is shared by several uses, belongs into what the factory captures.
    ///
    /// Settings are checked by the schema first, then by their type. What untagged enums, `flatten` and values of any
    /// type hold is judged by the type alone, whose errors point at the mapping. A schema that refers to another document is
    /// refused.
    ///
    /// The name has lower-case letters, digits and `_`, and is none of a built-in filter. A name that is taken or is none is
    /// reported when the configuration is compiled.
    ///
    /// ```
    /// use tidegate::filter::{self, Flow, Reply, Request, SettingsError};
    /// use tidegate::{Config, Filter, Gateway, async_trait, http, schemars};
    ///
    /// /// Refuses requests that lack a header.
    /// #[derive(serde::Deserialize, schemars::JsonSchema)]
    /// struct RequireHeader {
    ///     /// The header's name.
    ///     name: String,
    /// }
    ///
    /// struct Require(http::HeaderName);
    ///
    /// #[async_trait]
    /// impl Filter for Require {
    ///     async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, filter::Error> {
    ///         Ok(match request.head().headers.contains_key(&self.0) {
    ///             true => Flow::Continue,
    ///             false => Flow::Respond(Reply::new(http::StatusCode::BAD_REQUEST)),
    ///         })
    ///     }
    /// }
    ///
    /// let config = Config::from_yaml(
    ///     "listeners: [{address: 127.0.0.1:0}]
    /// routes:
    ///   - {name: a, respond: {status: 204}, filters: [{require_header: {name: 'not a name'}}]}",
    /// );
    /// let gateway = Gateway::from_config(config).register("require_header", |settings: RequireHeader| {
    ///     let name = http::HeaderName::try_from(settings.name);
    ///     Ok(Require(name.map_err(|error| SettingsError::at("name", error))?))
    /// });
    /// let problems = gateway.check().expect_err("it is no name");
    /// assert!(problems.to_string().contains("routes[0].filters[0].require_header.name: invalid"));
    /// ```
    #[must_use]
    pub fn register<S, F>(
        mut self,
        name: &str,
        factory: impl Fn(S) -> Result<F, filter::SettingsError> + Send + Sync + 'static,
    ) -> Self
    where
        S: DeserializeOwned + JsonSchema,
        F: Filter + 'static,
    {
        self.filters.register(name, factory);
        self
    }

    /// The JSON Schema of a configuration of this gateway: with the filters that are registered.
    pub fn json_schema(&self) -> serde_json::Value {
        config::json_schema_with(self.filters.schemas())
    }

    /// The reference of a configuration of this gateway in Markdown: with the filters that are registered.
    pub fn reference_markdown(&self) -> String {
        config::reference_markdown_with(self.filters.schemas())
    }

    /// What says what this gateway would do with requests.
    ///
    /// # Errors
    /// When the configuration is wrong, with all that is wrong.
    pub fn explainer(self) -> Result<Explainer, Problems> {
        let (config, filters) = self.read();
        compile(config.read, &CompileEnv::for_dry_run(&filters)).map(Explainer::new)
    }

    /// Says all that is wrong with the configuration, or sums it up in a line.
    ///
    /// # Errors
    /// When the configuration is wrong, with all that is wrong.
    pub fn check(self) -> Result<Summary, Problems> {
        let (config, filters) = self.read();
        let (written, sources) = (config.read.config.clone(), config.read.sources.clone());
        let mut unusable = Problems::new(sources.clone());
        preflight(&written, &sources, config.file.as_deref(), &mut unusable);
        let snapshot = match compile(config.read, &CompileEnv::for_dry_run(&filters)) {
            Ok(snapshot) if unusable.is_empty() => snapshot,
            Ok(_) => return Err(unusable),
            Err(problems) => return Err(problems.merged_with(unusable)),
        };
        verify(&snapshot, &written.tests, sources.clone())?;
        let warnings = review(&snapshot, &written, sources);
        Ok(Summary { warnings, ..Summary::from_snapshot(&snapshot) })
    }

    /// What a running gateway is asked with: which sessions would this configuration touch?
    pub(crate) fn session_plan(self) -> Result<String, Problems> {
        let (config, filters) = self.read();
        let plan = SessionPolicies::from_snapshot(&compile(
            config.read,
            &CompileEnv::for_dry_run(&filters),
        )?);
        // Strings, numbers and lists always become JSON.
        Ok(serde_json::to_string(&plan).unwrap_or_default())
    }

    /// The configuration, with what it says of registered filters, and these.
    pub(crate) fn read(self) -> (Config, FilterRegistry) {
        let config = self.config.read_for_filters(&self.filters);
        (config, self.filters)
    }

    /// Stops as on SIGTERM when the future completes: accepts no more, finishes what is in flight within
    /// `shutdown.grace`, and closes sessions as `drain` says.
    #[must_use]
    pub fn with_graceful_shutdown(
        mut self,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        self.shutdown = Some(Box::pin(shutdown));
        self
    }

    /// Handles signals as `tidegate run` does: SIGTERM and SIGINT stop, SIGHUP reloads, SIGUSR1 reopens the access log,
    /// SIGQUIT and SIGUSR2 upgrade. [`run`](Self::run) and [`run_program`](Self::run_program) do so unless told
    /// otherwise.
    #[must_use]
    pub fn handle_signals(mut self) -> Self {
        self.signals = Some(HandledSignals::All);
        self
    }

    /// Handles SIGHUP (reload) and SIGUSR1 (reopen the access log), and leaves the others to the program around the
    /// gateway, which then ends it by [`with_graceful_shutdown`](Self::with_graceful_shutdown).
    #[must_use]
    pub fn handle_reload_signals(mut self) -> Self {
        self.signals = Some(HandledSignals::Reload);
        self
    }

    /// Leaves all signals to the program around the gateway. [`serve`](Self::serve) does so unless told otherwise.
    /// Edits of the configuration file take effect all the same.
    #[must_use]
    pub fn ignore_signals(mut self) -> Self {
        self.signals = Some(HandledSignals::None);
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
    #[must_use]
    pub(crate) fn upgrade_on_signal(mut self) -> Self {
        self.upgrades_on_signal = true;
        self
    }

    /// Runs the gateway as all that a program does: [`run`](Self::run) with a log on stderr, as the `log` section of the
    /// configuration says. It prints an error as people read it, and returns the status to end with, 78 if the
    /// configuration is wrong.
    pub fn run_program(self) -> ExitCode {
        match self.run_with_log() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => error.report(),
        }
    }

    /// Runs until it is stopped, with the log that a program of the gateway's own has.
    pub(crate) fn run_with_log(self) -> Result<(), RunError> {
        telemetry::log::start();
        let ended = self.run();
        telemetry::log::flush(LAST_LOG_LINES_TIMEOUT);
        ended
    }

    /// Runs until SIGTERM, SIGINT or [`with_graceful_shutdown`](Self::with_graceful_shutdown) stops it, in a runtime of
    /// its own with as many threads as the configuration says. For a program without a runtime.
    ///
    /// It installs no logger: the gateway logs through the `log` crate, and the program decides where to.
    ///
    /// # Errors
    /// When the configuration is wrong, with all that is wrong; when an address can't be
    /// listened on; when threads can't be started.
    pub fn run(self) -> Result<(), RunError> {
        let Prepared { server, threads } = self.prepare(true)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name_fn(thread_names(threads))
            .enable_all()
            .build()
            .map_err(RunError::Runtime)?;
        // On a worker, where accepting and serving happen, not on this thread.
        let ended = runtime.block_on(async { tokio::spawn(server.run()).await });
        // Tunnels that outlived the grace end here.
        runtime.shutdown_background();
        ended.map_err(|panicked| RunError::Runtime(io::Error::other(panicked)))?
    }

    /// Serves in the runtime of the caller, until
    /// [`with_graceful_shutdown`](Self::with_graceful_shutdown) stops it. When the future is dropped, the gateway ends
    /// at once, and cuts off what is in flight.
    ///
    /// The process stays the program's: the gateway installs no logger and no panic hook, handles no signal unless
    /// [told to](Self::handle_signals), notifies no service manager and never ends the process.
    ///
    /// - The runtime needs I/O and time, and should have several threads; `threads` of the configuration makes none.
    /// - The gateway logs through the `log` crate, with targets that begin with `tidegate`. The program installs a
    ///   logger and sets the level; `log` of the configuration, and the level that the admin endpoint sets, count only
    ///   where [`run_program`](Self::run_program) or [`cli`](crate::cli) has installed the gateway's own logger.
    /// - The access log is the gateway's own and goes where `access_log` says, by default to stdout.
    /// - The limit of open files is raised to the hard limit, for the whole process.
    ///
    /// ```no_run
    /// use tidegate::{Config, Gateway};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let gateway = Gateway::from_config(Config::from_file("tidegate.yaml"))
    ///         .with_graceful_shutdown(async {
    ///             let _ = tokio::signal::ctrl_c().await;
    ///         });
    ///     gateway.serve().await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// When the configuration is wrong, with all that is wrong; when an address can't be listened on.
    pub async fn serve(self) -> Result<(), RunError> {
        // It reads files.
        let prepared = tokio::task::spawn_blocking(move || self.prepare(false)).await;
        let prepared = prepared.map_err(|error| RunError::Runtime(io::Error::other(error)))?;
        prepared?.server.run().await
    }

    /// Compiles the configuration. A program is what there is only one of in a process.
    fn prepare(self, is_program: bool) -> Result<Prepared, RunError> {
        let Self { config, filters, shutdown, signals, takes_over, upgrades_on_signal } = self;
        let usual = if is_program { HandledSignals::All } else { HandledSignals::None };
        let signals = signals.unwrap_or(usual);
        let is_program = is_program && signals == HandledSignals::All;
        let config = config.read_for_filters(&filters);
        // The first process of a container takes the container with it when it goes.
        let can_upgrade = signals == HandledSignals::All && std::process::id() != 1;
        let handover_socket = can_upgrade.then(|| config.handover_socket()).flatten();
        if takes_over && handover_socket.is_none() {
            let reason = "`upgrade_socket` is not set, or this is process 1, or this program \
                          does not handle signals";
            return Err(RunError::TakeOver(io::Error::other(reason)));
        }
        let filters = Arc::new(filters);
        let read = config.read.clone();
        let env = CompileEnv {
            previous: None,
            discovery: None,
            filters: &filters,
            open_sink: |target| LineSink::open(target).map(Some),
        };
        let snapshot = compile(config.read, &env).map_err(RunError::Config)?;
        verify(&snapshot, &read.config.tests, read.sources.clone()).map_err(RunError::Config)?;
        let threads = snapshot.startup.threads;
        let file = config.file.map(|path| (path, config.variables));
        let server = Server {
            snapshot,
            read,
            file,
            filters,
            shutdown,
            signals,
            is_program,
            handover_socket,
            takes_over,
            upgrades_on_signal,
        };
        Ok(Prepared { server, threads })
    }
}
