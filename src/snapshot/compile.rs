//! Compiles the written configuration into a snapshot, the only way between the two: applies defaults, and reports all
//! problems at once. Starts nothing and sends nothing.

mod access_log;
mod acme;
mod answer;
mod cache;
mod chain;
mod claims;
mod compression;
mod cors;
mod error_pages;
mod files;
mod filters;
mod headers;
mod limits;
mod listener;
mod maintenance;
mod managed_headers;
#[cfg(not(feature = "opentelemetry"))]
mod no_tracing;
mod rate_limit;
mod retry;
mod route;
mod split;
#[cfg(feature = "opentelemetry")]
mod tracing;
mod upstream;
mod websocket;

use super::{
    DrainSettings, FileFingerprint, FilterPlace, GlobalSettings, Listener, RollbackSettings, Route,
    Snapshot, StartupSettings,
};
use crate::filter::{Filter, FilterRegistry, UserIdFilter, UserIdSource};
use crate::rate_limit::RateLimit;
use crate::routing::{Rule, Table};
use crate::shared::SharedCounterClient;
use crate::telemetry::{LineSink, LogTarget};
use crate::upstream::{Discovery, DnsQuery, Pool, Probe, Probes};
use http::HeaderName;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tidegate_config::{
    self as config, BrokenParts, Config, LoadedConfig, Problems, Sources, Span, Spanned,
    TrustedProxy, defaults,
};
use tidegate_http::address::Address;
use tidegate_http::via::Via;
use tidegate_http::websocket::close_code;

/// What a snapshot is compiled with, beside its configuration.
pub(crate) struct CompileEnv<'s> {
    /// The snapshot in force: what it has and the new one wants as well is kept.
    pub previous: Option<&'s Snapshot>,
    /// The endpoints that DNS has answered. `tidegate check` asks no DNS server.
    pub discovery: Option<&'s Discovery>,
    /// The filters that the program brings along.
    pub filters: &'s FilterRegistry,
    /// Opens an access log. A mere check opens none.
    pub open_sink: fn(LogTarget) -> io::Result<Option<LineSink>>,
}

impl<'s> CompileEnv<'s> {
    /// For a dry run: DNS is not asked, no log is opened.
    pub(crate) fn for_dry_run(filters: &'s FilterRegistry) -> Self {
        Self { previous: None, discovery: None, filters, open_sink: |_| Ok(None) }
    }
}

/// Maximum length of the path of a Unix socket (107 bytes on Linux), minus the suffixes that the gateway appends.
const MAX_SOCKET_PATH: usize = 90;

/// Minimum length of the admin endpoint's token, in characters.
const MIN_TOKEN_LENGTH: usize = 16;

