//! Keeps the TLS connection of a health check for the next one, because a handshake costs several times as much as a
//! check. Knows nothing of results.

use super::super::Endpoint;
use super::super::descriptors::IdleWatch;
use pingora::connectors::http::v2::ConnectionRef;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v1::client::HttpSession as Http1Session;
use pingora::protocols::{Shutdown, Stream};
use pingora::upstreams::peer::HttpPeer;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tidegate_http::address::Address;
use tokio::io::{AsyncRead, ReadBuf};

/// How long a connection serves checks. The next one is new: it verifies the endpoint's certificate, and shows
/// that the endpoint still accepts connections.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Maximum size of the rest of a body, in bytes, that is read so that its connection can be reused.
const MAX_DRAINED_BODY_BYTES: usize = 64 * 1024;

/// A connection on which a check succeeded.
pub(super) struct KeptConnection {
    address: Address,
    opened: Instant,
    state: KeptState,
}

enum KeptState {
    /// The rest of the answer is still to be read.
    Answered(Box<HttpSession>),
    Http1(Stream),
    Http2(ConnectionRef),
    /// It can't be used again.
    Ended,
}

impl KeptConnection {
    /// Keeps the connection to this address, which was opened at that time.
    pub(super) fn new(session: HttpSession, address: Address, opened: Instant) -> Self {
        Self { address, opened, state: KeptState::Answered(Box::new(session)) }
    }

    /// Where it leads.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// When it was opened.
    pub(super) fn opened(&self) -> Instant {
        self.opened
    }

    /// Whether it may serve a check of the endpoint at this time.
    pub(super) fn can_serve_check(&self, endpoint: &Endpoint, now: Instant) -> bool {
        now.saturating_duration_since(self.opened) < CONNECTION_TIMEOUT
            && endpoint.has_address(&self.address)
    }

    /// Reads the rest of the answer. Completes when the connection can't be used again: the endpoint has closed
    /// it, or others need its file. Does nothing without a connection.
    pub(super) async fn watch(kept: &mut Option<Self>) {
        let Some(this) = kept else { return pending().await };
        // Dropping this while it reads resets the stream over HTTP/2, and ends the connection over
        // HTTP/1.1.
        match std::mem::replace(&mut this.state, KeptState::Ended) {
            KeptState::Answered(session) => {
                if let HttpSession::H2(session) = &*session {
                    this.state = KeptState::Http2(session.conn.clone());
                }
                if let Some(stream) = read_rest(*session).await {
                    this.state = KeptState::Http1(stream);
                }
            }
            state => this.state = state,
        }
        let watch = IdleWatch::new();
        match &mut this.state {
            KeptState::Http1(stream) => {
                let id = stream.id();
                poll_fn(|cx| match watch.try_idle(id, cx.waker()) {
                    true => poll_input(stream, cx),
                    false => Poll::Ready(()),
                })
                .await;
            }
            KeptState::Http2(connection) => {
                poll_fn(|cx| match watch.try_idle(connection.id(), cx.waker()) {
                    true => Poll::Pending,
                    false => Poll::Ready(()),
                })
                .await;
            }
            KeptState::Answered(_) | KeptState::Ended => {}
        }
        *kept = None;
    }

    /// For another request; `None` where the endpoint has closed it.
    pub(super) async fn reuse(self, peer: &HttpPeer) -> Option<HttpSession> {
        match self.state {
            KeptState::Http1(mut stream) => {
                // An answer before the request (408, say) is none to it.
                let mut cx = Context::from_waker(Waker::noop());
                if poll_input(&mut stream, &mut cx).is_ready() {
                    return None;
                }
                Some(HttpSession::H1(Http1Session::new_with_options(stream, peer)))
            }
            KeptState::Http2(connection) => {
                connection.spawn_stream().await.ok().flatten().map(HttpSession::H2)
            }
            KeptState::Answered(_) | KeptState::Ended => None,
        }
    }

    /// Closes it in good order.
    pub(super) async fn close(self) {
        if let KeptState::Http1(mut stream) = self.state {
            Shutdown::shutdown(&mut *stream).await;
        }
    }
}

/// Ready when there is something to read: on an idle connection that is its end, or as good as that.
fn poll_input(stream: &mut Stream, cx: &mut Context<'_>) -> Poll<()> {
    let mut byte = [0];
    Pin::new(stream).poll_read(cx, &mut ReadBuf::new(&mut byte)).map(drop)
}

/// Reads the rest of an answer. Returns the connection if it is HTTP/1.1's and may be used again.
async fn read_rest(mut session: HttpSession) -> Option<Stream> {
    let mut left = MAX_DRAINED_BODY_BYTES;
    while let Some(piece) = session.read_response_body().await.ok()? {
        left = left.checked_sub(piece.len())?;
    }
    let HttpSession::H1(mut session) = session else { return None };
    session.respect_keepalive();
    session.reuse().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_connection_expires_after_a_minute_or_an_address_change() {
        let endpoint = Endpoint::new("192.0.2.1", 443, 1, false);
        let address = endpoint.address(&[]).unwrap();
        let opened = Instant::now();
        let kept = KeptConnection { address, opened, state: KeptState::Ended };
        assert!(kept.can_serve_check(&endpoint, opened + Duration::from_secs(59)));
        assert!(!kept.can_serve_check(&endpoint, opened + CONNECTION_TIMEOUT));
        assert!(!kept.can_serve_check(&Endpoint::new("192.0.2.2", 443, 1, false), opened));
    }
}
