//! The library's entry point: a gateway, made of a configuration and of filters. Knows nothing of the command line.

mod config;
mod run;
mod summary;

pub use config::Config;
pub use summary::Summary;

use crate::explain::{Explainer, review, verify};
use crate::filter::{self, Filter, FilterRegistry};
use crate::server::{Handle, HandledSignals, RequestedSignals, ShutdownSignal, preflight};
use crate::snapshot::{CompileEnv, SessionPolicies, compile};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;
use tidegate_config::{ProblemCollector, Problems, json_schema_with, reference_markdown_with};

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
    handle: (Handle, RequestedSignals),
    takes_over: bool,
    upgrades_on_signal: bool,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Gateway {
    /// A gateway with this configuration.
    pub fn from_config(config: Config) -> Self {
        Self {
            config,
            filters: FilterRegistry::default(),
            shutdown: None,
            signals: None,
            handle: Handle::new(),
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
        json_schema_with(self.filters.schemas())
    }

    /// The reference of a configuration of this gateway in Markdown: with the filters that are registered.
    pub fn reference_markdown(&self) -> String {
        reference_markdown_with(self.filters.schemas())
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
        let mut unusable = ProblemCollector::new(sources.clone());
        preflight(&written, &sources, config.file.as_deref(), &mut unusable);
        let unusable = unusable.into_problems();
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

    /// A handle on this gateway, with which the program reopens the access log and reloads the configuration while the
    /// gateway serves.
    ///
    /// ```no_run
    /// use tidegate::{Config, Gateway};
    ///
    /// # async fn rotated() {}
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let gateway = Gateway::from_config(Config::from_file("tidegate.yaml"));
    /// let handle = gateway.handle();
    /// let serving = tokio::spawn(gateway.serve());
    /// rotated().await;
    /// handle.reopen_access_log().await?;
    /// # serving.await??;
    /// # Ok(())
    /// # }
    /// ```
    pub fn handle(&self) -> Handle {
        self.handle.0.clone()
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
}
