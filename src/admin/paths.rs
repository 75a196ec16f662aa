//! The paths of the admin endpoint, which the command line asks for as well. What is answered is not known here.

/// The dashboard.
pub(crate) const ROOT: &str = "/";
/// Purges the cache.
pub(crate) const CACHE_PURGE: &str = "/cache/purge";
/// The configuration that applies, without secrets.
pub(crate) const CONFIG: &str = "/config";
/// The style of the dashboard.
pub(crate) const DASHBOARD_CSS: &str = "/dashboard.css";
/// The script of the dashboard.
pub(crate) const DASHBOARD_JS: &str = "/dashboard.js";
/// Compares a new configuration with the one that applies.
pub(crate) const DIFF: &str = "/diff";
/// Closes the WebSocket sessions, or accepts new ones again.
pub(crate) const DRAIN: &str = "/drain";
/// Explains a request.
pub(crate) const EXPLAIN: &str = "/explain";
/// The versions of the configuration.
pub(crate) const HISTORY: &str = "/history";
/// Whether the process answers.
pub(crate) const LIVEZ: &str = "/livez";
/// The level of the log.
pub(crate) const LOG_LEVEL: &str = "/log-level";
/// The last lines of the access log.
pub(crate) const LOGS: &str = "/logs";
/// The metrics.
pub(crate) const METRICS: &str = "/metrics";
/// The description of this endpoint.
pub(crate) const OPENAPI_JSON: &str = "/openapi.json";
/// Whether the gateway takes requests.
pub(crate) const READYZ: &str = "/readyz";
/// Reads the configuration again.
pub(crate) const RELOAD: &str = "/reload";
/// Applies an earlier version of the configuration.
pub(crate) const ROLLBACK: &str = "/rollback";
/// The routes and their counters.
pub(crate) const ROUTES: &str = "/routes";
/// The WebSocket sessions.
pub(crate) const SESSIONS: &str = "/sessions";
/// What a new configuration would do to the sessions.
pub(crate) const SESSIONS_AFFECTED: &str = "/sessions/affected";
/// Closes sessions.
pub(crate) const SESSIONS_CLOSE: &str = "/sessions/close";
/// Logs the frames of sessions.
pub(crate) const SESSIONS_LOG: &str = "/sessions/log";
/// The state of the gateway.
pub(crate) const STATUS: &str = "/status";
/// Checks a token.
pub(crate) const TOKEN: &str = "/token";
/// The upstreams and the state of their endpoints.
pub(crate) const UPSTREAMS: &str = "/upstreams";

/// All of them, and by which methods; HEAD wherever GET is.
pub(super) const RESOURCES: [(&str, &str); 25] = [
    (ROOT, "GET"),
    (CACHE_PURGE, "POST"),
    (CONFIG, "GET"),
    (DASHBOARD_CSS, "GET"),
    (DASHBOARD_JS, "GET"),
    (DIFF, "POST"),
    (DRAIN, "POST, DELETE"),
    (EXPLAIN, "GET"),
    (HISTORY, "GET"),
    (LIVEZ, "GET"),
    (LOG_LEVEL, "GET, PUT"),
    (LOGS, "GET"),
    (METRICS, "GET"),
    (OPENAPI_JSON, "GET"),
    (READYZ, "GET"),
    (RELOAD, "POST"),
    (ROLLBACK, "POST"),
    (ROUTES, "GET"),
    (SESSIONS, "GET"),
    (SESSIONS_AFFECTED, "POST"),
    (SESSIONS_CLOSE, "POST"),
    (SESSIONS_LOG, "POST"),
    (STATUS, "GET"),
    (TOKEN, "POST"),
    (UPSTREAMS, "GET"),
];
