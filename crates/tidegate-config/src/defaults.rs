//! The defaults of all keys, declared only here: the JSON Schema, the reference, `compile` and `tidegate diff` read
//! them. The file is long because it is one table; it must not know its readers.

use super::values::{ByteSize, Duration, LostCode, Switch};
use super::{
    Coding, DotSegments, DuplicateSlashes, EncodedSlash, JwtAlgorithm, Level, LogFormat,
    RequestPart, RetryOn, TlsVersion, Underscores,
};
use serde::ser::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use tidegate_http::header_name::lower;
use tidegate_http::websocket::close_code;

/// Where the configuration file is, if nobody names one: the first that exists.
pub const DEFAULT_CONFIG_PATHS: [&str; 2] = ["./tidegate.yaml", "/etc/tidegate/tidegate.yaml"];

const fn millis(millis: u64) -> Duration {
    Duration(std::time::Duration::from_millis(millis))
}

const fn seconds(seconds: u64) -> Duration {
    Duration(std::time::Duration::from_secs(seconds))
}

const fn minutes(minutes: u64) -> Duration {
    seconds(60 * minutes)
}

const fn days(days: u64) -> Duration {
    minutes(24 * 60 * days)
}

const fn kib(number: u64) -> ByteSize {
    ByteSize(number * 1024)
}

const fn mib(number: u64) -> ByteSize {
    kib(number * 1024)
}

const ON: Switch = Switch(true);
const OFF: Switch = Switch(false);

/// The default of `jwt.from`, as it is written.
#[derive(Debug, Clone, Copy)]
pub struct AuthorizationHeader;

/// The default of `api_keys.from`, as it is written.
#[derive(Debug, Clone, Copy)]
pub struct ApiKeyHeader;

impl Serialize for AuthorizationHeader {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        json!({"header": lower::AUTHORIZATION}).serialize(serializer)
    }
}

impl Serialize for ApiKeyHeader {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        json!({"header": lower::X_API_KEY}).serialize(serializer)
    }
}

/// The default of one key.
struct KeyDefault {
    /// The type that has the key, as the JSON Schema calls it.
    type_name: &'static str,
    key: &'static str,
    value: fn() -> Value,
}

/// Constants by the sections that they belong to, and the list of them all. A switch or a word whose type implements
/// `Default` needs no line here: the schema takes its default from there.
macro_rules! defaults {
    ($($of:ident in $section:ident { $($key:literal $constant:ident: $kind:ty = $value:expr;)* })*) => {
        $(
            #[doc = concat!("The defaults of the keys of `", stringify!($of), "`.")]
            pub mod $section {
                #[allow(unused_imports, reason = "not every section needs every unit")]
                use super::*;
                $(
                    #[doc = concat!("The default of `", $key, "`.")]
                    pub const $constant: $kind = $value;
                )*
            }
        )*

        const VALUES: &[KeyDefault] = &[
            $($(KeyDefault {
                type_name: stringify!($of),
                key: $key,
                value: || json!($section::$constant),
            },)*)*
        ];
    };
}