/// Compiles a configuration, or reports all its problems.
pub(crate) fn compile(read: LoadedConfig, env: &CompileEnv<'_>) -> Result<Snapshot, Problems> {
    let LoadedConfig { config, mut problems, sources, declared_upstreams, broken, route_indices } =
        read;
    problems.end_of_reading();
    let mut compiler = Compiler {
        config: &config,
        sources: &sources,
        problems: &mut problems,
        broken: &broken,
        env,
        previous_routes: routes_by_name(env),
        dns_queries: BTreeSet::new(),
        named_filters: BTreeMap::new(),
        files: BTreeMap::new(),
        shared: None,
        limits: Vec::new(),
        declared_upstreams: &declared_upstreams,
        missing_upstreams: BTreeSet::new(),
    };
    for fault in env.filters.faults() {
        compiler.problems.add(Span::default(), "", fault.clone());
    }
    compiler.shared = compiler.shared_counters();

    let listeners = compiler.listeners();
    let startup = compiler.startup(&listeners);
    let global = Arc::new(compiler.global());
    let pools = compiler.pools();
    let probes = compiler.probes();
    let defaults = compiler.default_chain();
    let fallback = Arc::new(route::fallback(&global, &defaults, env));

    let mut routes: Vec<(Rule, Arc<Route>)> = Vec::new();
    let mut names: HashMap<&str, Span> = HashMap::new();
    let mut matches: HashMap<Rule, &str> = HashMap::new();
    for written in &config.routes {
        let key_path = match route_indices.get(&written.span) {
            Some(index) => format!("routes[{index}]"),
            None => "routes".to_owned(),
        };
        if let Entry::Occupied(first) = names.entry(&written.name) {
            let line = compiler.sources.line(*first.get(), written.name.span);
            let reason = format!("the route in {line} already has the name `{}`", &*written.name);
            compiler.problems.add(written.name.span, format!("{key_path}.name"), reason);
        } else {
            names.insert(&written.name, written.name.span);
        }
        if let Some(upstream) = &written.upstream
            && !pools.contains_key(upstream.as_str())
        {
            compiler.no_such_upstream(upstream, &format!("{key_path}.upstream"));
        }
        let rule = compiler.rule(written, &key_path);
        // A condition that was written wrongly would have told it from others.
        let is_whole = !compiler.broken.is_any_within(&key_path);
        for single in is_whole.then(|| single_hosts(&rule)).into_iter().flatten() {
            if let Some(first) = matches.insert(single, &written.name) {
                let reason = format!(
                    "the route `{first}` matches exactly the same requests, so this route never \
                     gets one"
                );
                compiler.problems.add(written.span, format!("{key_path}.match"), reason);
                break;
            }
        }
        let chain = compiler.chain(written, &defaults, &rule, &key_path);
        if let Some(route) = compiler.route(written, &key_path, &rule, &global, &pools, &chain) {
            routes.push((rule, Arc::new(route)));
        }
    }

    let cache = compiler.cache_limits();
    let drain = compiler.drain();
    let admin_token = compiler.admin_token();
    let (dns_queries, files, rate_limits) = (compiler.dns_queries, compiler.files, compiler.limits);
    let named_filters = compiler.named_filters;
    if !problems.is_empty() {
        problems.remove_follow_up_problems(&broken);
        return Err(problems);
    }
    let level = match config.log.level.unwrap_or(defaults::log::LEVEL) {
        config::Level::Error => log::LevelFilter::Error,
        config::Level::Warn => log::LevelFilter::Warn,
        config::Level::Info => log::LevelFilter::Info,
        config::Level::Debug => log::LevelFilter::Debug,
        config::Level::Trace => log::LevelFilter::Trace,
    };
    Ok(Snapshot {
        number: env.previous.map_or(1, |previous| previous.number),
        global,
        table: Table::new(routes),
        fallback,
        pools,
        probes,
        probing: Probes::default(),
        dns_queries,
        named_filters,
        listeners,
        files,
        startup,
        rate_limits,
        cache,
        drain,
        guard: config.reload.guard.as_ref().map(rollback_settings),
        admin_token,
        written: sources,
        grace: config.shutdown.grace.unwrap_or(defaults::shutdown::GRACE).0,
        delay: config.shutdown.delay.unwrap_or(defaults::shutdown::DELAY).0,
        log: (level, config.log.format.unwrap_or(defaults::log::FORMAT) == config::LogFormat::Json),
    })
}

fn rollback_settings(written: &config::Guard) -> RollbackSettings {
    let errors = written.max_5xx_increase.unwrap_or(defaults::guard::MAX_5XX_INCREASE);
    let handshakes =
        written.max_handshake_failures.unwrap_or(defaults::guard::MAX_HANDSHAKE_FAILURES);
    RollbackSettings {
        window: written.window.unwrap_or(defaults::guard::WINDOW).0,
        errors: f64::from(errors) / 100.0,
        handshakes: handshakes.into(),
    }
}

/// The rule divided into one per host, in a canonical order, so that two rules for exactly the same requests are
/// equal.
fn single_hosts(rule: &Rule) -> Vec<Rule> {
    let mut sorted = rule.clone();
    sorted.methods.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    let hosts = std::mem::take(&mut sorted.hosts);
    if hosts.is_empty() {
        return vec![sorted];
    }
    hosts.into_iter().map(|host| Rule { hosts: vec![host], ..sorted.clone() }).collect()
}

/// The routes of the snapshot in force, by name.
fn routes_by_name<'s>(env: &CompileEnv<'s>) -> HashMap<&'s str, &'s Arc<Route>> {
    let routes = env.previous.into_iter().flat_map(|previous| previous.table.iter());
    routes.map(|(_, route)| (&*route.name, route)).collect()
}

struct Compiler<'c> {
    config: &'c Config,
    sources: &'c Sources,
    problems: &'c mut Problems,
    /// What is missing because it was written wrongly, which is reported already.
    broken: &'c BrokenParts,
    env: &'c CompileEnv<'c>,
    /// The routes of the snapshot in force, by name.
    previous_routes: HashMap<&'c str, &'c Arc<Route>>,
    /// What DNS is asked for.
    dns_queries: BTreeSet<DnsQuery>,
    /// The filters that the file uses by name.
    named_filters: BTreeMap<FilterPlace, Arc<dyn Filter>>,
    /// Files that the snapshot is made of, beside the configuration's own.
    files: BTreeMap<PathBuf, Option<FileFingerprint>>,
    /// Where it is counted together with other gateways.
    shared: Option<Arc<SharedCounterClient>>,
    /// The rate limits compiled so far.
    limits: Vec<Arc<RateLimit>>,
    /// The names under `upstreams`, those with errors included.
    declared_upstreams: &'c BTreeSet<String>,
    /// Names that are none of these, and have been reported.
    missing_upstreams: BTreeSet<String>,
}

