//! The lines of the access log: one per request, session or frame. It knows nothing of where lines are
//! written.

use super::Sampling;
use super::escape::EscapedValue;
use super::json::JsonObject;
use super::keys::{self, FieldKey};
use super::sink::LineSink;
use crate::exchange::{Outcome, WebSocketEnd};
use http::header::{self, HeaderMap, HeaderName};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;
use tidegate_http::query;
use tidegate_http::redact::redact;
use tidegate_http::secret::SecretNames;
use tidegate_http::secret::without_userinfo;

/// Maximum length of a logged header value, in bytes.
const MAX_HEADER_VALUE_BYTES: usize = 1024;

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessLogFormat {
    /// One flat JSON object, fields by OpenTelemetry's names where it has them.
    Json,
    /// Made for eyes.
    Text,
}

/// One line per request; for a WebSocket one when it opens and one when it ends.
#[derive(Debug)]
pub(crate) struct AccessLog {
    format: AccessLogFormat,
    /// Names whose values are never written.
    secrets: SecretNames,
    /// Header fields of requests and of responses that are written as well.
    fields: FieldNames,
    sampling: Sampling,
    sink: Arc<LineSink>,
}

/// Header fields that are written, of requests and of responses; each by its key in a line.
#[derive(Debug, Clone, Default)]
pub(crate) struct FieldNames {
    /// Of requests.
    pub(crate) request: Vec<(HeaderName, FieldKey)>,
    /// Of responses.
    pub(crate) response: Vec<(HeaderName, FieldKey)>,
}

/// What a line is about.
#[derive(Debug, Clone, Copy)]
enum AccessLogEvent<'o> {
    Request,
    Opened,
    Closed(WebSocketEnd<'o>),
}

impl AccessLog {
    /// A log of this form, that never writes the values of these names.
    pub(crate) fn new(
        format: AccessLogFormat,
        secrets: SecretNames,
        fields: FieldNames,
        sampling: Sampling,
        sink: Arc<LineSink>,
    ) -> Self {
        Self { format, secrets, fields, sampling, sink }
    }

    /// Where it writes.
    pub(crate) fn sink(&self) -> &Arc<LineSink> {
        &self.sink
    }

    /// The form of its lines.
    pub(super) fn format(&self) -> AccessLogFormat {
        self.format
    }

    /// Whether the values of this key are never written.
    pub(super) fn is_secret(&self, key: &str) -> bool {
        self.secrets.contains(key)
    }

    /// Writes a line, its line feed included.
    pub(super) fn write_line(&self, line: String) {
        self.sink.write(line.into_bytes());
    }

    /// A WebSocket has opened.
    pub(crate) fn log_open(&self, outcome: &Outcome<'_>) {
        self.write(outcome, AccessLogEvent::Opened);
    }

    /// A request, or a WebSocket session, has ended.
    pub(crate) fn log_end(&self, outcome: &Outcome<'_>) {
        self.write(
            outcome,
            outcome.websocket.map_or(AccessLogEvent::Request, AccessLogEvent::Closed),
        );
    }

    fn write(&self, outcome: &Outcome<'_>, event: AccessLogEvent<'_>) {
        if !self.sampling.should_log(outcome.status, || outcome.exchange.request_id()) {
            return;
        }
        let line = match self.format {
            AccessLogFormat::Json => self.json(outcome, event),
            AccessLogFormat::Text => self.text(outcome, event),
        };
        self.write_line(line);
    }