defaults! {
    Config in file {
        "access_log" ACCESS_LOG: Switch = ON;
        "compression" COMPRESSION: Switch = OFF;
        "cors" CORS: Switch = OFF;
        "maintenance" MAINTENANCE: Switch = OFF;
        "proxy_status" PROXY_STATUS: Switch = ON;
        "tracing" TRACING: Switch = OFF;
        "upstream_pool_size" UPSTREAM_POOL_SIZE: usize = 1024;
    }
    Shutdown in shutdown {
        "grace" GRACE: Duration = seconds(30);
        "delay" DELAY: Duration = seconds(0);
    }
    Acme in acme {
        "directory" DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";
        "retry" RETRY: Duration = minutes(1);
    }
    Jwt in jwt {
        "algorithms" ALGORITHMS: [JwtAlgorithm; 3] = [JwtAlgorithm::ES256, JwtAlgorithm::RS256, JwtAlgorithm::EdDSA];
        "from" FROM: [AuthorizationHeader; 1] = [AuthorizationHeader];
        "forward" FORWARD: Switch = OFF;
        "leeway" LEEWAY: Duration = seconds(30);
    }
    JwtKeys in jwt_keys {
        "refresh" REFRESH: Duration = minutes(10);
        "keep" KEEP: Duration = days(1);
    }
    ApiKeys in api_keys {
        "from" FROM: [ApiKeyHeader; 1] = [ApiKeyHeader];
        "forward" FORWARD: Switch = OFF;
    }
    Basic in basic {
        "realm" REALM: &str = "Restricted";
        "forward" FORWARD: Switch = OFF;
    }
    Forward in forward {
        "send" SEND: [&str; 2] = [lower::AUTHORIZATION, lower::COOKIE];
        "cache" CACHE: Duration = seconds(0);
        "cache_by" CACHE_BY: [RequestPart; 6] = [
            RequestPart::Method,
            RequestPart::Scheme,
            RequestPart::Host,
            RequestPart::Path,
            RequestPart::Query,
            RequestPart::Client,
        ];
        "timeout" TIMEOUT: Duration = seconds(2);
    }
    Oidc in oidc {
        "callback" CALLBACK: &str = "/.tidegate/login/callback";
        "logout" LOGOUT: &str = "/.tidegate/login/logout";
        "after_logout" AFTER_LOGOUT: &str = "/";
    }
    OidcCookie in oidc_cookie {
        "name" NAME: &str = "tidegate_login";
        "ttl" TTL: Duration = minutes(8 * 60);
    }
    Compression in compression {
        "algorithms" ALGORITHMS: [Coding; 3] = [Coding::Zstd, Coding::Br, Coding::Gzip];
        "min_size" MIN_SIZE: ByteSize = kib(1);
        // What shrinks, of what services and front ends are made of.
        "types" TYPES: [&str; 11] = [
            "text/*",
            "application/json",
            "application/javascript",
            "application/xml",
            "application/wasm",
            "application/x-ndjson",
            "image/svg+xml",
            "font/otf",
            "font/ttf",
            "*/*+json",
            "*/*+xml",
        ];
    }
    Levels in compression_levels {
        "gzip" GZIP: u32 = 5;
        "br" BR: u32 = 4;
        "zstd" ZSTD: u32 = 3;
    }
    AccessLog in access_log {
        "format" FORMAT: LogFormat = LogFormat::Json;
        "path" PATH: &str = "stdout";
    }
    LogSample in access_log_sample {
        "1xx" INFORMATIONAL: f64 = 1.0;
        "2xx" SUCCESSFUL: f64 = 1.0;
        "3xx" REDIRECTION: f64 = 1.0;
        "4xx" CLIENT_ERROR: f64 = 1.0;
        "5xx" SERVER_ERROR: f64 = 1.0;
    }
    Log in log {
        "format" FORMAT: LogFormat = LogFormat::Text;
        "level" LEVEL: Level = Level::Info;
    }
    Listener in listener {
        "mode" MODE: &str = "0660";
        "redirect_to_https" REDIRECT_TO_HTTPS: Switch = OFF;
    }
    ListenerTls in listener_tls {
        "min_version" MIN_VERSION: TlsVersion = TlsVersion::V1_2;
        "hsts" HSTS: Switch = OFF;
    }
    Hsts in hsts {
        "max_age" MAX_AGE: Duration = days(365);
    }
    HealthCheck in health {
        "interval" INTERVAL: Duration = seconds(5);
        "timeout" TIMEOUT: Duration = seconds(2);
        "healthy_after" HEALTHY_AFTER: u32 = 2;
        "unhealthy_after" UNHEALTHY_AFTER: u32 = 3;
    }
    Ejection in ejection {
        "connect_failures" CONNECT_FAILURES: u32 = 3;
        "duration" DURATION: Duration = seconds(10);
        "max_percent" MAX_PERCENT: u8 = 50;
    }
    Retry in retry {
        "attempts" ATTEMPTS: u32 = 3;
        "on" ON: [RetryOn; 1] = [RetryOn::ConnectFailure];
        "backoff" BACKOFF: Duration = millis(25);
    }
    Upstream in upstream {
        "tls" TLS: Switch = OFF;
        "protocols" PROTOCOLS: [&str; 1] = ["h1"];
        "ejection" EJECTION: Switch = ON;
        "slow_start" SLOW_START: Duration = seconds(0);
        "panic_below" PANIC_BELOW: u8 = 50;
        "retry_percent" RETRY_PERCENT: u8 = 20;
    }
    UpstreamHttp2 in upstream_http2 {
        "window" WINDOW: ByteSize = kib(64);
    }
    WeightedEndpoint in endpoint {
        "weight" WEIGHT: u32 = 1;
    }
    Ping in ping {
        "timeout" TIMEOUT: Duration = seconds(10);
    }
    WebSocket in websocket {
        // Clients come back after this one.
        "upstream_lost" UPSTREAM_LOST: LostCode = LostCode(Some(close_code::BAD_GATEWAY));
    }
    OnExpiry in on_expiry {
        "code" CODE: u16 = close_code::UNAUTHORIZED;
        "grace" GRACE: Duration = seconds(0);
    }
    Renew in renew {
        "message" MESSAGE: &str = r#"{"type":"session.expiring","in":{seconds},"session":"{session}"}"#;
    }
    Revocation in revocation {
        "remember" REMEMBER: Duration = days(1);
    }
    Drain in drain {
        "code" CODE: u16 = close_code::SERVICE_RESTART;
        "spread" SPREAD: Duration = seconds(20);
    }
    Cache in cache {
        "max_size" MAX_SIZE: ByteSize = mib(128);
    }
    CachePolicy in cache_policy {
        "default_ttl" DEFAULT_TTL: Duration = seconds(0);
        "stale_while_revalidate" STALE_WHILE_REVALIDATE: Duration = seconds(0);
        "stale_if_error" STALE_IF_ERROR: Duration = seconds(0);
    }
    Mirror in mirror {
        "percent" PERCENT: u8 = 100;
        "concurrency" CONCURRENCY: usize = 100;
        "timeout" TIMEOUT: Duration = seconds(10);
    }
    Files in files {
        "index" INDEX: &str = "index.html";
        "cache_control" CACHE_CONTROL: &str = "no-cache";
    }
    Redirect in redirect {
        "status" STATUS: u16 = 307;
    }
    Respond in respond {
        "content_type" CONTENT_TYPE: &str = "text/plain; charset=utf-8";
    }
    Maintenance in maintenance {
        "enabled" ENABLED: bool = true;
        "retry_after" RETRY_AFTER: Duration = minutes(5);
        "message" MESSAGE: &str = "the service is being maintained; it will be back soon";
    }
    TestRequest in test_request {
        "method" METHOD: &str = "GET";
    }
    Route in route {
        "path" PATH: &str = "normal";
        "grpc_web" GRPC_WEB: Switch = OFF;
        "retry" RETRY: Switch = ON;
        "cache" CACHE: Switch = OFF;
    }
    PathSettings in path {
        "encoded_slash" ENCODED_SLASH: EncodedSlash = EncodedSlash::Reject;
        "duplicate_slashes" DUPLICATE_SLASHES: DuplicateSlashes = DuplicateSlashes::Merge;
        "dot_segments" DOT_SEGMENTS: DotSegments = DotSegments::Resolve;
    }
    Rewrite in rewrite {
        "host" HOST: &str = "preserve";
    }
    Timeouts in timeouts {
        "connect" CONNECT: Duration = seconds(3);
        "read" READ: Duration = seconds(60);
        "write" WRITE: Duration = seconds(60);
    }
    Limits in limits {
        "header_size" HEADER_SIZE: ByteSize = kib(64);
        "header_count" HEADER_COUNT: usize = 100;
        "underscore_headers" UNDERSCORE_HEADERS: Underscores = Underscores::DropManaged;
        "uri_size" URI_SIZE: ByteSize = kib(16);
        "handshake_timeout" HANDSHAKE_TIMEOUT: Duration = seconds(10);
        "header_timeout" HEADER_TIMEOUT: Duration = seconds(30);
        "idle_timeout" IDLE_TIMEOUT: Duration = seconds(60);
        "body_timeout" BODY_TIMEOUT: Duration = seconds(60);
        // A line of 2,400 bits a second has more.
        "body_rate" BODY_RATE: ByteSize = ByteSize(240);
        "send_timeout" SEND_TIMEOUT: Duration = seconds(60);
        "requests_per_connection" REQUESTS_PER_CONNECTION: u32 = 10_000;
        "collected_bodies" COLLECTED_BODIES: ByteSize = mib(256);
    }
    Http2Limits in http2_limits {
        "concurrent_streams" CONCURRENT_STREAMS: u32 = 100;
        "pending_resets" PENDING_RESETS: usize = 20;
        "error_resets" ERROR_RESETS: usize = 100;
    }
    Tracing in tracing {
        "user_id" USER_ID: Switch = OFF;
    }
    RateLimit in rate_limit {
        "per" PER: Duration = seconds(1);
        "shared" SHARED: Switch = ON;
    }
    SharedCounters in shared_counters {
        "prefix" PREFIX: &str = "tidegate";
        "timeout" TIMEOUT: Duration = millis(50);
        "lease" LEASE: Duration = seconds(30);
    }
    Cors in cors {
        "allow_methods" ALLOW_METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
        "allow_headers" ALLOW_HEADERS: [&str; 1] = ["*"];
        "expose_headers" EXPOSE_HEADERS: [&str; 1] = [lower::X_REQUEST_ID];
        "allow_credentials" ALLOW_CREDENTIALS: bool = false;
        "max_age" MAX_AGE: Duration = minutes(10);
        "allow_private_network" ALLOW_PRIVATE_NETWORK: bool = false;
    }
    Guard in guard {
        "window" WINDOW: Duration = seconds(30);
        "max_5xx_increase" MAX_5XX_INCREASE: u8 = 5;
        "max_handshake_failures" MAX_HANDSHAKE_FAILURES: u32 = 10;
    }
}

