use super::begun;
use super::caching::{self, Caching};
use super::cut_off::{self, Head};
use super::deadline::Deadline;
use super::explained::Explaining;
use super::failure;
use super::mirror::Copy;
use super::retry::Attempts;
use super::tracing::{self, Recording};
use super::upload::Upload;
use crate::cache::Status;
use crate::exchange::{Exchange, Outcome, WebSocketEnd};
use crate::filter::Reply;
use crate::histogram::Exemplar;
use crate::load::{Place as ConnectionPlace, RequestPermit, Ticket};
use crate::shared::Hold;
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

/// What nginx logs when the client left before there was an answer; ops know it.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// What is logged when the gateway had an answer that it could not send.
const FAILED: u16 = 500;

/// What is logged when the gateway stopped before there was an answer.
const STOPPED: u16 = 503;

/// One request on its way through Pingora's hooks. A session keeps it as long as it lives, so what few
/// have stands in boxes.
pub(crate) struct Context {
    pub(super) started: Instant,
    pub(super) route: Arc<Route>,
    pub(super) exchange: Exchange,
    /// Whether the connection's peer is a proxy whose forwarding headers are believed.
    pub(super) peer_is_trusted: bool,
    /// `Strict-Transport-Security`, where the listener has it.
    pub(super) hsts: Option<Arc<HeaderValue>>,
    /// The upstream, where a split leads elsewhere than the route does.
    pub(super) elsewhere: Option<Arc<Pool>>,
    /// A copy for the route's mirror.
    pub(super) copy: Option<Box<Copy>>,
    /// What the cache has to know, where it may answer.
    pub(super) caching: Option<Box<Caching>>,
    /// What its trace will say of it, where it is recorded.
    pub(super) recording: Option<Box<Recording>>,
    /// The endpoint in use.
    pub(super) endpoint: Option<SelectedEndpoint>,
    /// The addresses at which this request has failed.
    pub(super) tried: Vec<Address>,
    /// What it has had of attempts.
    pub(super) attempts: Attempts,
    /// Its place among what is under way to the upstream, where that is bounded.
    pub(super) place: Option<UpstreamPermit>,
    /// Whether there was none.
    pub(super) is_full: bool,
    /// The cookie by which the client finds its endpoint again.
    pub(super) sticky: Option<Box<HeaderValue>>,
    /// The session, from the handshake on, and its place in the registry.
    pub(super) tunnel: Option<SessionPermit>,
    /// Lets the session count at other gateways as well.
    pub(super) hold: Option<Box<Hold>>,
    /// For a WebSocket over HTTP/2 (RFC 8441): the key of the handshake with the upstream.
    pub(super) bridge: Option<Box<str>>,
    /// For a WebSocket over HTTP/2: its place among the connections.
    pub(super) session_place: Option<Box<ConnectionPlace>>,
    /// Counts it among the requests of its client, until it becomes a session.
    pub(super) request_permit: Option<RequestPermit>,
    /// Whether the handshake is done.
    pub(super) is_open: bool,
    /// Whether the request has a body.
    pub(super) has_body: bool,
    /// The body, while it comes.
    pub(super) upload: Option<Box<Upload>>,
    /// By which the connection to the upstream can be cut off.
    pub(super) line: Option<Arc<CutOffHandle>>,
    /// Keeps the attempt's connection open, where requests share it.
    pub(super) upstream_use: Option<UseGuard>,
    /// Until when the response must have begun.
    pub(super) deadline: Option<Box<Deadline>>,
    pub(super) received: u64,
    pub(super) sent: u64,
    /// What the client gets in the place of an upstream's error.
    pub(super) instead: Option<Box<Reply>>,
    /// The status of the final response, once its head is on its way to the client.
    pub(super) begun: Option<StatusCode>,
    /// What is told of it to who may know.
    pub(super) explaining: Option<Box<Explaining>>,
    /// The status of the gateway's own answer to a call of gRPC, where HTTP's is 200.
    pub(super) grpc_reply: Option<StatusCode>,
    /// Whether the answer is no failure of the gateway's or the service's: the configuration says to
    /// give it, the client is at fault, or it is a limit or a close request that ends the request.
    pub(super) is_intended: bool,
    /// What went wrong, in words for the operator.
    pub(super) error: Option<String>,
    /// The request's head, for the case that the end must be logged without Pingora.
    pub(super) head: Head,
    /// Until the end is told.
    under_way: Option<Ticket>,
}