    /// The header fields that are wanted, as far as there are any.
    fn fields<'o>(
        &'o self,
        outcome: &'o Outcome<'_>,
    ) -> impl Iterator<Item = (&'o FieldKey, Cow<'o, str>)> {
        let of = |fields: &'o [(HeaderName, FieldKey)], headers: Option<&'o HeaderMap>| {
            fields.iter().filter_map(move |(name, key)| {
                let value = headers?.get(name)?.as_bytes();
                let value = value.get(..MAX_HEADER_VALUE_BYTES).unwrap_or(value);
                // A `Referer` or a `Location` has a query too.
                let value = match String::from_utf8_lossy(value) {
                    Cow::Borrowed(value) if !value.contains('@') => {
                        redact(value, |name| self.is_secret(name))
                    }
                    value => {
                        let value = without_userinfo(&value);
                        Cow::Owned(redact(&value, |name| self.is_secret(name)).into_owned())
                    }
                };
                Some((key, value))
            })
        };
        let request = of(&self.fields.request, Some(&outcome.request.headers));
        request.chain(of(&self.fields.response, outcome.response.map(|head| &head.headers)))
    }

    /// The path that is passed on, which is the normal form unless the route says otherwise, without the
    /// secrets in its parameters.
    fn path<'o>(&self, outcome: &'o Outcome<'_>) -> Cow<'o, str> {
        let path = outcome.exchange.forwarded_path(outcome.request);
        query::redact_path(path, |key| self.is_secret(key))
    }

    /// The query, without its secrets.
    fn query<'o>(&self, outcome: &'o Outcome<'_>) -> Option<Cow<'o, str>> {
        let query = outcome.request.uri.query()?;
        Some(query::redact(query, |key| self.is_secret(key)))
    }

    /// By the names of OpenTelemetry's semantic conventions, where they have one.
    fn json(&self, outcome: &Outcome<'_>, event: AccessLogEvent<'_>) -> String {
        let Outcome { request, exchange, .. } = outcome;
        let header = |name| request.headers.get(name).and_then(|value| value.to_str().ok());
        let mut line = JsonObject::new(SystemTime::now());
        line.word(
            keys::EVENT,
            match event {
                AccessLogEvent::Request => "http.request",
                AccessLogEvent::Opened => keys::WEBSOCKET_OPEN,
                AccessLogEvent::Closed(_) => keys::WEBSOCKET_CLOSE,
            },
        );
        // A token (RFC 9110, section 5.6.2), in which nothing needs escaping.
        line.word(keys::METHOD, request.method.as_str());
        line.text(keys::PATH, &self.path(outcome));
        if let Some(query) = self.query(outcome) {
            line.text(keys::QUERY, &query);
        }
        if !exchange.route().is_empty() {
            line.text(keys::ROUTE, exchange.route());
        }
        line.number(keys::STATUS, outcome.status.into());
        line.milliseconds(keys::DURATION, outcome.duration);
        if let Some(user) = exchange.user_id() {
            line.text(keys::USER, user.as_str());
            line.word(keys::USER_SOURCE, user.origin().as_str());
            line.boolean(keys::USER_VERIFIED, user.is_verified());
        }
        if let Some(authentication) = &exchange.authentication {
            if let Some(scheme) = &authentication.scheme {
                line.text(keys::AUTH_SCHEME, scheme);
            }
            line.word(keys::AUTH_RESULT, authentication.result.as_str());
            if let Some(reason) = authentication.reason {
                line.word(keys::AUTH_REASON, reason);
            }
        }
        if let Some(client) = exchange.client_address() {
            line.ip(keys::CLIENT, client);
        }
        // The gateway's own, or one of those characters that it accepts.
        line.word(keys::REQUEST_ID, exchange.request_id());
        if let Some(trace) = &exchange.trace {
            line.hex(keys::TRACE, &trace.trace_id);
            line.hex(keys::SPAN, &trace.span_id);
        }
        if let Some(upstream) = outcome.upstream {
            line.text(keys::UPSTREAM, upstream);
        }
        if let Some(address) = outcome.upstream_address {
            line.socket(keys::UPSTREAM_ADDRESS, address);
        }
        if let Some(cache) = outcome.cache {
            line.word(keys::CACHE, cache);
            if outcome.is_background {
                line.boolean(keys::CACHE_BACKGROUND, true);
            }
        }
        if let Some(host) = request.uri.host().or_else(|| header(header::HOST)) {
            line.text(keys::SERVER, host);
        }
        line.word(
            keys::PROTOCOL_VERSION,
            match request.version {
                http::Version::HTTP_2 => "2",
                http::Version::HTTP_10 => "1.0",
                _ => "1.1",
            },
        );
        if let Some(tls) = exchange.tls() {
            line.text(keys::TLS_VERSION, tls.version);
            line.text(keys::TLS_CIPHER, tls.cipher);
            if let Some(name) = &tls.server_name {
                line.text(keys::TLS_SERVER_NAME, name);
            }
            if let Some(client) = &tls.client {
                line.text(keys::TLS_SUBJECT, &client.subject);
                if !client.alternative_names.is_empty() {
                    let names = client.alternative_names.join(", ");
                    line.text(keys::TLS_ALTERNATIVE_NAMES, &names);
                }
            }
        }
        if let Some(agent) = header(header::USER_AGENT) {
            line.text(keys::USER_AGENT, agent);
        }
        for (key, value) in self.fields(outcome) {
            line.named(key, &value);
        }
        match event {
            AccessLogEvent::Request => {
                line.number(keys::REQUEST_SIZE, outcome.bytes_received);
                line.number(keys::RESPONSE_SIZE, outcome.bytes_sent);
            }
            AccessLogEvent::Opened => {}
            AccessLogEvent::Closed(end) => {
                let lasted = outcome.duration.saturating_sub(end.handshake);
                line.milliseconds(keys::HANDSHAKE, end.handshake);
                line.milliseconds(keys::SESSION_DURATION, lasted);
                line.number(keys::BYTES_RECEIVED, outcome.bytes_received);
                line.number(keys::BYTES_SENT, outcome.bytes_sent);
                line.number(keys::FRAMES_RECEIVED, end.client_to_upstream.frames());
                line.number(keys::FRAMES_SENT, end.upstream_to_client.frames());
                let errors = end.client_to_upstream.errors + end.upstream_to_client.errors;
                if errors > 0 {
                    line.number(keys::PROTOCOL_ERRORS, errors);
                }
                line.word(keys::CLOSE_INITIATOR, end.initiator.as_str());
                if let Some(code) = end.code {
                    line.number(keys::CLOSE_CODE, code.into());
                }
                if !end.reason.is_empty() {
                    line.text(keys::CLOSE_REASON, end.reason);
                }
            }
        }
        if let Some(error) = outcome.error {
            line.text(keys::ERROR, error);
        }
        line.finish()
    }

    /// `12:00:00.123 200 GET /api/x?y=1 3.2ms route=api user=user-1 → notifications 127.0.0.1:4009`
    fn text(&self, outcome: &Outcome<'_>, event: AccessLogEvent<'_>) -> String {
        let exchange = outcome.exchange;
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let time = time.get(11..23).unwrap_or(&time);
        let what = match event {
            AccessLogEvent::Request => outcome.request.method.as_str(),
            AccessLogEvent::Opened => "WebSocket opened",
            AccessLogEvent::Closed(_) => "WebSocket closed",
        };
        // Writing into a string can't fail, here and below.
        let target = match self.query(outcome) {
            Some(query) => Cow::Owned(format!("{}?{query}", self.path(outcome))),
            None => self.path(outcome),
        };
        let mut line = format!("{time} {} {what} {}", outcome.status, EscapedValue(&target));
        let _ = write!(line, " {:.1}ms", outcome.duration.as_secs_f64() * 1000.0);
        if let AccessLogEvent::Closed(end) = event {
            let _ = write!(line, " by {}", end.initiator.as_str());
            if let Some(code) = end.code {
                let _ = write!(line, " with code {code}");
            }
            if !end.reason.is_empty() {
                let _ = write!(line, " ({})", EscapedValue(end.reason));
            }
            let (received, sent) = (outcome.bytes_received, outcome.bytes_sent);
            let _ = write!(line, ", {received} bytes in, {sent} out");
        }
        if !exchange.route().is_empty() {
            let _ = write!(line, " route={}", EscapedValue(exchange.route()));
        }
        if let Some(user) = exchange.user_id() {
            let _ = write!(line, " user={}", EscapedValue(user.as_str()));
        }
        if let Some(authentication) = &exchange.authentication {
            let _ = write!(line, " auth={}", authentication.result.as_str());
            if let Some(reason) = authentication.reason {
                let _ = write!(line, " ({reason})");
            }
        }
        if let Some(client) = exchange.client_address() {
            let _ = write!(line, " client={client}");
        }
        if let (Some(upstream), Some(address)) = (outcome.upstream, outcome.upstream_address) {
            let _ = write!(line, " → {} {address}", EscapedValue(upstream));
        }
        if let Some(cache) = outcome.cache {
            let background = if outcome.is_background { " (background)" } else { "" };
            let _ = write!(line, " cache={cache}{background}");
        }
        let _ = write!(line, " id={}", EscapedValue(exchange.request_id()));
        if let Some(trace) = &exchange.trace {
            let _ = write!(line, " trace={:032x}", u128::from_be_bytes(trace.trace_id));
        }
        for (key, value) in self.fields(outcome) {
            let name = key.name().rsplit('.').next().unwrap_or(key.name());
            let _ = write!(line, " {name}={:?}", &*value);
        }
        if let Some(error) = outcome.error {
            let _ = write!(line, " ✗ {}", error.escape_debug());
        }
        line.push('\n');
        line
    }
}
