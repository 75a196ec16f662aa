//! The state of one request across Pingora's hooks, and the report of its end. Decides nothing about the request.

use super::body_timeout::BodyTimeout;
use super::caching::{self, RequestCaching};
use super::cut_off::{self, KeptRequestHead};
use super::explain_header::ExplainedRequest;
use super::failure;
use super::filtered_body::FilteredBody;
use super::first_byte_timeout::ResponseDeadline;
use super::mirror::MirrorCopy;
use super::request_body::KeptBody;
use super::retry::RetryState;
use super::task_state;
use super::tracing::{self, RequestTrace};
use crate::cache::CacheStatus;
use crate::exchange::{Exchange, Outcome, WebSocketEnd};
use crate::filter::Reply;
use crate::histogram::Exemplar;
use crate::load::{ConnectionPermit, InFlightGuard, RequestPermit};
use crate::shared::SharedSessionPermit;
use crate::snapshot::Route;
use crate::upstream::{CutOffHandle, Pool, SelectedEndpoint, UpstreamPermit, UseGuard};
use crate::websocket::{CLIENT_GONE, CLOSE_TIMEOUT, CloseRequest, End, Initiator, SessionPermit};
use http::{HeaderValue, Method, StatusCode};
use pingora::Error;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use tidegate_http::address::Address;
use tidegate_http::websocket::frame::Direction;

/// The logged status of a request whose client left before the response: nginx's 499.
const CLIENT_CLOSED_STATUS: u16 = 499;

/// The logged status of a response that the gateway could not send.
const SEND_FAILED_STATUS: u16 = 500;

/// The logged status of a request that has no response when the gateway stops.
const STOPPED_STATUS: u16 = 503;

/// The state of one request across Pingora's hooks. A session keeps it as long as it lives, so what few
/// requests need is in boxes.
pub(crate) struct Context {
    pub(super) started: Instant,
    pub(super) route: Arc<Route>,
    pub(super) exchange: Exchange,
    /// Whether the connection's peer is a proxy whose forwarding headers are trusted.
    pub(super) peer_is_trusted: bool,
    /// `Strict-Transport-Security`, where the listener sends it.
    pub(super) hsts: Option<Arc<HeaderValue>>,
    /// The upstream that a split selects instead of the route's own.
    pub(super) split_pool: Option<Arc<Pool>>,
    /// The copy for the route's mirror.
    pub(super) mirror_copy: Option<Box<MirrorCopy>>,
    /// The state of caching, where the cache may answer.
    pub(super) caching: Option<Box<RequestCaching>>,
    /// The span, where the request is traced.
    pub(super) recording: Option<Box<RequestTrace>>,
    /// Counts it among the requests of its client, until it becomes a session.
    pub(super) request_permit: Option<RequestPermit>,
    /// The current attempt at an upstream.
    pub(super) attempt: Attempt,
    /// What has passed of the bodies, and the time for them.
    pub(super) body: BodyProgress,
    /// The WebSocket session.
    pub(super) session: SessionState,
    /// The explanation that the response carries, for clients with the admin token.
    pub(super) explanation: Option<Box<ExplainedRequest>>,
    /// What is known of the outcome so far.
    pub(super) outcome: OutcomeSoFar,
    /// The request's head, to log the end without Pingora.
    pub(super) head: KeptRequestHead,
    /// Counts it as in flight, until the end is logged.
    in_flight: Option<InFlightGuard>,
}

/// The attempt at an upstream, and what remains of those before.
#[derive(Default)]
pub(super) struct Attempt {
    /// The endpoint in use.
    pub(super) endpoint: Option<SelectedEndpoint>,
    /// The addresses at which this request has failed.
    pub(super) tried: Vec<Address>,
    /// How many attempts have failed, and when the next one may start.
    pub(super) retries: RetryState,
    /// Counts it among the requests in flight to the upstream, where those are limited.
    pub(super) upstream_permit: Option<UpstreamPermit>,
    /// Whether the upstream had as many requests in flight as it may have.
    pub(super) hit_upstream_limit: bool,
    /// The cookie that leads the client to the same endpoint again.
    pub(super) sticky_cookie: Option<Box<HeaderValue>>,
    /// Cuts off the connection to the upstream.
    pub(super) cut_off_handle: Option<Arc<CutOffHandle>>,
    /// Keeps the connection open, where requests share it.
    pub(super) connection_use: Option<UseGuard>,
    /// The deadline of the response.
    pub(super) deadline: Option<Box<ResponseDeadline>>,
}

