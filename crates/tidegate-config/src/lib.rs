//! The configuration **as written**: what a person put into the YAML file, with its positions. Nothing here is read on
//! the request path, and nothing knows the gateway.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod acme;
mod answer;
mod authentication;
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
mod filter_schemas;
mod filters;
mod format;
mod headers;
mod identity;
mod limits;
mod listener;
mod load;
mod logging;
mod maintenance;
mod path;
mod pool;
mod rate_limit;
mod reload;
mod restart;
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
pub use authentication::{
    ApiKey, ApiKeyFile, ApiKeys, AuthenticationScheme, Basic, ClaimCondition, ClaimMatch, Clients,
    Forward, HashFormat, Jwt, JwtAlgorithm, JwtKeys, Oidc, OidcCookie, OnError, PasswordLine,
    PasswordLineError, PasswordLineFault, RequestPart, Require, RequireSetting, Revocation,
    SameSite, TokenSource, UnsupportedHash, UserSource, password_lines,
};
pub use broken::BrokenParts;
pub use cache::{Cache, CachePolicy, CacheSetting};
pub use compression::{Coding, Compression, CompressionSetting};
pub use cors::{Cors, CorsPolicy};
pub use diagnostics::{Problem, ProblemCollector, Problems, did_you_mean};
pub use discover::{Discover, Resolver};
pub use error_pages::ErrorPages;
pub use expectation::{CorsVerdict, Test, TestRequest};
pub use files::Files;
pub use filter_schemas::FilterSchemas;
pub use filters::{FilterUse, Filters, SettingsError};
pub use format::{FormatError, format_yaml};
pub use headers::{FieldChanges, Headers};
pub use identity::{Identity, UserIdSource};
pub use limits::{Limits, Underscores};
pub use listener::{Listener, Protocol, RedirectToHttps};
pub use load::{LoadedConfig, read_stored, read_str_with, read_with};
pub use logging::{AccessLog, AccessLogSetting, Level, Log, LogFormat, LogSample};
pub use maintenance::{Maintenance, MaintenanceSetting};
pub use path::{DotSegments, DuplicateSlashes, EncodedSlash, PathForm, PathSetting};
pub use pool::{
    Balance, Check, Ejection, EjectionSetting, HashKey, HealthCheck, Retry, RetryOn, RetrySetting,
    UpstreamLimits,
};
pub use rate_limit::{RateLimit, RateLimitBy, SharedCounters};
pub use reload::{Guard, Reload};
pub use restart::RestartKey;
pub use route::{Route, ValueMatch};
pub use schema::{json_schema, json_schema_with, reference_markdown, reference_markdown_with};
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
    HostRewrite, ListenAddress, LostCode, Method, OriginPattern, Path, ProbeTarget, RequiredScheme,
    Span, Spanned, Switch, Template, TrustedProxy,
};

pub use yaml::{CoreValue, Kind, Node, Scalar, parse_tree};

pub use websocket::{
    Drain, Evict, LogFrames, OnChange, OnExpiry, OriginsWord, PingTo, Renew, WebSocket,
    WebSocketOrigins, WebSocketSetting,
};