/// Writes the defaults of a type, as the JSON Schema calls it, into its settings, for the keys that are not written.
pub fn fill_in(type_name: &str, settings: &mut Value) {
    let Some(settings) = settings.as_object_mut() else { return };
    for KeyDefault { key, value, .. } in VALUES.iter().filter(|it| it.type_name == type_name) {
        let written = settings.entry(*key).or_insert(Value::Null);
        if written.is_null() || written.as_array().is_some_and(Vec::is_empty) {
            *written = value();
        }
    }
}

/// What `renew.warn` is where only `renew.message` is written.
pub const RENEW_WARN: Duration = minutes(1);

/// The most that `cache.max_entry` is by itself; a small `cache.max_size` makes it less.
pub const CACHE_MAX_ENTRY: ByteSize = mib(8);

/// Defaults that depend on the machine or on other keys, or that mean no limit: type, key, and the default in
/// words.
const DEFAULTS_IN_WORDS: &[(&str, &str, &str)] = &[
    (
        "Config",
        "threads",
        "the number of CPU cores that the process may use (cgroup and affinity mask)",
    ),
    (
        "Config",
        "upgrade_socket",
        "`upgrade.sock` in `$RUNTIME_DIRECTORY`, else a socket for this configuration file, in a private folder below the temporary folder",
    ),
    ("Config", "state_dir", "none"),
    ("Config", "admin", "no admin endpoint"),
    ("Config", "shared_counters", "each replica counts on its own"),
    ("Config", "resolver", "the DNS servers of the system (`/etc/resolv.conf`)"),
    ("Config", "rate_limits", "no limit"),
    ("Config", "require", "nothing is required"),
    ("Jwt", "keys", "found through the issuer"),
    ("Jwt", "token_type", "any"),
    ("JwtKeys", "url", "none"),
    ("JwtKeys", "file", "none"),
    ("JwtKeys", "secret", "none"),
    ("JwtKeys", "ca", "the certificate authorities that the system trusts"),
    ("Forward", "user", "none"),
    ("Forward", "expires", "none; no expiry"),
    ("Forward", "ca", "the certificate authorities that the system trusts"),
    ("Oidc", "client_secret", "none; the client is public"),
    ("Oidc", "ca", "the certificate authorities that the system trusts"),
    ("Require", "user_matches", "not checked"),
    ("ClaimCondition", "contains", "not checked"),
    ("Revocation", "back_channel_logout", "none"),
    ("WebSocket", "renew", "no renewal"),
    ("Renew", "warn", "`60s` where `message` is written, else no warning"),
    ("Route", "require", "the top-level `require`"),
    ("Config", "filters", "none"),
    ("Acme", "ca", "the certificate authorities that the system trusts"),
    ("Acme", "renew_before", "a third of the certificate's lifetime"),
    ("Listener", "protocols", "`[h1]`, and `[h2, h1]` with TLS"),
    ("Listener", "connections", "no limit of its own; `limits.connections` applies"),
    ("Listener", "tls", "no TLS"),
    ("Certificate", "hosts", "the names in the certificate"),
    ("UpstreamTls", "ca", "the certificate authorities that the system trusts"),
    ("UpstreamTls", "server_name", "the host of the endpoint"),
    ("HealthCheck", "host", "the endpoint's `host:port`"),
    ("Ejection", "server_errors", "responses do not cause ejection"),
    ("UpstreamLimits", "connections", "no limit"),
    ("UpstreamLimits", "pending", "no limit"),
    ("UpstreamLimits", "requests", "no limit"),
    ("Upstream", "health", "no health checks"),
    ("Upstream", "idle_timeout", "no limit; connections stay open until the upstream closes them"),
    ("WebSocket", "origins", "`cors.allow_origins` where the route has a policy, else `same`"),
    ("WebSocket", "idle_timeout", "no limit"),
    ("WebSocket", "max_lifetime", "no limit"),
    ("WebSocket", "max_sessions", "no limit"),
    ("WebSocket", "max_sessions_per_user", "no limit"),
    ("WebSocket", "max_sessions_per_address", "no limit"),
    ("WebSocket", "max_frame_size", "no limit"),
    ("WebSocket", "max_message_size", "no limit"),
    ("WebSocket", "max_messages_per_second", "no limit"),
    ("WebSocket", "ping", "no pings; bytes pass unchanged"),
    ("Cache", "max_entry", "`8MiB`, or an eighth of `max_size` where that is less"),
    ("CachePolicy", "max_ttl", "no limit"),
    ("Files", "fallback", "none; a missing file is answered with 404"),
    ("Respond", "status", "`200`, or `204` without a body"),
    ("Respond", "body", "no body"),
    ("Route", "websocket", "`on` for a route with an `upstream`"),
    ("Route", "filters", "only those of the top-level `filters`"),
    ("Route", "cors", "the top-level `cors`"),
    ("Route", "compression", "the top-level `compression`"),
    ("Route", "maintenance", "the top-level `maintenance`"),
    ("Route", "rate_limits", "the top-level `rate_limits`"),
    ("Route", "max_body_size", "`limits.body_size`"),
    ("Match", "path_prefix", "`/`, unless `path` is given"),
    ("Match", "hosts", "every host"),
    ("Match", "methods", "every method"),
    ("Timeouts", "tls", "that of `connect`"),
    ("Timeouts", "first_byte", "that of `read`"),
    ("Timeouts", "request", "no limit"),
    ("Limits", "body_size", "no limit, because bodies are streamed"),
    (
        "Limits",
        "connections",
        "half of what remains of the process's open-file limit after 48 files for the gateway itself, \
         because each connection may need another one to an upstream; this is also the maximum",
    ),
    (
        "Limits",
        "connections_per_client",
        "half of `connections`, so that no single client locks out the rest",
    ),
    ("Limits", "requests", "as many as `connections`"),
    (
        "Limits",
        "requests_per_client",
        "half of `requests`, so that the streams of one client don't lock out the rest",
    ),
    (
        "Limits",
        "collected_bodies_per_client",
        "half of `collected_bodies`, so that one client doesn't lock out the rest",
    ),
    (
        "Limits",
        "memory",
        "90% of the memory limit of the process's cgroup, or no limit without one",
    ),
    (
        "Otlp",
        "endpoint",
        "`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, else `OTEL_EXPORTER_OTLP_ENDPOINT` (with `/v1/traces` appended for \
         `protocol: http`), else `http://localhost:4318` for `http` and `http://localhost:4317` for `grpc`",
    ),
    (
        "Otlp",
        "protocol",
        "`OTEL_EXPORTER_OTLP_TRACES_PROTOCOL`, else `OTEL_EXPORTER_OTLP_PROTOCOL`, else `http`",
    ),
    ("Sample", "ratio", "from `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`, else `1`"),
    ("Sample", "parent", "from `OTEL_TRACES_SAMPLER`, else `on`"),
    ("RateLimit", "burst", "as many as `requests`"),
    ("SharedCounters", "username", "the server's default user"),
    ("SharedCounters", "ca", "the certificate authorities that the system trusts"),
    ("Acme", "email", "none"),
    ("Acme", "external_account", "none"),
    ("Admin", "token", "none"),
    ("Expect", "cors", "not checked"),
    ("Expect", "route", "not checked"),
    ("Expect", "status", "not checked"),
    ("Expect", "upstream", "not checked"),
    ("Expect", "upstream_path", "not checked"),
    ("Listener", "proxy_protocol", "no PROXY protocol"),
    ("ListenerTls", "acme", "none"),
    ("ListenerTls", "client_auth", "no certificate is requested"),
    ("Match", "path", "every path below `path_prefix`"),
    ("Rewrite", "prefix", "the path stays as it is"),
    ("Route", "files", "none"),
    ("Route", "mirror", "no mirroring"),
    ("Route", "redirect", "none"),
    ("Route", "respond", "none"),
    ("Route", "upstream", "none"),
    ("SharedCounters", "password", "none"),
    ("Split", "percent", "no users by percentage"),
    ("Upstream", "discover", "none"),
    ("Upstream", "endpoints", "none; `endpoints_file` or `discover` must then provide them"),
    ("Upstream", "endpoints_file", "none"),
    ("UpstreamTls", "client_certificate", "none"),
    ("Cors", "allow_origins", "only the same origin"),
    ("Reload", "guard", "no automatic rollback"),
];