/// What has passed of the bodies.
#[derive(Default)]
pub(super) struct BodyProgress {
    /// Whether the request has a body.
    pub(super) is_present: bool,
    /// The timeout of the request's body, while it arrives.
    pub(super) timeout: Option<Box<BodyTimeout>>,
    /// The request's body, where the gateway itself keeps it for each attempt.
    pub(super) kept: Option<Box<KeptBody>>,
    /// The response's body, where filters see it.
    pub(super) filtered: Option<FilteredBody>,
    /// Bytes of the request's body.
    pub(super) received: u64,
    /// Bytes of the response's body.
    pub(super) sent: u64,
}

/// The WebSocket session of a request, from the handshake on.
#[derive(Default)]
pub(super) struct SessionState {
    /// Keeps it in the registry.
    pub(super) permit: Option<SessionPermit>,
    /// Counts it at all gateways together.
    pub(super) shared_hold: Option<Box<SharedSessionPermit>>,
    /// Over HTTP/2 (RFC 8441): the key of the handshake with the upstream.
    pub(super) bridge_key: Option<Box<str>>,
    /// Over HTTP/2: counts it among the connections.
    pub(super) connection_permit: Option<Box<ConnectionPermit>>,
    /// Whether the handshake is complete.
    pub(super) is_open: bool,
}

/// What is known of the outcome before the end.
#[derive(Default)]
pub(super) struct OutcomeSoFar {
    /// The answer that the client gets instead of the upstream's.
    pub(super) substitute_reply: Option<Box<Reply>>,
    /// The status of the final response, once its head has been sent.
    pub(super) response_status: Option<StatusCode>,
    /// The status of the gateway's own answer to a gRPC call, where HTTP's is 200.
    pub(super) grpc_status: Option<StatusCode>,
    /// Whether an error is no failure of the gateway or the service: the configuration asks for it, the client
    /// is at fault, or a limit or a close request ends the request.
    pub(super) is_intended: bool,
    /// Whether a filter has failed on a response: the answer that says so goes by no filter.
    pub(super) is_unfiltered: bool,
    /// What failed, in words for the operator.
    pub(super) error: Option<String>,
}

/// What is known of a request at its end, besides its context.
pub(super) struct EndOfRequest<'s> {
    pub(super) request: &'s RequestHeader,
    pub(super) response: Option<&'s ResponseHeader>,
    pub(super) cache: Option<CacheStatus>,
    pub(super) is_background: bool,
}

impl Context {
    pub(super) fn new(fallback: Arc<Route>, in_flight: InFlightGuard) -> Self {
        let request_id = HeaderValue::from_static("");
        Self {
            started: Instant::now(),
            exchange: Exchange::new(Arc::clone(&fallback.name), request_id),
            route: fallback,
            peer_is_trusted: false,
            hsts: None,
            split_pool: None,
            mirror_copy: None,
            caching: None,
            recording: None,
            request_permit: None,
            attempt: Attempt::default(),
            body: BodyProgress::default(),
            session: SessionState::default(),
            explanation: None,
            outcome: OutcomeSoFar::default(),
            head: KeptRequestHead::None,
            in_flight: Some(in_flight),
        }
    }

    /// The upstream that takes the request.
    pub(super) fn pool(&self) -> Option<&Arc<Pool>> {
        self.split_pool.as_ref().or(self.route.pool.as_ref())
    }