use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A Tidegate configuration file.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "Tidegate configuration")]
pub struct Config {
    /// Additional files, as glob patterns relative to the file that includes them. Their `routes`,
    /// `upstreams` and `listeners` are added to those of this file. Example: `[conf.d/*.yaml]`.
    pub include: Vec<Spanned<String>>,
    /// Addresses to accept connections on. At least one is required.
    pub listeners: Vec<Listener>,
    /// Worker threads.
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<usize>,
    /// Maximum number of idle connections to upstreams, for each thread at each listener; the one
    /// that has been idle longest is closed for a new one.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub upstream_pool_size: Option<usize>,
    /// One line per request and per WebSocket session; `off` writes none.
    pub access_log: AccessLogSetting,
    /// The gateway's own log, on stderr.
    pub log: Log,
    /// Traces through OpenTelemetry: `off`, `on`, or the collector and what is recorded.
    pub tracing: Spanned<TracingSetting>,
    /// How the gateway stops.
    pub shutdown: Shutdown,
    /// Unix socket through which the gateway hands its listeners to the next process (`tidegate
    /// upgrade`), as an absolute path; only the gateway's user and root may write to its folder.
    pub upgrade_socket: Option<Spanned<String>>,
    /// Folder for data that outlives the process: ACME accounts and certificates, and the last
    /// twenty versions of the configuration. The gateway creates it if it is missing; no other user
    /// should be able to read it. Relative paths start at the folder of the configuration file.
    pub state_dir: Option<Spanned<String>>,
    /// How edits of this file take effect.
    pub reload: Reload,
    /// How WebSocket sessions are closed when the gateway stops, drains or reloads.
    pub drain: Drain,
    /// The admin endpoint, to inspect and control the gateway.
    pub admin: Option<Admin>,
    /// Ways to verify who sends a request, by name. A scheme has an effect only on routes that name it
    /// under `require`.
    pub authentication: BTreeMap<String, Spanned<AuthenticationScheme>>,
    /// What every request needs to be admitted, on each route without `require` of its own: the name of a
    /// scheme, or settings.
    pub require: Option<Spanned<RequireSetting>>,
    /// How logins end before they expire.
    pub revocation: Revocation,
    /// Client addresses that are admitted, on every route.
    pub clients: Clients,
    /// The user of a request.
    pub identity: Identity,
    /// Cross-origin resource sharing (Fetch standard), for every route without `cors` of its own.
    pub cors: Option<Spanned<CorsPolicy>>,
    /// Changes of headers on every route. For the same header, the changes of a route replace
    /// these.
    pub headers: Headers,
    /// Compression of responses: `on`, `off`, or its settings, for every route without
    /// `compression` of its own.
    pub compression: Option<Spanned<CompressionSetting>>,
    /// Size of the cache; `routes[].cache` selects the routes that use it.
    pub cache: Cache,
    /// Filters that the program registers under these names, for every request, before those of its
    /// route. Each declares whether it sees requests before or after the rate limits.
    pub filters: Filters,
    /// Maintenance of all routes: `on`, `off`, or its settings.
    pub maintenance: Option<Spanned<MaintenanceSetting>>,
    /// Your own pages for errors.
    pub error_pages: ErrorPages,
    /// Whether the gateway's own errors have a `Proxy-Status` header (RFC 9209) with the type of
    /// the error; it names no endpoint. `tidegate doctor` recognises the gateway by it.
    pub proxy_status: Option<Switch>,
    /// Networks (CIDR) whose `X-Forwarded-For`, `-Proto`, `-Host`, `Forwarded` (RFC 7239; if a
    /// proxy sends both, the former count) and `X-Request-Id` the gateway trusts; `unix` means
    /// clients of Unix domain sockets.
    pub trusted_proxies: Vec<Spanned<TrustedProxy>>,
    /// Limits on what a client may send and use.
    pub limits: Limits,
    /// Rate limits shared by all routes that define none of their own. All of them apply.
    pub rate_limits: Vec<Spanned<RateLimit>>,
    /// A server through which several gateways count together.
    pub shared_counters: Option<SharedCounters>,
    /// DNS server for discovered endpoints.
    pub resolver: Option<Resolver>,
    /// Services to forward to, by name.
    pub upstreams: BTreeMap<String, Spanned<Upstream>>,
    /// Which upstream gets a request, or how the gateway answers it. The most specific route wins,
    /// in any order.
    pub routes: Vec<Spanned<Route>>,
    /// Requests and their expected results.
    pub tests: Vec<Test>,
}

/// How the gateway stops.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// Maximum time that requests and WebSockets in flight may take to finish after SIGTERM.
    pub grace: Option<Duration>,
    /// Time after SIGTERM in which the gateway still accepts connections while `/readyz` of the
    /// admin endpoint already fails, so that balancers can choose other gateways first.
    pub delay: Option<Duration>,
}

/// The admin endpoint, to inspect and control the gateway.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// A loopback address with a port, `127.0.0.1:9901`, or a Unix domain socket that only the
    /// gateway's user may use, `unix:/run/tidegate/admin.sock`. Every client that reaches it may
    /// read everything, including sessions and users.
    pub address: Spanned<ListenAddress>,
    /// Token that a client must send (`Authorization: Bearer …`) to change anything: close
    /// sessions, reload, roll back, purge. At least 16 characters; use a variable. Without a token
    /// nothing can be changed over TCP; a Unix domain socket needs none.
    pub token: Option<Spanned<String>>,
}
