//! Records a request as spans: one for the request, and one for each attempt at an upstream. Knows nothing of how spans
//! are exported.

use crate::exchange::{Exchange, Outcome};
use crate::proxy::Context;
use crate::snapshot::Route;
use crate::telemetry::keys;
use crate::traces::{Span, Tracing, new_span_id};
use crate::upstream::{Endpoint, Pool, SelectedEndpoint};
use http::header;
use http::{Method, Version};
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, Result};
use pingora_proxy::Session;
use std::sync::Arc;
use std::time::SystemTime;
use tidegate_http::address::{self, Address};
use tidegate_http::header_name::{TRACESTATE, spelled};
use tidegate_http::trace_context::{self, TraceParent};
use tidegate_http::{host, url};

/// What a request's trace will say of it.
pub(in crate::proxy) struct RequestTrace {
    tracing: Arc<Tracing>,
    position: TraceParent,
    /// The sender's span.
    parent: Option<TraceParent>,
    /// What else the sender says of the trace.
    state: Option<String>,
    began: SystemTime,
    /// The attempt under way.
    attempt: Option<AttemptSpan>,
    /// How many there have been before it.
    resend_count: i64,
    /// When the session opened.
    opened: Option<SystemTime>,
}

/// One attempt at an upstream.
struct AttemptSpan {
    span_id: [u8; 8],
    began: SystemTime,
    upstream: Arc<str>,
    endpoint: Arc<Endpoint>,
    address: Address,
    uses_tls: bool,
    resent: i64,
    status: Option<u16>,
    version: Option<Version>,
    error: Option<String>,
}

/// Gives the request its place in a trace. What is not recorded has no more than that.
pub(in crate::proxy) fn start_trace(tracing: &Arc<Tracing>, session: &Session, ctx: &mut Context) {
    let headers = &session.req_header().headers;
    let parent = TraceParent::from_headers(headers);
    let position = tracing.join_or_start(parent.as_ref(), ctx.peer_is_trusted);
    ctx.exchange.trace = Some(position);
    if !position.is_sampled {
        return;
    }
    let has_state = parent.is_some() && trace_context::has_sound_state(headers);
    ctx.recording = Some(Box::new(RequestTrace {
        tracing: Arc::clone(tracing),
        position,
        parent,
        state: has_state.then(|| trace_context::tracestate(headers)).flatten(),
        began: SystemTime::now(),
        attempt: None,
        resend_count: -1,
        opened: None,
    }));
}

/// Tells the upstream its place in the trace.
pub(in crate::proxy) fn set_headers(
    position: TraceParent,
    client: &RequestHeader,
    upstream: &mut RequestHeader,
    ctx: &Context,
) -> Result<()> {
    let attempt = ctx.recording.as_ref().and_then(|recording| recording.attempt.as_ref());
    // Where nothing is recorded, one name for all attempts is enough.
    let span_id = attempt.map_or(position.span_id, |attempt| attempt.span_id);
    upstream.insert_header(spelled::TRACEPARENT, TraceParent { span_id, ..position }.to_value())?;
    if upstream.headers.contains_key(&TRACESTATE)
        && (TraceParent::from_headers(&client.headers).is_none()
            || !trace_context::has_sound_state(&client.headers))
    {
        upstream.remove_header(&TRACESTATE);
    }
    Ok(())
}

/// Another attempt begins.
pub(in crate::proxy) fn start_attempt(
    pool: &Pool,
    chosen: &SelectedEndpoint,
    session: &Session,
    ctx: &mut Context,
) {
    let route = &ctx.route;
    let Some(recording) = &mut ctx.recording else { return };
    recording.end_attempt(session.req_header(), &ctx.exchange, route);
    recording.resend_count += 1;
    recording.attempt = Some(AttemptSpan {
        span_id: new_span_id(),
        began: SystemTime::now(),
        upstream: Arc::clone(pool.name()),
        endpoint: Arc::clone(chosen.endpoint()),
        address: chosen.address().clone(),
        uses_tls: pool.settings().protocol.tls.is_some(),
        resent: recording.resend_count,
        status: None,
        version: None,
        error: None,
    });
}

