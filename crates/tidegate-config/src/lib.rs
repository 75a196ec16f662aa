//! The configuration **as written**: what a person put into the YAML file, with its positions.
//!
//! One type per section of the file. Nothing here is read on the request path;
//! `snapshot::compile` turns it into what is.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod acme;
mod answer;
mod broken;
mod cache;
mod check;
mod compression;
mod cors;
mod de;
pub mod defaults;
mod diagnostics;
mod discover;
mod error_pages;
mod expectation;
mod files;
mod headers;
mod identity;
mod layout;
mod limits;
mod listener;
mod load;
mod logging;
mod maintenance;
mod path;
mod pool;
mod rate_limit;
mod reload;
mod route;
mod salvage;
mod schema;
mod source;
mod split;
#[cfg(test)]
mod tests;
mod tls;
mod tracing;
mod union;
mod upstream;
mod values;
mod websocket;
pub mod yaml;

pub use acme::{Acme, AcmeChallenge};
pub use answer::{Redirect, Respond};
pub use broken::BrokenParts;
pub use cache::{Cache, CachePolicy, CacheSetting};
pub use compression::{Coding, Compression, CompressionSetting};
pub use cors::{Cors, CorsPolicy};
pub use diagnostics::{Problem, Problems, did_you_mean};
pub use discover::{Discover, Resolver};
pub use error_pages::ErrorPages;
pub use expectation::{CorsVerdict, Test, TestRequest};
pub use files::Files;
pub use headers::{FieldChanges, Headers};
pub use identity::{Identity, UserIdSource};
pub use layout::lay_out;
pub use limits::{Limits, Underscores};
pub use listener::{Listener, Protocol, RedirectToHttps};
pub use load::{Read, read_again, read_str_with, read_with};
pub use logging::{AccessLog, AccessLogSetting, Level, Log, LogFormat, LogSample};
pub use maintenance::{Maintenance, MaintenanceSetting};
pub use path::{DotSegments, DuplicateSlashes, EncodedSlash, PathForm, PathSetting};
pub use pool::{
    Balance, Check, Ejection, EjectionSetting, HashKey, HealthCheck, Retry, RetryOn, RetrySetting,
    UpstreamLimits,
};
pub use rate_limit::{RateLimit, RateLimitBy, SharedCounters};
pub use reload::{Guard, Reload};
pub use route::{Route, ValueMatch};
pub use schema::{reference, schema};
pub use source::{ExpandedValues, Sources, Variables};
pub use split::{Mirror, Split};
pub use tls::{
    Certificate, ClientAuthMode, Hsts, HstsSetting, ListenerTls, TlsVersion, UpstreamTls,
    UpstreamTlsSetting,
};
pub use tracing::{Otlp, OtlpProtocol, SampleParent, Tracing, TracingSetting};
pub use upstream::{Endpoint, Upstream};
pub use values::{
    ByteSize, Cidr, Duration, EndpointAddress, ErrorStatus, Exactly, HeaderName, HostPattern,
    HostRewrite, ListenAddress, LostCode, Method, OriginPattern, Path, ProbeTarget, Span, Spanned,
    Switch, Template, TrustedProxy,
};

pub use yaml::{Kind, Node, Resolved, Scalar, tree};

pub use websocket::{
    Drain, Evict, LogFrames, OnChange, OriginsWord, PingTo, WebSocket, WebSocketOrigins,
    WebSocketSetting,
};