    /// The request is refused because of too many others: it no longer counts as in flight, however long
    /// its client takes to read the answer.
    pub(super) fn stop_counting(&mut self) {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.count_as_session();
        }
    }

    /// The handshake is complete: from here on this is a WebSocket session.
    pub(super) fn record_open(&mut self, session: &mut Session, status: StatusCode) {
        self.session.is_open = true;
        tracing::record_open(self);
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.count_as_session();
        }
        self.request_permit = None;
        task_state::set_shared(None);
        // Silence is no fault in a session; `websocket.idle_timeout` limits it where set.
        session.set_read_timeout(None);
        session.set_write_timeout(Some(self.route.global.limits.send_timeout));
        let method = &session.req_header().method;
        self.route.requests.count(method, status.as_u16(), self.started.elapsed());
        let outcome =
            self.report(&end_of_request(session, session.req_header(), self), status.as_u16());
        for filter in &self.route.filters {
            filter.on_open(&outcome);
        }
        if let Some(log) = &self.route.global.access_log {
            log.log_open(&outcome);
        }
        self.head.keep_for_session(session);
    }

    /// Reports the end to filters and logs, once.
    pub(super) fn record_end(&mut self, session: &Session, error: Option<&Error>) {
        let is_cut_off = self.is_cut_off();
        if let Some(error) = error.filter(|_| !is_cut_off) {
            self.outcome.error.get_or_insert_with(|| failure::in_words(error));
        }
        let is_evicted = error.is_some() && self.note_eviction();
        let nothing_sent = match error {
            _ if is_cut_off || is_evicted => STOPPED_STATUS,
            Some(error) if failure::is_head_refused(error) => SEND_FAILED_STATUS,
            _ => CLIENT_CLOSED_STATUS,
        };
        let status = match (self.outcome.grpc_status, session.response_written()) {
            (Some(status), Some(_)) => status.as_u16(),
            (None, Some(response)) => response.status.as_u16(),
            (_, None) => nothing_sent,
        };
        let head = std::mem::take(&mut self.head).into_taken();
        let request = head.as_deref().unwrap_or_else(|| session.req_header());
        let end = end_of_request(session, request, self);
        self.report_end(&end, status, error);
    }

    /// Records the end of a request that is cut off: Pingora drops it without calling `logging`.
    pub(super) fn record_cut_off_request(&mut self, head: &RequestHeader) {
        let is_evicted = self.note_eviction();
        let is_reset = !is_evicted && task_state::is_reset();
        if is_reset {
            self.outcome.error.get_or_insert_with(|| cut_off::RESET_REASON.to_owned());
        }
        if let (false, None, Some(tunnel)) =
            (self.session.is_open, &self.outcome.error, &self.session.permit)
        {
            self.outcome.error = tunnel.session().close_request().map(failure::session_end_reason);
        }
        let nothing_sent = if is_reset { CLIENT_CLOSED_STATUS } else { STOPPED_STATUS };
        let status = self
            .outcome
            .grpc_status
            .or(self.outcome.response_status)
            .map_or(nothing_sent, |status| status.as_u16());
        let end = EndOfRequest { request: head, response: None, cache: None, is_background: false };
        self.report_end(&end, status, None);
    }

    /// Whether the end has not been reported yet.
    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Whether the gateway stops and no longer waits for it.
    pub(super) fn is_cut_off(&self) -> bool {
        self.in_flight.as_ref().is_some_and(InFlightGuard::is_cut_off)
    }

    /// Whether its client is evicted, and the request with it.
    pub(super) fn is_evicted(&self) -> bool {
        self.request_permit.as_ref().is_some_and(RequestPermit::is_evicted)
    }

    /// The request by which the gateway ends a handshake that its upstream has not answered: a limit, a
    /// kick, a drain. One that took too long is the upstream's fault instead.
    pub(super) fn close_request(&self) -> Option<&CloseRequest> {
        let session = self.session.permit.as_ref()?.session();
        let request = session.close_request().filter(|_| !self.session.is_open)?;
        (request.initiator != Initiator::Handshake).then_some(request)
    }

    /// Records why it ends, if its client is evicted: not a fault of the service.
    fn note_eviction(&mut self) -> bool {
        let is_evicted = self.is_evicted();
        if is_evicted {
            self.outcome.error = Some(cut_off::EVICTION_REASON.to_owned());
            self.outcome.is_intended = true;
        }
        is_evicted
    }

    fn report_end(&mut self, end: &EndOfRequest<'_>, status: u16, error: Option<&Error>) {
        if self.in_flight.is_none() {
            return;
        }
        if let Some(filtered) = self.body.filtered.take() {
            filtered.give_back(&mut self.exchange);
        }
        if self.is_cut_off() {
            self.outcome.error = Some(cut_off::STOP_REASON.to_owned());
            self.outcome.is_intended = true;
        }
        if let (true, Some(tunnel)) = (self.session.is_open, &self.session.permit) {
            let error = error.filter(|_| !self.is_cut_off());
            tunnel.session().record_cut_off(|| match error {
                Some(error) => End {
                    initiator: failure::initiator(error),
                    code: None,
                    reason: failure::in_words(error).into(),
                },
                None if self.is_cut_off() => End {
                    initiator: Initiator::Drain,
                    code: None,
                    reason: cut_off::STOP_REASON.into(),
                },
                None => {
                    End { initiator: Initiator::Client, code: None, reason: CLIENT_GONE.into() }
                }
            });
            // The gateway does not wait for a client that does not end its side of a stream.
            tunnel.session().end_within(CLOSE_TIMEOUT);
        }
        if let (Some(policy), Some(status)) = (&self.route.cache, end.cache)
            && !end.is_background
        {
            policy.counts.count(status);
        }
        if !self.session.is_open && !end.is_background {
            self.count(&end.request.method, status);
        }
        let recording = self.recording.take();
        let outcome = self.report(end, status);
        if let Some(recording) = recording {
            recording.end(&outcome, &self.route, error);
        }
        for filter in self.route.filters.iter().rev() {
            filter.on_end(&outcome);
        }
        if let Some(log) = &self.route.global.access_log {
            log.log_end(&outcome);
        }
        // The eviction is logged once, however many requests end with it.
        if let Some(error) = &self.outcome.error
            && (500..600).contains(&status)
            && !self.is_evicted()
        {
            log::warn!(
                "{status} {} {}: {error} (route `{}`, request {})",
                outcome.request.method,
                outcome.request.uri.path(),
                self.exchange.route(),
                self.exchange.request_id(),
            );
        }
        self.session.permit = None;
        if self.exchange.is_websocket && !self.session.is_open {
            task_state::set_session(None);
        }
        self.session.shared_hold = None;
        self.attempt.endpoint = None;
        self.attempt.upstream_permit = None;
        self.session.connection_permit = None;
        self.request_permit = None;
        self.in_flight = None;
    }

    fn count(&self, method: &Method, status: u16) {
        let requests = &self.route.requests;
        let took = self.started.elapsed();
        requests.count(method, status, took);
        if let Some(trace) = self.exchange.trace.as_ref().filter(|trace| trace.is_sampled) {
            requests.exemplify(Exemplar {
                trace_id: trace.trace_id,
                took,
                time: SystemTime::now(),
            });
        }
        if status >= 500 && !self.outcome.is_intended {
            requests.count_server_error();
        }
        if self.exchange.is_websocket && status != CLIENT_CLOSED_STATUS {
            requests.count_failed_handshake();
            if status >= 500 && !self.outcome.is_intended && !self.attempt.hit_upstream_limit {
                requests.count_broken_handshake();
            }
        }
    }

    fn report<'o>(&'o self, end: &EndOfRequest<'o>, status: u16) -> Outcome<'o> {
        let websocket =
            self.session.permit.as_ref().filter(|_| self.session.is_open).map(|tunnel| {
                let session = tunnel.session();
                let end = session.end();
                WebSocketEnd {
                    initiator: end.map_or(Initiator::Network, |end| end.initiator),
                    code: end.and_then(|end| end.code),
                    reason: end.map_or("", |end| &end.reason),
                    handshake: session.handshake().unwrap_or_default(),
                    client_to_upstream: session.counts(Direction::ClientToUpstream),
                    upstream_to_client: session.counts(Direction::UpstreamToClient),
                }
            });
        Outcome {
            request: end.request,
            response: end.response,
            exchange: &self.exchange,
            status,
            duration: self.started.elapsed(),
            upstream: self.pool().map(|pool| &**pool.name()),
            upstream_address: self.attempt.endpoint.as_ref().map(SelectedEndpoint::address),
            bytes_received: websocket
                .map_or(self.body.received, |end| end.client_to_upstream.bytes),
            bytes_sent: websocket.map_or(self.body.sent, |end| end.upstream_to_client.bytes),
            websocket,
            cache: end.cache.map(CacheStatus::as_str),
            is_background: end.is_background,
            error: self.outcome.error.as_deref(),
        }
    }
}

fn end_of_request<'s>(
    session: &'s Session,
    request: &'s RequestHeader,
    ctx: &Context,
) -> EndOfRequest<'s> {
    EndOfRequest {
        request,
        response: session.response_written(),
        cache: caching::status(session, ctx),
        is_background: caching::is_background(session),
    }
}