/// The upstream has answered.
pub(in crate::proxy) fn record_response(ctx: &mut Context, response: &ResponseHeader) {
    if let Some(attempt) = ctx.recording.as_mut().and_then(|it| it.attempt.as_mut()) {
        attempt.status = Some(response.status.as_u16());
        attempt.version = Some(response.version);
    }
}

/// The attempt has come to nothing.
pub(in crate::proxy) fn record_failure(ctx: &mut Context, error: &Error) {
    if let Some(attempt) = ctx.recording.as_mut().and_then(|it| it.attempt.as_mut()) {
        attempt.error.get_or_insert_with(|| error.etype().as_str().to_owned());
    }
}

/// The handshake is done.
pub(in crate::proxy) fn record_open(ctx: &mut Context) {
    if let Some(recording) = &mut ctx.recording {
        recording.opened = Some(SystemTime::now());
    }
}

impl RequestTrace {
    /// The attempt is over, for another begins or the request ends.
    fn end_attempt(&mut self, request: &RequestHeader, exchange: &Exchange, route: &Route) {
        let Some(attempt) = self.attempt.take() else { return };
        let method = method(&request.method);
        let position = TraceParent { span_id: attempt.span_id, ..self.position };
        let name = method.unwrap_or("HTTP").to_owned();
        let mut span = Span::new(position, SpanKind::Client, name, attempt.began);
        span.set_parent(self.position.span_id, false);
        span.set_attribute(keys::METHOD.name(), method.unwrap_or(keys::OTHER_METHOD));
        let scheme = if attempt.uses_tls { "https" } else { "http" };
        let query = request.uri.query().map(|query| self.tracing.redacted_query(query));
        let target = route.target(exchange, request, query.as_deref());
        let authority = attempt.endpoint.authority();
        span.set_attribute("url.full", format!("{scheme}://{authority}{target}"));
        span.set_attribute(keys::SERVER.name(), attempt.endpoint.host().to_owned());
        span.set_if_present("server.port", attempt.address.port().map(i64::from));
        let mut peer = String::with_capacity(40);
        match &attempt.address {
            Address::Inet(address) => address::push_ip(&mut peer, address.ip()),
            Address::Unix(path) => peer.push_str(path),
        }
        span.set_attribute("network.peer.address", peer);
        span.set_if_present("network.peer.port", attempt.address.port().map(i64::from));
        span.set_if_present(keys::PROTOCOL_VERSION.name(), attempt.version.map(version));
        span.set_attribute(keys::UPSTREAM.name(), attempt.upstream);
        if attempt.resent > 0 {
            span.set_attribute("http.request.resend_count", attempt.resent);
        }
        span.set_if_present(keys::STATUS.name(), attempt.status.map(i64::from));
        // To a client every answer of 400 and above is an error.
        let answer = attempt.status.filter(|status| *status >= 400).map(|it| it.to_string());
        if let Some(kind) = answer.or(attempt.error) {
            span.fail(&kind);
            span.set_attribute("error.type", kind);
        }
        self.tracing.exporter().queue_span(span);
    }

