//! One immutable, compiled snapshot of the configuration, which each request reads. Starts no task and does no I/O.

mod change;
mod compile;
mod current;
mod file_fingerprint;
mod limits;
mod listener;
mod managed_headers;
mod mirror;
mod route_observer;
mod session_impact;
mod split;

pub(crate) use change::SnapshotChanges;
pub(crate) use compile::{CompileEnv, compile, filter_keys};
pub(crate) use current::CurrentSnapshot;
pub(crate) use file_fingerprint::FileFingerprint;
pub(crate) use limits::RequestLimits;
pub(crate) use listener::{Listener, TlsListener};
pub(crate) use managed_headers::{ManagedHeaders, Underscores, has_underscore, is_odd};
pub(crate) use mirror::Mirror;
pub(crate) use session_impact::SessionPolicies;
pub use session_impact::{SessionAction, SessionImpact};
pub(crate) use split::{SplitCondition, SplitRule, first_match as split};

use crate::acme::ManagedCertificate;
use crate::authentication::Scheme;
use crate::cache;
use crate::compression::Compression;
use crate::error_pages::ErrorPages;
use crate::exchange::Exchange;
use crate::filter::{BodyFilters, Filter};
use crate::identity::VerifiedIdentity;
use crate::rate_limit::RateLimit;
use crate::routing::{Miss, Query, Table};
use crate::shared::SharedCounterClient;
use crate::telemetry::{AccessLog, RouteRequestCounters};
use crate::traces::Tracing;
use crate::upstream::{DnsQuery, Pool, Probe, Probes};
use crate::websocket::{self, FrameObserver};
use http::{HeaderMap, Method};
use ipnet::IpNet;
use pingora::http::RequestHeader;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tidegate_config::Sources;
use tidegate_http::address::Address;
use tidegate_http::host::without_port;
use tidegate_http::path::PathPolicy;
use tidegate_http::stable_hash;
use tidegate_http::stable_hash::{StableHash, StableHasher};
use tidegate_http::via::Via;

/// A compiled configuration.
pub(crate) struct Snapshot {
    /// The version of the configuration that it was made of.
    pub number: u64,
    /// Settings for all routes.
    pub global: Arc<GlobalSettings>,
    /// The routes.
    pub table: Table<Arc<Route>>,
    /// What a request that no route takes goes through: the default filters, and no upstream.
    pub fallback: Arc<Route>,
    /// The upstreams, by name.
    pub pools: BTreeMap<String, Arc<Pool>>,
    /// How their endpoints are asked whether they are well.
    pub probes: BTreeMap<String, Arc<Probe>>,
    /// The asking itself, once it has begun.
    pub probing: Probes,
    /// What DNS is asked for, to discover endpoints.
    pub dns_queries: BTreeSet<DnsQuery>,
    /// The filters that the file uses by name. The next version keeps those whose settings do not change.
    pub named_filters: BTreeMap<FilterPlace, Arc<dyn Filter>>,
    /// The schemes of `authentication`, by name. The next version keeps those whose settings do not change.
    pub(crate) schemes: BTreeMap<String, KeptScheme>,
    /// For how long revoked logins are remembered.
    pub(crate) remember_revocations: Duration,
    /// The sessions of the gateway, which outlive it: some filters need them. The next version has the same.
    pub(crate) sessions: Arc<websocket::SessionRegistry>,
    /// How connections are accepted.
    pub listeners: Vec<Arc<Listener>>,
    /// Files beside the configuration's own that it was made of, certificates and their keys,
    /// as they were then.
    pub files: BTreeMap<PathBuf, Option<FileFingerprint>>,
    /// Settings that take effect only at the start.
    pub startup: StartupSettings,
    /// The rate limits.
    pub rate_limits: Vec<Arc<RateLimit>>,
    /// How much the cache may hold, where a route keeps anything.
    pub cache: Option<cache::CacheLimits>,
    /// How long requests in flight may take after SIGTERM.
    pub grace: Duration,
    /// How long connections are accepted after SIGTERM, while readiness fails.
    pub delay: Duration,
    /// How sessions are closed when the gateway stops, drains or reloads.
    pub drain: DrainSettings,
    /// When the gateway rolls back to the previous version.
    pub guard: Option<RollbackSettings>,
    /// What who changes anything at the admin endpoint must show.
    pub admin_token: Option<Arc<str>>,
    /// The configuration as written, for the admin endpoint.
    pub written: Sources,
    /// The gateway's own log: the least level, and whether it is JSON.
    pub log: (log::LevelFilter, bool),
}

