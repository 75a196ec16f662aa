//! The sections `log` and `access_log`, as written. It writes no line.

use super::union::short_or_long;
use super::{HeaderName, Spanned, Switch};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `off`, or the settings of the access log.
#[derive(Debug, Clone)]
pub enum AccessLogSetting {
    /// `off` writes no access log; `on` writes it with the defaults.
    Switch(Switch),
    /// The access log's settings.
    Settings(AccessLog),
}

impl Default for AccessLogSetting {
    fn default() -> Self {
        Self::Settings(AccessLog::default())
    }
}

/// One line per request, one when a WebSocket opens and one when it ends.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccessLog {
    /// `json` (one flat object per line) or `text` (for people).
    pub format: Option<LogFormat>,
    /// `stdout`, `stderr`, or the path of a file. Relative paths start at the folder of the
    /// configuration file.
    pub path: Option<Spanned<String>>,
    /// Names of query parameters, and of keys in WebSocket messages, whose values are never
    /// written. The end of a name is compared, without case, `-` and `_`: `token` also matches
    /// `accessToken` and `X-Amz-Security-Token`.
    pub redact_query: Option<Vec<String>>,
    /// Headers to log as well, as `http.request.header.NAME` and `http.response.header.NAME`.
    pub fields: LogFields,
    /// Part of the requests that is logged, by the class of their status. A WebSocket session has
    /// 1xx.
    pub sample: LogSample,
}

/// Headers in the access log. Those that carry secrets are refused: names that the built-in list of
/// `redact_query` matches, and `Cookie`, `Set-Cookie` and `Sec-WebSocket-Protocol`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogFields {
    /// Request headers, as the client sent them.
    pub request: Vec<Spanned<HeaderName>>,
    /// Response headers, as the client gets them.
    pub response: Vec<Spanned<HeaderName>>,
}

/// Part of the requests that is logged, each from `0` to `1`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogSample {
    /// Requests with status 100 to 199: WebSocket sessions.
    #[serde(rename = "1xx")]
    #[schemars(range(min = 0, max = 1))]
    pub informational: Option<f64>,
    /// Requests with status 200 to 299.
    #[serde(rename = "2xx")]
    #[schemars(range(min = 0, max = 1))]
    pub successful: Option<f64>,
    /// Requests with status 300 to 399.
    #[serde(rename = "3xx")]
    #[schemars(range(min = 0, max = 1))]
    pub redirection: Option<f64>,
    /// Requests with status 400 to 499.
    #[serde(rename = "4xx")]
    #[schemars(range(min = 0, max = 1))]
    pub client_error: Option<f64>,
    /// Requests with status 500 and above.
    #[serde(rename = "5xx")]
    #[schemars(range(min = 0, max = 1))]
    pub server_error: Option<f64>,
}

/// The format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

/// The gateway's own log, on stderr.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `text` or `json`.
    pub format: Option<LogFormat>,
    /// The lowest level that is logged.
    pub level: Option<Level>,
}

/// The level of the gateway's own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Only events that need a person.
    Error,
    /// Also events that may need one.
    Warn,
    /// Also starts, stops and reloads.
    Info,
    /// Also each decision.
    Debug,
    /// Also the steps to each decision.
    Trace,
}

short_or_long!(AccessLogSetting: Switch(Switch) | Settings(AccessLog));
