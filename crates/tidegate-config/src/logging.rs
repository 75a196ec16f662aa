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
    /// `json` (one flat object a line) or `text` (made for eyes).
    pub format: Option<LogFormat>,
    /// `stdout`, `stderr`, or the path of a file. Relative paths start at the folder of the
    /// configuration file.
    pub path: Option<Spanned<String>>,
    /// Names of query parameters, and of keys in WebSocket messages, whose values are never
    /// written. They are compared by the end of a name, without case, `-` and `_`: `token` is
    /// `accessToken` and `X-Amz-Security-Token` too.
    pub redact_query: Option<Vec<String>>,
    /// Header fields that each line has as well: as `http.request.header.NAME` and
    /// `http.response.header.NAME`.
    pub fields: LogFields,
    /// Which part of the requests has a line, by the class of their status. A WebSocket session's
    /// is 1xx.
    pub sample: LogSample,
}

/// Header fields in the access log. Those that carry secrets are refused, by the names that `redact_query` has when it is not written; `Cookie`, `Set-Cookie` and `Sec-WebSocket-Protocol` too.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogFields {
    /// Fields of requests, as the client sent them.
    pub request: Vec<Spanned<HeaderName>>,
    /// Fields of responses, as the client gets them.
    pub response: Vec<Spanned<HeaderName>>,
}

/// Which part of the requests is logged, each from `0` to `1`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogSample {
    /// Of those whose status is 100 to 199, WebSocket sessions.
    #[serde(rename = "1xx")]
    #[schemars(range(min = 0, max = 1))]
    pub informational: Option<f64>,
    /// Of those whose status is 200 to 299.
    #[serde(rename = "2xx")]
    #[schemars(range(min = 0, max = 1))]
    pub successful: Option<f64>,
    /// Of those whose status is 300 to 399.
    #[serde(rename = "3xx")]
    #[schemars(range(min = 0, max = 1))]
    pub redirection: Option<f64>,
    /// Of those whose status is 400 to 499.
    #[serde(rename = "4xx")]
    #[schemars(range(min = 0, max = 1))]
    pub client_error: Option<f64>,
    /// Of those whose status is 500 and above.
    #[serde(rename = "5xx")]
    #[schemars(range(min = 0, max = 1))]
    pub server_error: Option<f64>,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Made for eyes.
    Text,
}

/// The gateway's own log, on stderr.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `text` or `json`.
    pub format: Option<LogFormat>,
    /// The least level that is written.
    pub level: Option<Level>,
}

/// How much the gateway's own log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Only what needs a person.
    Error,
    /// Also what may need one.
    Warn,
    /// Also starts, stops and reloads.
    Info,
    /// Also each decision.
    Debug,
    /// Also the steps to it.
    Trace,
}

short_or_long!(AccessLogSetting: Switch(Switch) | Settings(AccessLog));