/// What is known of a request at its end besides its context.
pub(super) struct Seen<'s> {
    pub(super) request: &'s RequestHeader,
    pub(super) response: Option<&'s ResponseHeader>,
    pub(super) cache: Option<Status>,
    pub(super) is_background: bool,
}

impl Context {
    pub(super) fn new(fallback: Arc<Route>, under_way: Ticket) -> Self {
        let request_id = HeaderValue::from_static("");
        Self {
            started: Instant::now(),
            exchange: Exchange::new(Arc::clone(&fallback.name), request_id),
            route: fallback,
            peer_is_trusted: false,
            hsts: None,
            elsewhere: None,
            copy: None,
            caching: None,
            recording: None,
            endpoint: None,
            tried: Vec::new(),
            attempts: Attempts::default(),
            place: None,
            is_full: false,
            sticky: None,
            tunnel: None,
            hold: None,
            bridge: None,
            session_place: None,
            request_permit: None,
            is_open: false,
            has_body: false,
            upload: None,
            line: None,
            upstream_use: None,
            deadline: None,
            received: 0,
            sent: 0,
            instead: None,
            begun: None,
            explaining: None,
            grpc_reply: None,
            is_intended: false,
            error: None,
            head: Head::None,
            under_way: Some(under_way),
        }
    }

    /// The upstream.
    pub(super) fn pool(&self) -> Option<&Arc<Pool>> {
        self.elsewhere.as_ref().or(self.route.pool.as_ref())
    }

    /// The request is refused for there are too many: however long its client takes to read so,
    /// it is none of those in flight.
    pub(super) fn no_longer_counts(&mut self) {
        if let Some(under_way) = &mut self.under_way {
            under_way.becomes_session();
        }
    }

    /// The handshake is done: from here on this is a WebSocket session.
    pub(super) fn opened(&mut self, session: &mut Session, status: StatusCode) {
        self.is_open = true;
        tracing::opened(self);
        if let Some(under_way) = &mut self.under_way {
            under_way.becomes_session();
        }
        self.request_permit = None;
        begun::set_shared(None);
        // Silence is no fault in a session; `websocket.idle_timeout` bounds it where wanted.
        session.set_read_timeout(None);
        session.set_write_timeout(Some(self.route.global.limits.send_timeout));
        let method = &session.req_header().method;
        self.route.requests.count(method, status.as_u16(), self.started.elapsed());
        let outcome = self.outcome(&seen(session, session.req_header(), self), status.as_u16());
        for filter in &self.route.filters {
            filter.on_open(&outcome);
        }
        if let Some(log) = &self.route.global.access_log {
            log.opened(&outcome);
        }
        self.head.keep(session);
    }

    /// All is over: filters and logs are told, once.
    pub(super) fn ended(&mut self, session: &Session, error: Option<&Error>) {
        let is_cut_off = self.is_cut_off();
        if let Some(error) = error.filter(|_| !is_cut_off) {
            self.error.get_or_insert_with(|| failure::in_words(error));
        }
        let is_evicted = error.is_some() && self.note_eviction();
        let nothing_sent = match error {
            _ if is_cut_off || is_evicted => STOPPED,
            Some(error) if failure::is_head_refused(error) => FAILED,
            _ => CLIENT_CLOSED_REQUEST,
        };
        let status = match (self.grpc_reply, session.response_written()) {
            (Some(status), Some(_)) => status.as_u16(),
            (None, Some(response)) => response.status.as_u16(),
            (_, None) => nothing_sent,
        };
        let head = std::mem::take(&mut self.head).taken();
        let request = head.as_deref().unwrap_or_else(|| session.req_header());
        let seen = seen(session, request, self);
        self.tell_end(&seen, status, error);
    }

    /// The same for a request that is dropped as it stands, without Pingora saying so: it is cut off.
    pub(super) fn dropped(&mut self, head: &RequestHeader) {
        let is_evicted = self.note_eviction();
        let is_reset = !is_evicted && begun::is_reset();
        if is_reset {
            self.error.get_or_insert_with(|| cut_off::RESET.to_owned());
        }
        if let (false, None, Some(tunnel)) = (self.is_open, &self.error, &self.tunnel) {
            self.error = tunnel.session().close_request().map(failure::ended_by);
        }
        let nothing_sent = if is_reset { CLIENT_CLOSED_REQUEST } else { STOPPED };
        let status = self.grpc_reply.or(self.begun).map_or(nothing_sent, |status| status.as_u16());
        let seen = Seen { request: head, response: None, cache: None, is_background: false };
        self.tell_end(&seen, status, None);
    }

