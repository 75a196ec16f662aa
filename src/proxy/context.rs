use super::failure;
use super::in_flight::Ticket;
use crate::exchange::{Exchange, Outcome, WebSocketEnd};
use crate::generation::Route;
use crate::websocket::frame::{Close, Scanner};
use crate::websocket::{self, Initiator};
use http::HeaderValue;
use pingora::Error;
use pingora_proxy::Session;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// What nginx logs when the client left before there was an answer; ops know it.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// A session's frames: from the client, and to it; and the first close frame among them.
#[derive(Debug, Default)]
pub struct Open {
    from_client: Scanner,
    to_client: Scanner,
    close: Option<Close>,
}

/// One request on its way through Pingora's hooks.
pub struct Context {
    pub(super) started: Instant,
    pub(super) route: Arc<Route>,
    pub(super) exchange: Exchange,
    /// Whether the connection's peer is a proxy whose forwarding headers are believed.
    pub(super) peer_is_trusted: bool,
    /// The endpoint in use, by its index in the pool, and the address chosen of it.
    pub(super) endpoint: Option<(usize, SocketAddr)>,
    pub(super) connects: usize,
    /// Shared with the tap, from the handshake on.
    pub(super) tunnel: Option<Arc<websocket::Session>>,
    /// The handshake is done, and the frames of both directions are followed.
    pub(super) open: Option<Box<Open>>,
    pub(super) received: u64,
    pub(super) sent: u64,
    /// What went wrong, in words for the operator.
    pub(super) error: Option<String>,
    _under_way: Ticket,
}

impl Context {
    pub(super) fn new(fallback: Arc<Route>, under_way: Ticket) -> Self {
        let request_id = HeaderValue::from_static("");
        Self {
            started: Instant::now(),
            exchange: Exchange::new(Arc::clone(&fallback.name), request_id),
            route: fallback,
            peer_is_trusted: false,
            endpoint: None,
            connects: 0,
            tunnel: None,
            open: None,
            received: 0,
            sent: 0,
            error: None,
            _under_way: under_way,
        }
    }

    /// The handshake is done: from here on this is a WebSocket session.
    pub(super) fn opened(&mut self, session: &mut Session) {
        self.open = Some(Box::default());
        // Silence is no fault in a session; `websocket.idle_timeout` bounds it where wanted.
        session.set_read_timeout(None);
        (self.received, self.sent) = (0, 0);
        if let Some(log) = &self.route.edge.access_log {
            log.opened(&self.outcome(session, 101));
        }
    }

    /// Follows what the client sends.
    pub(super) fn frames_from_client(&mut self, bytes: &[u8]) {
        let close = self.open.as_mut().and_then(|open| open.from_client.feed(bytes));
        self.closing(close, Initiator::Client);
    }

    /// Follows what the upstream sends.
    pub(super) fn frames_to_client(&mut self, bytes: &[u8]) {
        let close = self.open.as_mut().and_then(|open| open.to_client.feed(bytes));
        self.closing(close, Initiator::Upstream);
    }

    /// Who sends the first close frame ends the session, whoever closes its connection first.
    fn closing(&mut self, close: Option<Close>, initiator: Initiator) {
        if let (Some(close), Some(open)) = (close, &mut self.open) {
            open.close.get_or_insert(close);
            self.tunnel_ended(initiator);
        }
    }

    /// Notes who ended the tunnel, unless that is known already.
    pub(super) fn tunnel_ended(&self, initiator: Initiator) {
        if let Some(tunnel) = &self.tunnel {
            tunnel.end(initiator);
        }
    }

    /// All is over: filters and logs are told.
    pub(super) fn ended(&mut self, session: &Session, error: Option<&Error>) {
        if let Some(error) = error {
            self.error.get_or_insert_with(|| failure::in_words(error));
            if self.open.is_some() {
                self.tunnel_ended(failure::initiator(error));
            }
        }
        let status = match session.response_written() {
            Some(response) => response.status.as_u16(),
            None => CLIENT_CLOSED_REQUEST,
        };
        let outcome = self.outcome(session, status);
        for filter in self.route.filters.iter().rev() {
            filter.on_end(&outcome);
        }
        if let Some(log) = &self.route.edge.access_log {
            log.ended(&outcome);
        }
        if let (Some(error), true) = (&self.error, (500..600).contains(&status)) {
            log::warn!(
                "{status} {} {}: {error} (route `{}`, request {})",
                outcome.request.method,
                outcome.request.uri.path(),
                self.exchange.route(),
                self.exchange.request_id(),
            );
        }
    }

    fn outcome<'o>(&'o self, session: &'o Session, status: u16) -> Outcome<'o> {
        let ended_by = || {
            let tunnel = self.tunnel.as_ref();
            tunnel.and_then(|tunnel| tunnel.ended_by()).unwrap_or(Initiator::Network)
        };
        Outcome {
            request: session.req_header(),
            exchange: &self.exchange,
            status,
            duration: self.started.elapsed(),
            upstream: self.route.pool.as_ref().map(|pool| pool.name()),
            upstream_address: self.endpoint.map(|(_, address)| address),
            bytes_received: self.received,
            bytes_sent: self.sent,
            websocket: self.open.as_ref().map(|open| WebSocketEnd {
                initiator: ended_by(),
                code: open.close.and_then(|close| close.code),
            }),
            error: self.error.as_deref(),
        }
    }
}