/// How sessions are closed when the gateway stops, drains or reloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DrainSettings {
    /// The close code.
    pub code: u16,
    /// Over how long.
    pub spread: Duration,
}

/// When the gateway rolls back to the previous version.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RollbackSettings {
    /// How long an edit is watched.
    pub window: Duration,
    /// By how much the share of server errors may grow, from 0 to 1.
    pub errors: f64,
    /// How many more handshakes may fail.
    pub handshakes: u64,
}

/// Which filter a use by name in the file is. It stays the same while other uses come and go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FilterPlace {
    /// The route's name; empty for the list that holds for all routes.
    pub route: String,
    /// Name and settings in a serialised form, secrets included.
    pub serialised: String,
    /// How many equal ones come before it.
    pub number: usize,
}

/// A scheme of `authentication`.
#[derive(Clone)]
pub(crate) struct KeptScheme {
    /// Its settings in a serialised form, secrets and the content of its files included.
    pub(crate) serialised: String,
    /// The same without the content of files, which may change without ending the sessions of a route.
    pub(crate) settings: String,
    /// The scheme.
    pub(crate) scheme: Arc<dyn Scheme>,
}

impl fmt::Debug for KeptScheme {
    /// Without the settings, which have secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeptScheme").field(&self.scheme.describe()).finish()
    }
}

/// Settings that take effect only at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StartupSettings {
    /// The listeners' addresses.
    pub listeners: Vec<Address>,
    /// The permissions of those that are Unix domain sockets, in the same order.
    pub modes: Vec<u32>,
    /// The worker threads.
    pub threads: usize,
    /// The most connections to upstreams that lie idle, for each thread at each listener.
    pub upstream_pool_size: usize,
    /// The admin endpoint.
    pub admin: Option<Address>,
    /// Where the listeners are handed to the next gateway, when it is written.
    pub upgrade_socket: Option<PathBuf>,
    /// Where the versions of the configuration are kept.
    pub state_dir: Option<PathBuf>,
}

/// Settings for all routes.
#[derive(Debug)]
pub(crate) struct GlobalSettings {
    /// Networks whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether clients of Unix domain sockets are trusted as well.
    pub trusts_unix: bool,
    /// What strangers may make the gateway hold.
    pub limits: RequestLimits,
    /// Request headers that clients must not set under another spelling.
    pub managed_headers: ManagedHeaders,
    /// How the gateway names itself in `Via`.
    pub via: Arc<Via>,
    /// Pages for errors.
    pub error_pages: Option<ErrorPages>,
    /// Whether errors of the gateway's own have a `Proxy-Status` (RFC 9209).
    pub sends_proxy_status: bool,
    /// Where it is counted together with other gateways.
    pub shared: Option<Arc<SharedCounterClient>>,
    /// The access log, unless it is off.
    pub access_log: Option<Arc<AccessLog>>,
    /// How requests are traced, unless they are not.
    pub tracing: Option<Arc<Tracing>>,
}

impl GlobalSettings {
    /// Whether this peer's forwarding headers are believed.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted_proxies.iter().any(|network| network.contains(&address))
    }
}