/// Writes the defaults into the JSON Schema: as `default` what could be written instead, as `x-default` what needs words.
pub(super) fn declare(schema: &mut Value) {
    let mappings = optional_mappings(schema);
    for_each_property(schema, |of, key, property, is_required| {
        let is_it = |known_of: &str, known: &str| known_of == of && known == key;
        // What the type of an optional value says by itself.
        if property.get("default").is_some_and(Value::is_null) {
            property.remove("default");
        }
        if let Some(known) = VALUES.iter().find(|it| is_it(it.type_name, it.key)) {
            property.insert("default".to_owned(), (known.value)());
        }
        if let Some((.., words)) =
            DEFAULTS_IN_WORDS.iter().find(|(known, name, _)| is_it(known, name))
        {
            property.insert("x-default".to_owned(), json!(words));
        }
        if is_it("AccessLog", "redact_query") {
            let names = tidegate_http::secret::SECRET_NAMES.map(|name| format!("`{name}`"));
            property.insert("x-default".to_owned(), json!(names.join(", ")));
        }
        if !is_required && let Some(empty) = empty(property, &mappings) {
            property.entry("default").or_insert(empty);
        }
    });
}

/// The default of a property in words, as Markdown; `None` for a mapping, whose keys have their own.
pub(super) fn in_words(property: &Value) -> Option<String> {
    if let Some(words) = property.get("x-default").and_then(Value::as_str) {
        return Some(words.to_owned());
    }
    fn value_as_text(value: &Value) -> String {
        match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.as_f64().map_or_else(String::new, |it| it.to_string()),
            Value::Object(entries) => {
                let entry =
                    |(key, value): (&String, &Value)| format!("{key}: {}", value_as_text(value));
                format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
            }
            other => other.to_string(),
        }
    }
    match property.get("default")? {
        Value::Object(_) => None,
        Value::Array(items) if items.is_empty() => Some("none".to_owned()),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(value_as_text).collect();
            Some(format!("`[{}]`", items.join(", ")))
        }
        // What is a string and would be read as a number.
        Value::String(text) if text.parse::<f64>().is_ok() && property.get("format").is_none() => {
            Some(format!("`\"{text}\"`"))
        }
        default => Some(format!("`{}`", value_as_text(default))),
    }
}