    /// Whether the end has not been told.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Whether the gateway stops, and waits for it no longer.
    pub(super) fn is_cut_off(&self) -> bool {
        self.under_way.as_ref().is_some_and(Ticket::is_cut_off)
    }

    /// Whether its client is evicted, and the request with it.
    pub(super) fn is_evicted(&self) -> bool {
        self.request_permit.as_ref().is_some_and(RequestPermit::is_evicted)
    }

    /// The request by which the gateway ends a handshake that its upstream has not answered: a limit, a
    /// kick, a drain. One that took too long is the upstream's fault instead.
    pub(super) fn close_request(&self) -> Option<&CloseRequest> {
        let session = self.tunnel.as_ref()?.session();
        let request = session.close_request().filter(|_| !self.is_open)?;
        (request.initiator != Initiator::Handshake).then_some(request)
    }

    /// Notes why it ends, if its client is evicted: no fault of the service's.
    fn note_eviction(&mut self) -> bool {
        let is_evicted = self.is_evicted();
        if is_evicted {
            self.error = Some(cut_off::EVICTED.to_owned());
            self.is_intended = true;
        }
        is_evicted
    }

    fn tell_end(&mut self, seen: &Seen<'_>, status: u16, error: Option<&Error>) {
        if self.under_way.is_none() {
            return;
        }
        if self.is_cut_off() {
            self.error = Some(cut_off::REASON.to_owned());
            self.is_intended = true;
        }
        if let (true, Some(tunnel)) = (self.is_open, &self.tunnel) {
            let error = error.filter(|_| !self.is_cut_off());
            tunnel.session().record_cut_off(|| match error {
                Some(error) => End {
                    initiator: failure::initiator(error),
                    code: None,
                    reason: failure::in_words(error).into(),
                },
                None if self.is_cut_off() => {
                    End { initiator: Initiator::Drain, code: None, reason: cut_off::REASON.into() }
                }
                None => {
                    End { initiator: Initiator::Client, code: None, reason: CLIENT_GONE.into() }
                }
            });
            // A client that does not end its side of a stream is not waited for.
            tunnel.session().end_within(CLOSE_TIMEOUT);
        }
        if let (Some(policy), Some(status)) = (&self.route.cache, seen.cache)
            && !seen.is_background
        {
            policy.counts.count(status);
        }
        if !self.is_open && !seen.is_background {
            self.count(&seen.request.method, status);
        }
        let recording = self.recording.take();
        let outcome = self.outcome(seen, status);
        if let Some(recording) = recording {
            recording.end(&outcome, &self.route, error);
        }
        for filter in self.route.filters.iter().rev() {
            filter.on_end(&outcome);
        }
        if let Some(log) = &self.route.global.access_log {
            log.ended(&outcome);
        }
        // The eviction is logged once, however many requests end with it.
        if let Some(error) = &self.error
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
        self.tunnel = None;
        if self.exchange.is_websocket && !self.is_open {
            begun::set_session(None);
        }
        self.hold = None;
        self.endpoint = None;
        self.place = None;
        self.session_place = None;
        self.request_permit = None;
        self.under_way = None;
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
        if status >= 500 && !self.is_intended {
            requests.count_server_error();
        }
        if self.exchange.is_websocket && status != CLIENT_CLOSED_REQUEST {
            requests.count_failed_handshake();
            if status >= 500 && !self.is_intended && !self.is_full {
                requests.count_broken_handshake();
            }
        }
    }

    fn outcome<'o>(&'o self, seen: &Seen<'o>, status: u16) -> Outcome<'o> {
        let websocket = self.tunnel.as_ref().filter(|_| self.is_open).map(|tunnel| {
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
            request: seen.request,
            response: seen.response,
            exchange: &self.exchange,
            status,
            duration: self.started.elapsed(),
            upstream: self.pool().map(|pool| &**pool.name()),
            upstream_address: self.endpoint.as_ref().map(SelectedEndpoint::address),
            bytes_received: websocket.map_or(self.received, |end| end.client_to_upstream.bytes),
            bytes_sent: websocket.map_or(self.sent, |end| end.upstream_to_client.bytes),
            websocket,
            cache: seen.cache.map(Status::as_str),
            is_background: seen.is_background,
            error: self.error.as_deref(),
        }
    }
}

fn seen<'s>(session: &'s Session, request: &'s RequestHeader, ctx: &Context) -> Seen<'s> {
    Seen {
        request,
        response: session.response_written(),
        cache: caching::status(session, ctx),
        is_background: caching::is_background(session),
    }
}