    /// All is over.
    pub(in crate::proxy) fn end(
        mut self,
        outcome: &Outcome<'_>,
        route: &Route,
        error: Option<&Error>,
    ) {
        let Outcome { request, exchange, .. } = outcome;
        if let (Some(attempt), Some(error)) = (&mut self.attempt, error) {
            attempt.error.get_or_insert_with(|| error.etype().as_str().to_owned());
        }
        self.end_attempt(request, exchange, route);
        let method = method(&request.method);
        let mut name = method.unwrap_or("HTTP").to_owned();
        if !exchange.route().is_empty() {
            name.push(' ');
            name.push_str(exchange.route());
        }
        let kind = if outcome.is_background { SpanKind::Internal } else { SpanKind::Server };
        let mut span = Span::new(self.position, kind, name, self.began);
        if let Some(parent) = &self.parent {
            span.set_parent(parent.span_id, true);
        }
        if let Some(state) = &self.state {
            span.set_state(state);
        }
        span.set_attribute(keys::METHOD.name(), method.unwrap_or(keys::OTHER_METHOD));
        if method.is_none() {
            span.set_attribute("http.request.method_original", request.method.as_str().to_owned());
        }
        span.set_attribute("url.scheme", exchange.scheme());
        let path = exchange.forwarded_path(request);
        span.set_attribute(keys::PATH.name(), self.tracing.redacted_path(path).into_owned());
        let query =
            request.uri.query().map(|query| self.tracing.redacted_query(query).into_owned());
        span.set_if_present(keys::QUERY.name(), query);
        if !exchange.route().is_empty() {
            span.set_attribute(keys::ROUTE.name(), Arc::clone(&exchange.route));
        }
        let text = |name| request.headers.get(name).and_then(|value| value.to_str().ok());
        let authority = request.uri.authority().map(http::uri::Authority::as_str);
        if let Some(authority) = authority.or_else(|| text(header::HOST)) {
            let address = host::without_port(authority);
            let port = authority.get(address.len()..).and_then(|rest| rest.strip_prefix(':'));
            let usual = url::default_port(exchange.scheme()).unwrap_or(url::HTTP_PORT);
            span.set_attribute(keys::SERVER.name(), address.to_owned());
            span.set_attribute(
                "server.port",
                port.and_then(|port| port.parse().ok()).unwrap_or_else(|| i64::from(usual)),
            );
        }
        span.set_attribute(keys::PROTOCOL_VERSION.name(), version(request.version));
        span.set_if_present(
            keys::CLIENT.name(),
            exchange.client_address().map(|it| it.to_string()),
        );
        span.set_if_present(keys::USER_AGENT.name(), text(header::USER_AGENT).map(str::to_owned));
        span.set_attribute(keys::REQUEST_ID.name(), exchange.request_id().to_owned());
        span.set_if_present(keys::CACHE.name(), outcome.cache);
        if let Some(user) = exchange.user_id().filter(|_| self.tracing.user_id) {
            span.set_attribute(keys::USER.name(), user.as_str().to_owned());
        }
        span.set_attribute(keys::STATUS.name(), i64::from(outcome.status));
        self.add_session_attributes(&mut span, outcome);
        if outcome.status >= 500 {
            // What a server answers to a client's fault is no fault of the server's.
            span.set_attribute("error.type", outcome.status.to_string());
            span.fail(outcome.error.unwrap_or_default());
        } else if let Some(error) = error {
            span.set_attribute("error.type", error.etype().as_str().to_owned());
        }
        self.tracing.exporter().queue_span(span);
    }

    /// The events of a WebSocket session.
    fn add_session_attributes(&self, span: &mut Span, outcome: &Outcome<'_>) {
        let (Some(opened), Some(end)) = (self.opened, outcome.websocket) else { return };
        span.add(keys::WEBSOCKET_OPEN, opened, Vec::new());
        let mut attributes =
            vec![KeyValue::new(keys::CLOSE_INITIATOR.name(), end.initiator.as_str())];
        if let Some(code) = end.code {
            attributes.push(KeyValue::new(keys::CLOSE_CODE.name(), i64::from(code)));
        }
        if !end.reason.is_empty() {
            attributes.push(KeyValue::new(keys::CLOSE_REASON.name(), end.reason.to_owned()));
        }
        span.add(keys::WEBSOCKET_CLOSE, SystemTime::now(), attributes);
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        span.set_attribute(keys::BYTES_RECEIVED.name(), number(outcome.bytes_received));
        span.set_attribute(keys::BYTES_SENT.name(), number(outcome.bytes_sent));
        span.set_attribute(keys::FRAMES_RECEIVED.name(), number(end.client_to_upstream.frames()));
        span.set_attribute(keys::FRAMES_SENT.name(), number(end.upstream_to_client.frames()));
    }
}

/// A method that everybody knows: strangers can make up any number of others.
fn method(method: &Method) -> Option<&'static str> {
    Some(match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::CONNECT => "CONNECT",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::PATCH => "PATCH",
        _ => return None,
    })
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}