/// Adds its default to the description of each key, for editors that show no more than that.
pub(super) fn describe(schema: &mut Value) {
    for_each_property(schema, |_, _, property, _| {
        let words = in_words(&Value::Object(property.clone()));
        if let (Some(words), Some(Value::String(text))) = (words, property.get_mut("description")) {
            *text += &format!(" Default: {words}.");
        }
    });
}

/// The types that are mappings in which no key is required.
fn optional_mappings(schema: &Value) -> BTreeSet<String> {
    let is_one = |(_, it): &(&String, &Value)| {
        it.get("type").is_some_and(|kind| kind == "object") && it.get("required").is_none()
    };
    let definitions = schema.get("$defs").and_then(Value::as_object);
    definitions.into_iter().flatten().filter(is_one).map(|(name, _)| name.clone()).collect()
}

/// A list or mapping that need not be written is empty by default.
fn empty(property: &Map<String, Value>, mappings: &BTreeSet<String>) -> Option<Value> {
    let reference = property.get("$ref").and_then(Value::as_str);
    if reference.and_then(|it| it.rsplit('/').next()).is_some_and(|name| mappings.contains(name)) {
        return Some(json!({}));
    }
    match property.get("type").and_then(Value::as_str) {
        Some("object") => Some(json!({})),
        Some("array") if property.get("minItems").is_none() => Some(json!([])),
        _ => None,
    }
}