impl Compiler<'_> {
    fn startup(&mut self, listeners: &[Arc<Listener>]) -> StartupSettings {
        if self.config.listeners.is_empty() && self.problems.is_empty() {
            self.problems
                .add(Span::default(), "listeners", "the configuration has no listener")
                .help("add `listeners: [{address: 127.0.0.1:3000}]`");
        }
        let threads = self.config.threads.unwrap_or_else(|| {
            std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
        });
        self.check_claims();
        let listeners = listeners.iter().map(|it| it.address.clone()).collect();
        let modes = self.modes();
        StartupSettings {
            listeners,
            modes,
            threads,
            upstream_pool_size: self
                .config
                .upstream_pool_size
                .unwrap_or(defaults::file::UPSTREAM_POOL_SIZE),
            admin: self.admin(),
            upgrade_socket: self.upgrade_socket(),
            state_dir: self
                .config
                .state_dir
                .as_ref()
                .map(|written| self.sources.folder(written.span).join(&written.value)),
        }
    }

    fn upgrade_socket(&mut self) -> Option<PathBuf> {
        let written = self.config.upgrade_socket.as_ref()?;
        let path = PathBuf::from(written.as_str());
        if !path.is_absolute() {
            self.problems.add(written.span, "upgrade_socket", "must be an absolute path");
        } else if path.as_os_str().len() > MAX_SOCKET_PATH {
            let reason = format!("the path must have at most {MAX_SOCKET_PATH} bytes");
            self.problems.add(written.span, "upgrade_socket", reason);
        }
        Some(path)
    }

    fn admin(&mut self) -> Option<Address> {
        let address = &self.config.admin.as_ref()?.address;
        if address.0.ip().is_some_and(|ip| !ip.is_loopback()) {
            self.problems
                .add(
                    address.span,
                    "admin.address",
                    "must be a loopback address or a Unix domain socket",
                )
                .help("clients of the admin endpoint can close sessions: use 127.0.0.1");
        }
        Some(address.0.clone())
    }

    fn admin_token(&mut self) -> Option<Arc<str>> {
        let token = self.config.admin.as_ref()?.token.as_ref()?;
        if token.chars().count() < MIN_TOKEN_LENGTH {
            let reason =
                format!("a token of fewer than {MIN_TOKEN_LENGTH} characters can be guessed");
            self.problems
                .add(token.span, "admin.token", reason)
                .help("create a token with `openssl rand -hex 16`");
        } else if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let reason = "a token may contain only visible ASCII characters, because clients \
                          send it in a header";
            self.problems.add(token.span, "admin.token", reason);
        }
        Some(token.value.as_str().into())
    }

    fn drain(&mut self) -> DrainSettings {
        let written = &self.config.drain;
        if let Some(code) = &written.code
            && !matches!(code.value, close_code::GOING_AWAY | close_code::SERVICE_RESTART)
        {
            let reason = "the close code of a drain must be 1012 (service restart) or 1001 \
                          (going away)";
            self.problems.add(code.span, "drain.code", reason);
        }
        DrainSettings {
            code: written.code.as_ref().map_or(defaults::drain::CODE, |code| code.value),
            spread: duration_or_default(written.spread.as_ref(), defaults::drain::SPREAD),
        }
    }

    fn global(&mut self) -> GlobalSettings {
        let trusted = self.config.trusted_proxies.iter();
        let network = |trusted: &Spanned<TrustedProxy>| match &trusted.value {
            TrustedProxy::Network(network) => Some(network.0),
            TrustedProxy::Unix => None,
        };
        GlobalSettings {
            trusted_proxies: trusted.filter_map(network).collect(),
            trusts_unix: self
                .config
                .trusted_proxies
                .iter()
                .any(|it| it.value == TrustedProxy::Unix),
            limits: self.limits(),
            managed_headers: self.managed_headers(),
            via: self.via(),
            error_pages: self.error_pages(),
            sends_proxy_status: self.config.proxy_status.unwrap_or(defaults::file::PROXY_STATUS).0,
            shared: self.shared.clone(),
            access_log: self.access_log().map(Arc::new),
            tracing: self.tracing().map(Arc::new),
        }
    }

    /// A gateway keeps its name when it reloads: requests may be in flight.
    fn via(&self) -> Arc<Via> {
        let previous = self.env.previous;
        previous.map_or_else(|| Arc::new(Via::unique()), |it| Arc::clone(&it.global.via))
    }

    fn pools(&mut self) -> BTreeMap<String, Arc<Pool>> {
        self.config
            .upstreams
            .iter()
            .map(|(name, written)| {
                let previous = self.env.previous.and_then(|it| it.pools.get(name));
                (name.clone(), self.pool(name, written, previous))
            })
            .collect()
    }

    fn probes(&self) -> BTreeMap<String, Arc<Probe>> {
        let upstreams = self.config.upstreams.iter();
        let probe = |written: &config::HealthCheck| Arc::new(upstream::probe(written));
        upstreams
            .filter_map(|(name, written)| Some((name.clone(), probe(written.health.as_ref()?))))
            .collect()
    }

    fn user_id(&mut self) -> Option<Arc<UserIdFilter>> {
        let written = &self.config.identity.user_id;
        let sources: Vec<UserIdSource> = written
            .iter()
            .filter_map(|source| match source {
                config::UserIdSource::Query(name) => Some(UserIdSource::Query(name.clone())),
                config::UserIdSource::Cookie(name) => Some(UserIdSource::Cookie(name.clone())),
                config::UserIdSource::Header(name) => header_name(name).map(UserIdSource::Header),
            })
            .collect();
        (!sources.is_empty()).then(|| Arc::new(UserIdFilter::new(sources)))
    }
}

