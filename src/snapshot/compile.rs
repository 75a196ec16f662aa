//! Compiles the written configuration into a snapshot, the only way between the two: applies defaults, and reports all
//! problems at once. Starts nothing and sends nothing.

mod access_log;
mod acme;
mod answer;
mod authentication;
mod built_in;
mod cache;
mod chain;
mod claims;
mod clients;
mod compression;
mod cors;
mod endpoints;
mod error_pages;
mod files;
mod filters;
mod global;
mod headers;
mod limits;
mod listener;
mod maintenance;
mod managed_headers;
#[cfg(not(feature = "opentelemetry"))]
mod no_tracing;
mod rate_limit;
mod retry;
mod revocation;
mod route;
mod routes;
mod split;
mod startup;
#[cfg(test)]
mod tests;
#[cfg(feature = "opentelemetry")]
mod tracing;
mod upstream;
mod upstreams;
mod user_id;
mod websocket;

pub(crate) use chain::filter_keys;

use self::endpoints::Endpoint;
use super::{FileFingerprint, FilterPlace, KeptScheme, Route, Snapshot};
use crate::filter::{Filter, FilterRegistry};
use crate::rate_limit::RateLimit;
use crate::routing::Table;
use crate::shared::SharedCounterClient;
use crate::telemetry::{LineSink, LogTarget};
use crate::upstream::{Discovery, DnsQuery, Probes};
use crate::websocket::SessionRegistry;
use http::{HeaderName, Method};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tidegate_config::{
    self as config, BrokenParts, Config, LoadedConfig, ProblemCollector, Problems, Sources, Span,
    Spanned, defaults,
};

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

/// Compiles a configuration, or reports all its problems.
pub(crate) fn compile(read: LoadedConfig, env: &CompileEnv<'_>) -> Result<Snapshot, Problems> {
    let LoadedConfig { config, problems, sources, declared_upstreams, broken, route_indices } =
        read;
    let mut problems = ProblemCollector::after_reading(problems);
    let mut compiler = Compiler {
        config: &config,
        sources: &sources,
        problems: &mut problems,
        broken: &broken,
        env,
        previous_routes: routes_by_name(env),
        sessions: env.previous.map(|it| Arc::clone(&it.sessions)).unwrap_or_default(),
        dns_queries: BTreeSet::new(),
        named_filters: BTreeMap::new(),
        schemes: BTreeMap::new(),
        endpoints: Vec::new(),
        files: BTreeMap::new(),
        shared: None,
        limits: Vec::new(),
        declared_upstreams: &declared_upstreams,
        missing_upstreams: BTreeSet::new(),
    };
    for fault in env.filters.faults() {
        compiler.problems.add(Span::default(), "", fault.clone());
    }
    for name in env.filters.names().filter(|name| filter_keys().any(|key| key == *name)) {
        let reason = format!(
            "the program registers a filter as `{name}`, which is the name of a built-in filter"
        );
        compiler.problems.add(Span::default(), "", reason);
    }
    compiler.shared = compiler.shared_counters();

    let listeners = compiler.listeners();
    let startup = compiler.startup(&listeners);
    let global = Arc::new(compiler.global());
    let pools = compiler.pools();
    let probes = compiler.probes();
    compiler.schemes();
    let defaults = compiler.default_chain();
    let fallback = Arc::new(route::fallback(&global, &defaults, env));
    let mut routes = compiler.routes(&route_indices, &global, &pools, &defaults);
    let remember_revocations = compiler.revocation(&defaults);
    compiler.scheme_endpoints(&defaults);
    let endpoints = compiler.endpoint_routes(&global, &routes);
    routes.extend(endpoints);
    let cache = compiler.cache_limits();
    let drain = compiler.drain();
    let admin_token = compiler.admin_token();
    let (dns_queries, files, rate_limits) = (compiler.dns_queries, compiler.files, compiler.limits);
    let (named_filters, schemes) = (compiler.named_filters, compiler.schemes);
    let sessions = compiler.sessions;
    if !problems.is_empty() {
        problems.remove_follow_up_problems(&broken);
        return Err(problems.into_problems());
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
        schemes,
        sessions,
        remember_revocations,
        listeners,
        files,
        startup,
        rate_limits,
        cache,
        drain,
        guard: config.reload.guard.as_ref().map(global::rollback_settings),
        admin_token,
        written: sources,
        grace: config.shutdown.grace.unwrap_or(defaults::shutdown::GRACE).0,
        delay: config.shutdown.delay.unwrap_or(defaults::shutdown::DELAY).0,
        log: (level, config.log.format.unwrap_or(defaults::log::FORMAT) == config::LogFormat::Json),
    })
}

/// The routes of the snapshot in force, by name.
fn routes_by_name<'s>(env: &CompileEnv<'s>) -> HashMap<&'s str, &'s Arc<Route>> {
    let routes = env.previous.into_iter().flat_map(|previous| previous.table.iter());
    routes.map(|(_, route)| (&*route.name, route)).collect()
}

struct Compiler<'c> {
    config: &'c Config,
    sources: &'c Sources,
    problems: &'c mut ProblemCollector,
    /// What is missing because it was written wrongly, which is reported already.
    broken: &'c BrokenParts,
    env: &'c CompileEnv<'c>,
    /// The routes of the snapshot in force, by name.
    previous_routes: HashMap<&'c str, &'c Arc<Route>>,
    /// The sessions of the gateway.
    sessions: Arc<SessionRegistry>,
    /// What DNS is asked for.
    dns_queries: BTreeSet<DnsQuery>,
    /// The filters that the file uses by name.
    named_filters: BTreeMap<FilterPlace, Arc<dyn Filter>>,
    /// The schemes of `authentication`, by name.
    schemes: BTreeMap<String, KeptScheme>,
    /// The endpoints of the gateway's own.
    endpoints: Vec<Endpoint>,
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

/// Adds a problem if the duration is shorter than this.
fn refuse_shorter_duration(
    written: Option<&Spanned<config::Duration>>,
    shortest: Duration,
    problems: &mut ProblemCollector,
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

/// A method, which was validated when the file was read.
fn method(written: &config::Method) -> Option<Method> {
    Method::from_bytes(written.as_str().as_bytes()).ok()
}

/// A header name, which was validated when the file was read.
fn header_name(written: &config::HeaderName) -> Option<HeaderName> {
    HeaderName::from_bytes(written.as_str().as_bytes()).ok()
}