/// Each property of the schema: the type that has it, its key, itself, and whether it is required.
pub(super) fn for_each_property(
    schema: &mut Value,
    mut visit: impl FnMut(&str, &str, &mut Map<String, Value>, bool),
) {
    let mut visit_all = |of: &str, mapping: &mut Value| {
        let required: Vec<Value> =
            mapping.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        let properties = mapping.get_mut("properties").and_then(Value::as_object_mut);
        for (key, property) in properties.into_iter().flatten() {
            if let Some(property) = property.as_object_mut() {
                visit(of, key, property, required.iter().any(|name| name == key));
            }
        }
    };
    visit_all("Config", schema);
    let definitions = schema.get_mut("$defs").and_then(Value::as_object_mut);
    for (of, mapping) in definitions.into_iter().flatten() {
        visit_all(of, mapping);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The schema without what editors get to read besides.
    fn declared() -> Value {
        let mut schema = schemars::schema_for!(super::super::Config).to_value();
        declare(&mut schema);
        schema
    }

    #[test]
    fn every_optional_key_says_what_it_is_when_it_is_not_written() {
        let mut silent = Vec::new();
        for_each_property(&mut declared(), |of, key, property, is_required| {
            let says = |name: &str| property.get(name).is_some_and(|it| !it.is_null());
            if !is_required && !says("default") && !says("x-default") {
                silent.push(format!("{of}.{key}"));
            }
        });
        assert!(silent.is_empty(), "add them to `VALUES` or `IN_WORDS`: {silent:#?}");
    }

    #[test]
    fn every_default_is_that_of_an_optional_key() {
        let mut keys = BTreeSet::new();
        for_each_property(&mut declared(), |of, key, _, is_required| {
            if !is_required {
                keys.insert((of.to_owned(), key.to_owned()));
            }
        });
        let values = VALUES.iter().map(|it| (it.type_name, it.key));
        let words = DEFAULTS_IN_WORDS.iter().map(|(of, key, _)| (*of, *key));
        for (of, key) in values.chain(words) {
            assert!(keys.contains(&(of.to_owned(), key.to_owned())), "there is no {of}.{key}");
        }
    }

    /// Doc comments would drift from the constants.
    #[test]
    fn no_doc_comment_of_a_key_repeats_its_default() {
        for_each_property(&mut declared(), |of, key, property, _| {
            let description =
                property.get("description").and_then(Value::as_str).unwrap_or_default();
            let is_free =
                !["Default:", "(default", "By default"].iter().any(|it| description.contains(it));
            assert!(is_free, "{of}.{key}: {description}");
            assert!(!description.trim().is_empty(), "{of}.{key} has no description");
        });
    }

    #[test]
    fn documented_size_of_the_largest_cached_response_is_the_constant() {
        let (.., words) = DEFAULTS_IN_WORDS
            .iter()
            .find(|(of, key, _)| (*of, *key) == ("Cache", "max_entry"))
            .unwrap();
        let size = json!(CACHE_MAX_ENTRY);
        assert!(words.starts_with(&format!("`{}`", size.as_str().unwrap())), "{words}");
    }

    #[test]
    fn default_values_are_written_readably() {
        for (value, expected) in [
            (json!(seconds(60)), "60s"),
            (json!(minutes(5)), "5m"),
            (json!(days(365)), "365d"),
            (json!(seconds(0)), "0s"),
            (json!(millis(1500)), "1500ms"),
            (json!(kib(64)), "64KiB"),
            (json!(mib(8)), "8MiB"),
            (json!(ByteSize(240)), "240"),
            (json!(ON), "on"),
            (json!(TlsVersion::V1_2), "1.2"),
        ] {
            assert_eq!(value, json!(expected));
        }
    }
}