impl Compiler<'_> {
    /// A reference to an upstream that is not usable. One mistake is one error: a name is reported at
    /// its first reference, and not at all where the upstream, or `upstreams` itself, has an error.
    fn no_such_upstream(&mut self, name: &Spanned<String>, key_path: &str) {
        let is_misspelt = |problem: &config::Problem| {
            let path = problem.path();
            problem.is_unknown_key()
                && !path.contains('.')
                && config::did_you_mean(path, ["upstreams", "include"]).is_some()
        };
        if self.declared_upstreams.contains(name.as_str())
            || self.broken.is_whole("upstreams")
            || self.broken.is_any_within("include")
            || self.problems.iter().any(|it| is_misspelt(it) || it.may_hide_upstreams())
            || !self.missing_upstreams.insert(name.to_string())
        {
            return;
        }
        let guess = config::did_you_mean(name, self.declared_upstreams.iter().map(String::as_str));
        let reason = format!("there is no upstream `{}`", name.as_str());
        let problem = self.problems.add(name.span, key_path, reason);
        if let Some(guess) = guess {
            problem.help(format!("did you mean `{guess}`?"));
        }
    }
}

/// A duration that must not be shorter than this.
fn at_least(
    written: Option<&Spanned<config::Duration>>,
    shortest: Duration,
    problems: &mut Problems,
    path: &str,
) {
    if let Some(written) = written
        && written.value.0 < shortest
    {
        let reason = match shortest < Duration::from_millis(1) {
            true => "must be more than 0s".to_owned(),
            false => format!("must be at least {}", humantime::format_duration(shortest)),
        };
        problems.add(written.span, path, reason);
    }
}

/// A duration as written, or this default.
fn duration_or_default(
    written: Option<&Spanned<config::Duration>>,
    default: config::Duration,
) -> Duration {
    written.map_or(default.0, |written| written.value.0)
}

/// A header name, which was validated when the file was read.
fn header_name(written: &config::HeaderName) -> Option<HeaderName> {
    HeaderName::from_bytes(written.as_str().as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_config::{FilterSchemas, Variables, read_str_with};

    /// The problems of a configuration with a listener, a route, and these lines first.
    fn problems(lines: &str) -> String {
        let listeners = "listeners: [{address: 127.0.0.1:0}]";
        let routes = "routes: [{name: all, match: {path_prefix: /}, respond: {status: 204}}]";
        let yaml = format!("{lines}\n{listeners}\n{routes}\n");
        let read =
            read_str_with(&yaml, "test.yaml", &Variables::default(), &FilterSchemas::default());
        let compiled = compile(read, &CompileEnv::for_dry_run(&FilterRegistry::default()));
        compiled.err().map(|problems| problems.to_string()).unwrap_or_default()
    }

    #[test]
    fn key_of_a_feature_that_the_build_lacks_is_refused_at_its_line() {
        for (is_compiled, feature, what, lines, line) in [
            (
                cfg!(feature = "discovery"),
                "discovery",
                "DNS discovery",
                "upstreams:\n  api:\n    discover: {host: \"api.internal:80\"}",
                3,
            ),
            (
                cfg!(feature = "valkey"),
                "valkey",
                "shared counters",
                "shared_counters:\n  url: redis://127.0.0.1:6379",
                2,
            ),
            (cfg!(feature = "opentelemetry"), "opentelemetry", "tracing", "tracing: on", 1),
        ] {
            let found = problems(lines);
            if is_compiled {
                assert_eq!(found, "", "{feature}");
            } else {
                let reason = format!(
                    "this binary was built without {what}; build it with `--features {feature}`"
                );
                let start = format!("test.yaml:{line}:");
                let is_refusal = |it: &str| it.starts_with(&start) && it.ends_with(&reason);
                assert!(found.lines().any(is_refusal), "{found}");
            }
        }
    }
}
