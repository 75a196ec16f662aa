use super::sink::Sink;
use crate::exchange::Outcome;
use crate::http::query;
use http::header;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One flat JSON object, fields by OpenTelemetry's names where it has them.
    Json,
    /// Made for eyes.
    Text,
}

/// One line per request; for a WebSocket one when it opens and one when it ends.
#[derive(Debug)]
pub struct AccessLog {
    format: Format,
    /// Query keys whose values are never written, in lower case.
    secret_keys: HashSet<String>,
    sink: Arc<Sink>,
}

/// A line, by the names of OpenTelemetry's semantic conventions.
#[derive(Serialize)]
struct Line<'l> {
    timestamp: String,
    event: &'static str,
    #[serde(rename = "http.request.method")]
    method: &'l str,
    #[serde(rename = "url.path")]
    path: &'l str,
    #[serde(rename = "url.query", skip_serializing_if = "Option::is_none")]
    query: Option<Cow<'l, str>>,
    #[serde(rename = "http.route", skip_serializing_if = "str::is_empty")]
    route: &'l str,
    #[serde(rename = "http.response.status_code")]
    status: u16,
    #[serde(rename = "duration_ms")]
    duration_ms: f64,
    #[serde(rename = "user.id", skip_serializing_if = "Option::is_none")]
    user_id: Option<&'l str>,
    #[serde(rename = "user.id.source", skip_serializing_if = "Option::is_none")]
    user_id_source: Option<&'static str>,
    #[serde(rename = "user.id.verified", skip_serializing_if = "Option::is_none")]
    user_id_verified: Option<bool>,
    #[serde(rename = "client.address", skip_serializing_if = "Option::is_none")]
    client_address: Option<std::net::IpAddr>,
    #[serde(rename = "http.request.id")]
    request_id: &'l str,
    #[serde(rename = "upstream.name", skip_serializing_if = "Option::is_none")]
    upstream: Option<&'l str>,
    #[serde(rename = "upstream.address", skip_serializing_if = "Option::is_none")]
    upstream_address: Option<std::net::SocketAddr>,
    #[serde(rename = "server.address", skip_serializing_if = "Option::is_none")]
    host: Option<&'l str>,
    #[serde(rename = "network.protocol.version")]
    protocol: &'static str,
    #[serde(rename = "user_agent.original", skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'l str>,
    #[serde(flatten)]
    sizes: Sizes,
    #[serde(rename = "error.message", skip_serializing_if = "Option::is_none")]
    error: Option<&'l str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Sizes {
    Http {
        #[serde(rename = "http.request.body.size")]
        request: u64,
        #[serde(rename = "http.response.body.size")]
        response: u64,
    },
    Opened {},
    Closed {
        #[serde(rename = "websocket.duration_ms")]
        duration_ms: f64,
        #[serde(rename = "websocket.bytes_received")]
        received: u64,
        #[serde(rename = "websocket.bytes_sent")]
        sent: u64,
        #[serde(rename = "websocket.close.initiator")]
        initiator: &'static str,
        #[serde(rename = "websocket.close.code", skip_serializing_if = "Option::is_none")]
        code: Option<u16>,
    },
}

impl AccessLog {
    /// A log of this form, that never writes the values of these query keys.
    pub fn new(
        format: Format,
        secret_keys: impl IntoIterator<Item = String>,
        sink: Arc<Sink>,
    ) -> Self {
        let secret_keys = secret_keys.into_iter().map(|key| key.to_ascii_lowercase()).collect();
        Self { format, secret_keys, sink }
    }

    /// Where it writes.
    pub fn sink(&self) -> &Arc<Sink> {
        &self.sink
    }

    /// A WebSocket has opened.
    pub fn opened(&self, outcome: &Outcome<'_>) {
        self.write(&self.line(outcome, "websocket.open", Sizes::Opened {}));
    }