/// A compiled route.
pub(crate) struct Route {
    /// Its name; empty for the fallback.
    pub name: Arc<str>,
    /// Settings for all routes.
    pub global: Arc<GlobalSettings>,
    /// Where it leads; the fallback leads nowhere.
    pub pool: Option<Arc<Pool>>,
    /// Which of its requests go elsewhere.
    pub splits: Vec<SplitRule>,
    /// Where copies of its requests go.
    pub mirror: Option<Arc<Mirror>>,
    /// In the order in which they see requests.
    pub filters: Box<[Arc<dyn Filter>]>,
    /// Beside each of them the name that the file uses it by; built-in ones have none.
    pub filter_names: Box<[Option<Arc<str>>]>,
    /// Before which of them the `Origin` of WebSocket handshakes is checked.
    pub origin_check_at: usize,
    /// Those of them that see request bodies, if any.
    pub(crate) request_body_filters: Option<Box<BodyFilters>>,
    /// Those of them that see response bodies, if any.
    pub(crate) response_body_filters: Option<Arc<BodyFilters>>,
    /// How responses are compressed, if they are.
    pub compression: Option<Arc<Compression>>,
    /// What has become of its requests so far.
    pub requests: Arc<RouteRequestCounters>,
    /// How responses are kept, if they are.
    pub cache: Option<Arc<cache::RouteCachePolicy>>,
    /// How many bytes of its path were matched by a prefix that is replaced, and by what.
    pub rewrite_prefix: Option<(usize, String)>,
    /// What of a path's spelling is passed on.
    pub path: PathPolicy,
    /// The `Host` that the upstream sees.
    pub host: HostHeader,
    /// WebSockets, unless they are off.
    pub websocket: Option<Arc<websocket::WebSocketSettings>>,
    /// Observes frames and messages of its sessions.
    pub observer: Option<Arc<dyn FrameObserver>>,
    /// To establish a connection.
    pub connect_timeout: Duration,
    /// For the TLS handshake of a connection that is established.
    pub tls_timeout: Duration,
    /// From the end of a request until its response begins, if written.
    pub first_byte_timeout: Option<Duration>,
    /// Between two reads of a response.
    pub read_timeout: Duration,
    /// Between two writes of a request.
    pub write_timeout: Duration,
    /// Whether gRPC-Web is translated to gRPC.
    pub grpc_web: bool,
    /// For the whole request.
    pub request_timeout: Option<Duration>,
    /// When a request is retried.
    pub retry: RetryPolicy,
    /// The most bytes of a request's body.
    pub max_body_size: Option<u64>,
    /// Changes when anything that the route does changes.
    pub fingerprint: u64,
    /// Changes when anything that the route does changes, except the upstream's endpoints.
    pub session_fingerprint: u64,
}

impl Route {
    /// Each filter in a line, with the name that the file uses it by.
    pub(crate) fn describe_filters(&self) -> Vec<String> {
        let described = self.filters.iter().zip(&self.filter_names);
        let describe = |(filter, name): (&Arc<dyn Filter>, &Option<Arc<str>>)| match name {
            Some(name) => format!("{name}: {}", filter.describe()),
            None => filter.describe(),
        };
        described.map(describe).collect()
    }

    /// What the upstream is asked for: the path with its prefix replaced, and the query byte for
    /// byte.
    pub(crate) fn target(
        &self,
        exchange: &Exchange,
        head: &RequestHeader,
        query: Option<&str>,
    ) -> String {
        let path = exchange.forwarded_path(head);
        let matched = exchange.forwarded.as_ref().map(|forwarded| forwarded.prefix);
        self.target_with_prefix_replaced(path, matched, query)
    }

    /// The target for the upstream of a path in normal form: its prefix replaced, and the query byte for byte.
    pub(crate) fn forwarded_target(&self, path: &str, query: Option<&str>) -> String {
        self.target_with_prefix_replaced(path, None, query)
    }

    /// The path with its prefix replaced, and the query; `matched_length` is its length in a path that is not in normal form.
    fn target_with_prefix_replaced(
        &self,
        path: &str,
        matched_length: Option<usize>,
        query: Option<&str>,
    ) -> String {
        let mut target = String::with_capacity(path.len() + query.map_or(0, str::len) + 16);
        match &self.rewrite_prefix {
            None => target.push_str(path),
            Some((matched, replacement)) => {
                target.push_str(replacement);
                let matched = matched_length.unwrap_or(*matched);
                target.push_str(path.get(matched..).unwrap_or_default());
                if target.is_empty() {
                    target.push('/');
                }
            }
        }
        if let Some(query) = query {
            target.push('?');
            target.push_str(query);
        }
        target
    }