use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A Tidegate configuration file.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "Tidegate configuration")]
pub struct Config {
    /// Further files, as glob patterns relative to the file that names them. Their `routes`,
    /// `upstreams` and `listeners` are added to this file's. Example: `[conf.d/*.yaml]`.
    pub include: Vec<Spanned<String>>,
    /// Addresses to accept connections on. At least one is required.
    pub listeners: Vec<Listener>,
    /// Worker threads.
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<usize>,
    /// Connections to upstreams that are kept while they lie idle, for each thread at each
    /// listener; the one that has lain the longest is closed for another.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub upstream_pool_size: Option<usize>,
    /// One line per request and per WebSocket session; `off` writes none.
    pub access_log: AccessLogSetting,
    /// The gateway's own log, on stderr.
    pub log: Log,
    /// Traces by OpenTelemetry: `off`, `on`, or where they go and what is recorded.
    pub tracing: TracingSetting,
    /// How the gateway stops.
    pub shutdown: Shutdown,
    /// A Unix socket over which the listeners are handed to the next gateway (`tidegate upgrade`),
    /// as an absolute path; only the gateway's user and root may write to its folder.
    pub upgrade_socket: Option<Spanned<String>>,
    /// A folder for what must outlive the process: accounts and certificates of ACME, the last
    /// twenty versions of the configuration. It is made where it is missing; nobody else should be
    /// able to read it. Relative paths start at the folder of the configuration file.
    pub state_dir: Option<Spanned<String>>,
    /// How edits of this file take effect.
    pub reload: Reload,
    /// How WebSocket sessions are closed when the gateway stops, drains or reloads.
    pub drain: Drain,
    /// Where the gateway can be asked and told.
    pub admin: Option<Admin>,
    /// Who a request speaks for.
    pub identity: Identity,
    /// Cross-origin resource sharing (Fetch standard), for every route without `cors` of its own.
    pub cors: Option<Spanned<CorsPolicy>>,
    /// Header fields that are changed on the way, on every route. What a route says of a field
    /// replaces what is said here of it.
    pub headers: Headers,
    /// Compression of responses: `on`, `off`, or what is compressed and how, on every route without `compression`
    /// of its own.
    pub compression: Option<Spanned<CompressionSetting>>,
    /// How much the cache holds; which routes keep their responses there, `routes[].cache` says.
    pub cache: Cache,
    /// Maintenance of everything: `on`, `off`, or how it is announced.
    pub maintenance: Option<Spanned<MaintenanceSetting>>,
    /// Pages of one's own for errors.
    pub error_pages: ErrorPages,
    /// Whether errors of the gateway's own have a `Proxy-Status` header (RFC 9209) that says what
    /// kind of error it is and names no endpoint. `tidegate doctor` knows the gateway by it.
    pub proxy_status: Option<Switch>,
    /// Networks (CIDR) whose `X-Forwarded-For`, `-Proto`, `-Host`, `Forwarded` (RFC 7239; where a
    /// proxy sends both, the former count) and `X-Request-Id` are believed; `unix` means clients of
    /// Unix domain sockets.
    pub trusted_proxies: Vec<Spanned<TrustedProxy>>,
    /// Bounds on what a client may send.
    pub limits: Limits,
    /// How often who may ask, on every route without `rate_limits` of its own; those routes
    /// together. All of them hold.
    pub rate_limits: Vec<Spanned<RateLimit>>,
    /// Where several gateways count together.
    pub shared_counters: Option<SharedCounters>,
    /// Which server of DNS is asked for the endpoints that are discovered.
    pub resolver: Option<Resolver>,
    /// Services to forward to, by name.
    pub upstreams: BTreeMap<String, Spanned<Upstream>>,
    /// Which request goes to which upstream, or is answered here. The most specific route wins, whatever the order.
    pub routes: Vec<Spanned<Route>>,
    /// Requests, and what must become of them.
    pub tests: Vec<Test>,
}

/// How the gateway stops.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// How long requests and WebSockets in flight may take to finish after SIGTERM.
    pub grace: Option<Duration>,
    /// How long connections are still accepted after SIGTERM while `/readyz` of the admin endpoint
    /// fails already, so that balancers look elsewhere first.
    pub delay: Option<Duration>,
}

/// Where the gateway can be asked and told.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// A loopback address with a port, `127.0.0.1:9901`, or a Unix domain socket that only the
    /// gateway's user may use, `unix:/run/tidegate/admin.sock`. Whoever reaches it may see what
    /// there is to see, sessions and users included.
    pub address: Spanned<ListenAddress>,
    /// What must be shown (`Authorization: Bearer …`) to change anything: close sessions, reload, go
    /// back, purge. At least 16 characters; a variable is a good place for it. Without one nothing
    /// can be changed at an address of TCP; at a Unix domain socket none is needed.
    pub token: Option<Spanned<String>>,
}