    /// A request, or a WebSocket session, has ended.
    pub fn ended(&self, outcome: &Outcome<'_>) {
        let (event, sizes) = match outcome.websocket {
            Some(end) => (
                "websocket.close",
                Sizes::Closed {
                    duration_ms: milliseconds(outcome),
                    received: outcome.bytes_received,
                    sent: outcome.bytes_sent,
                    initiator: end.initiator.as_str(),
                    code: end.code,
                },
            ),
            None => (
                "http.request",
                Sizes::Http { request: outcome.bytes_received, response: outcome.bytes_sent },
            ),
        };
        self.write(&self.line(outcome, event, sizes));
    }

    fn line<'l>(&self, outcome: &'l Outcome<'_>, event: &'static str, sizes: Sizes) -> Line<'l> {
        let Outcome { request, exchange, .. } = outcome;
        let text = |name| request.headers.get(name).and_then(|value| value.to_str().ok());
        let user_id = exchange.user_id();
        Line {
            timestamp: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            event,
            method: request.method.as_str(),
            path: exchange.path.as_deref().unwrap_or_else(|| request.uri.path()),
            query: request.uri.query().map(|query| {
                query::redact(query, |key| self.secret_keys.contains(&key.to_ascii_lowercase()))
            }),
            route: exchange.route(),
            status: outcome.status,
            duration_ms: milliseconds(outcome),
            user_id: user_id.map(|id| id.as_str()),
            user_id_source: user_id.map(|id| id.origin().as_str()),
            user_id_verified: user_id.map(|_| false),
            client_address: exchange.client_address(),
            request_id: exchange.request_id(),
            upstream: outcome.upstream,
            upstream_address: outcome.upstream_address,
            host: request.uri.host().or_else(|| text(header::HOST)),
            protocol: match request.version {
                http::Version::HTTP_2 => "2",
                http::Version::HTTP_10 => "1.0",
                _ => "1.1",
            },
            user_agent: text(header::USER_AGENT),
            sizes,
            error: outcome.error,
        }
    }

    fn write(&self, line: &Line<'_>) {
        let mut bytes = Vec::with_capacity(768);
        match self.format {
            Format::Json => {
                if serde_json::to_writer(&mut bytes, line).is_err() {
                    return;
                }
            }
            Format::Text => bytes.extend_from_slice(for_eyes(line).as_bytes()),
        }
        bytes.push(b'\n');
        self.sink.write(bytes);
    }
}

fn milliseconds(outcome: &Outcome<'_>) -> f64 {
    // Microseconds suffice; more digits would only be noise.
    (outcome.duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

/// `12:00:00.123 200 GET /api/x?y=1 3.2ms route=api user=user-1 → notifications 127.0.0.1:4009`
fn for_eyes(line: &Line<'_>) -> String {
    let time = line.timestamp.get(11..23).unwrap_or(&line.timestamp);
    let mut text = format!("{time} {} ", line.status);
    let what = match line.sizes {
        Sizes::Http { .. } => line.method,
        Sizes::Opened {} => "WebSocket opened",
        Sizes::Closed { .. } => "WebSocket closed",
    };
    // Writing into a string can't fail.
    let _ = write!(text, "{what} {}", line.path);
    if let Some(query) = &line.query {
        let _ = write!(text, "?{query}");
    }
    let _ = write!(text, " {:.1}ms", line.duration_ms);
    if let Sizes::Closed { received, sent, initiator, code, .. } = line.sizes {
        let _ = write!(text, " by {initiator}");
        if let Some(code) = code {
            let _ = write!(text, " with code {code}");
        }
        let _ = write!(text, ", {received} bytes in, {sent} out");
    }
    if !line.route.is_empty() {
        let _ = write!(text, " route={}", line.route);
    }
    if let Some(user) = line.user_id {
        let _ = write!(text, " user={}", user.escape_debug());
    }
    if let Some(client) = line.client_address {
        let _ = write!(text, " client={client}");
    }
    if let (Some(upstream), Some(address)) = (line.upstream, line.upstream_address) {
        let _ = write!(text, " → {upstream} {address}");
    }
    let _ = write!(text, " id={}", line.request_id);
    if let Some(error) = line.error {
        let _ = write!(text, " ✗ {}", error.escape_debug());
    }
    text
}