    /// The `Host` that the upstream sees of a request that has come with one, or without.
    pub(crate) fn host_for(&self, has_host: bool) -> &HostHeader {
        match &self.host {
            // RFC 9112, section 3.2: HTTP/1.0 may come without one, HTTP/1.1 must not go without.
            HostHeader::Preserve if !has_host => &HostHeader::Upstream,
            host => host,
        }
    }
}

/// When a request is retried.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RetryPolicy {
    /// The most attempts, the first included.
    pub attempts: u32,
    /// Whether a connection that could not be established is one of the cases.
    pub on_connect_failure: bool,
    /// Whether one that broke is.
    pub on_reset: bool,
    /// Whether an upstream that did not answer in time is.
    pub on_timeout: bool,
    /// The responses that are.
    pub on_status: Vec<u16>,
    /// The longest wait before the second attempt.
    pub backoff: Duration,
}

stable_hash!(RetryPolicy {
    attempts,
    on_connect_failure,
    on_reset,
    on_timeout,
    on_status,
    backoff,
});

/// The `Host` that an upstream gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HostHeader {
    /// What the client sent.
    Preserve,
    /// The endpoint's address, as written.
    Upstream,
    /// A name of its own.
    Name(http::HeaderValue),
}

impl StableHash for HostHeader {
    fn feed(&self, hasher: &mut StableHasher) {
        match self {
            Self::Preserve => hasher.number(0),
            Self::Upstream => hasher.number(1),
            Self::Name(name) => (2_u8, name).feed(hasher),
        }
    }
}

impl Snapshot {
    /// Whether the scheme of an identity still admits it. Where the scheme is gone, the route's own change decides what
    /// becomes of its sessions.
    pub(crate) fn still_admits(&self, identity: &VerifiedIdentity) -> bool {
        let kept = self.schemes.get(identity.scheme());
        kept.is_none_or(|kept| kept.scheme.still_admits(identity))
    }

    /// The certificates that are ordered by ACME.
    pub(crate) fn managed(&self) -> impl Iterator<Item = &Arc<ManagedCertificate>> {
        self.listeners.iter().filter_map(|listener| listener.tls.as_ref()?.acme.as_ref())
    }

    /// Warns of certificates that have expired or are about to, and of upstreams whose
    /// certificates nobody checks.
    pub(crate) fn warn(&self) {
        for (name, pool) in &self.pools {
            if pool.settings().protocol.tls.as_ref().is_some_and(|tls| !tls.verify) {
                log::warn!(
                    "upstream `{name}`: the gateway does not verify its certificate \
                     (insecure_skip_verify); anybody between the gateway and the upstream can \
                     read and change the traffic"
                );
            }
        }
        let now = SystemTime::now();
        self.listeners
            .iter()
            .filter_map(|it| it.tls.as_ref())
            .for_each(|it| it.warn_of_expiry(now));
    }

    /// Logs the files of endpoints that list none, and did `before`. Other endpoints are used.
    pub(crate) fn warn_of_empty_files(&self, before: Option<&Self>) {
        for (name, pool) in &self.pools {
            let sources = &pool.settings().sources;
            let was_empty = before
                .and_then(|before| before.pools.get(name))
                .is_some_and(|pool| pool.settings().sources.is_file_empty);
            if let (true, false, Some(file)) = (sources.is_file_empty, was_empty, &sources.file) {
                let beside = match sources.discovered {
                    Some(_) => "those that DNS lists (`discover`)",
                    None => "those in `endpoints`",
                };
                log::warn!(
                    "upstream `{name}`: the endpoints_file {} lists no endpoints; the gateway \
                     uses only {beside}",
                    file.display()
                );
            }
        }
    }

    /// How connections are accepted at this address.
    pub(crate) fn listener(&self, address: &Address) -> Option<&Arc<Listener>> {
        self.listeners.iter().find(|listener| listener.address == *address)
    }

    /// The most specific route for a request whose path is normalised.
    pub(crate) fn route(
        &self,
        path: &str,
        query: Option<&str>,
        authority: &str,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<&Arc<Route>, Miss> {
        let host = without_port(authority);
        self.table.find(&Query { path, query, host, method, headers })
    }
}
