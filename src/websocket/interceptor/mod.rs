//! The stream between Pingora's tunnel and the socket of the upstream; it injects frames of the gateway. Knows one
//! session, and nothing of routes, of the registry and of the client's socket.
//!
//! Pingora tunnels natively: it reads and writes this stream where it would have the bare socket.
//!
//! ```text
//!            connected
//!                │
//!        ┌───────▼───────┐  any other answer   ┌─────────┐
//!        │   Handshake   ├────────────────────►│ Refused │
//!        └──┬─────────┬──┘                     └────┬────┘
//!   no answer│        │101                          │end of the refusal,
//!     in time│  ┌─────▼──────────────────────┐      │or nothing more in time
//!            │  │ Open                       │      │
//!            │  │   passing ──────────────┐  │      │
//!            │  │      │ a peer's close   │  │      │
//!            │  │      ▼ frame            │  │      │
//!            │  │   lingering             │  │      │
//!            │  │      │   close request, │  │      │
//!            │  │      │   limit, missing │  │      │
//!            │  │      ▼   pong, upstream │  │      │
//!            │  │   closing ◄─ is gone ───┘  │      │
//!            │  └──────┬─────────────────────┘      │
//!            │         │both close frames seen,     │
//!            │         │or CLOSE_TIMEOUT            │
//!            ▼         ▼                            ▼
//!          ended     ended                        ended
//! ```
//!
//! | state | in the code | Pingora reads | Pingora writes |
//! |---|---|---|---|
//! | Handshake | [`InterceptorPhase::Handshake`] | the head of the answer | the head of the request |
//! | Refused | [`InterceptorPhase::Refused`] | the rest of the answer | nothing |
//! | passing | [`InterceptorPhase::Open`] | frames of the upstream, pings to the client | frames of the client |
//! | lingering | `is_lingering` | the same, until the other peer answers the close frame | the same |
//! | closing | `closing_deadline` | the gateway's close frame, then nothing | frames that are dropped |
//!
//! For each read or write of frames: `DirectionState::inspect` decides, with `check_limits`, about the next
//! bytes; `track` counts what is forwarded; `flush_injected` moves a frame of the gateway to a border;
//! `consume` removes what has been written.

mod clock;
mod closing;
mod transfer;

use super::HandshakeTimeout;
use super::direction_state::DirectionState;
use super::end::End;
use super::observer::FrameObserver;
use super::session::{REFUSAL_STOPPED, Session};
use super::settings::WebSocketSettings;
use super::upstream_stream::UpstreamStream;
use crate::exchange::Initiator;
use pingora::protocols::l4::ext::set_tcp_keepalive;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tidegate_http::websocket::frame::Direction;
use tidegate_http::websocket::response_head::ResponseHeads;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// The reason of a session whose client has gone without a close frame.
pub(crate) const CLIENT_GONE: &str = "the client's connection ended without a close frame";

/// The upstream's socket of a tunnel, as Pingora sees it: forwards the frames of both peers, checks them, and
/// puts frames of the gateway between them.
#[derive(Debug)]
pub(super) struct FrameInterceptor {
    upstream: UpstreamStream,
    session: Arc<Session>,
    settings: Arc<WebSocketSettings>,
    observer: Option<Arc<dyn FrameObserver>>,
    /// Whether Pingora has polled for reading before; see `poll_read`.
    has_polled_read: bool,
    phase: InterceptorPhase,
    /// Frames of the client; its pending bytes go to the upstream.
    client_to_upstream: DirectionState,
    /// Frames of the upstream; its pending bytes go to the client.
    upstream_to_client: DirectionState,
    /// The upstream sends nothing more.
    upstream_has_ended: bool,
    /// The upstream takes nothing more.
    upstream_is_broken: bool,
    /// The deadline of a session that the gateway closes.
    closing_deadline: Option<Instant>,
    /// A peer has sent a close frame, but neither may end its connection: the session ends soon.
    is_lingering: bool,
    /// The client has ended its side without a close frame: it gets nothing more.
    client_has_ended: bool,
    /// The upstream's pong is overdue. Its socket must be read first, because nothing was read while the
    /// client took nothing.
    must_drain: bool,
    /// The socket has been read, and no pong was in it.
    is_drained: bool,
    /// When the phase ends: the handshake, or a session with a maximum lifetime.
    phase_deadline: Option<Instant>,
    /// The first half of the payload of this session's pings; the second half is their number.
    ping_key: [u8; 4],
    ping_count: u32,
    /// Since when the upstream has taken nothing.
    blocked_since: Option<Instant>,
    /// How long the upstream may take nothing.
    write_timeout: Duration,
}

/// How long the gateway waits for the upstream.
#[derive(Debug, Clone, Copy)]
pub(super) struct UpstreamTimeouts {
    /// For its answer to the handshake.
    pub(super) handshake: HandshakeTimeout,
    /// For the next bytes of a refusal.
    pub(super) read: Duration,
    /// For the upstream to take what the client sends.
    pub(super) write: Duration,
}

/// What the handshake needs until it is answered; a session does not.
#[derive(Debug)]
struct PendingHandshake {
    heads: ResponseHeads,
    /// The limit for the answer.
    timeout: HandshakeTimeout,
    /// Maximum time between two parts of a refusal.
    read_timeout: Duration,
}

/// The phase of a tunnel; the module draws how they follow each other.
#[derive(Debug)]
enum InterceptorPhase {
    /// The upstream has not answered the handshake.
    Handshake(Box<PendingHandshake>),
    /// The upstream has refused it: the rest is HTTP, with at most this time between two parts.
    Refused(Duration),
    /// Both peers send frames.
    Open,
}

impl FrameInterceptor {
    pub(super) fn new(
        upstream: UpstreamStream,
        session: Arc<Session>,
        settings: Arc<WebSocketSettings>,
        observer: Option<Arc<dyn FrameObserver>>,
        timeouts: UpstreamTimeouts,
    ) -> Self {
        let now = Instant::now();
        let (mut end, mut timeout) = (now + timeouts.handshake.time, timeouts.handshake);
        if let Some(bound) = settings.handshake_timeout() {
            let of_session = Instant::from_std(session.started + bound.time);
            if of_session < end {
                (end, timeout) = (of_session, bound);
            }
        }
        let heads = ResponseHeads::default();
        let pending = Box::new(PendingHandshake { heads, timeout, read_timeout: timeouts.read });
        Self {
            upstream,
            session,
            settings,
            observer,
            has_polled_read: false,
            phase: InterceptorPhase::Handshake(pending),
            client_to_upstream: DirectionState::new(Direction::ClientToUpstream, false, now),
            upstream_to_client: DirectionState::new(Direction::UpstreamToClient, false, now),
            upstream_has_ended: false,
            upstream_is_broken: false,
            closing_deadline: None,
            is_lingering: false,
            client_has_ended: false,
            must_drain: false,
            is_drained: false,
            phase_deadline: Some(end),
            ping_key: random_mask(),
            ping_count: 0,
            blocked_since: None,
            write_timeout: timeouts.write,
        }
    }

    /// The upstream has accepted the handshake: frames follow.
    fn open(&mut self, deflate: bool) {
        let now = Instant::now();
        self.phase = InterceptorPhase::Open;
        self.client_to_upstream = DirectionState::new(Direction::ClientToUpstream, deflate, now);
        self.upstream_to_client = DirectionState::new(Direction::UpstreamToClient, deflate, now);
        self.start_observing(deflate);
        self.phase_deadline = self.settings.max_lifetime.map(|lifetime| now + jittered(lifetime));
        self.session.record_open();
    }

    fn state_mut(&mut self, direction: Direction) -> &mut DirectionState {
        match direction {
            Direction::ClientToUpstream => &mut self.client_to_upstream,
            Direction::UpstreamToClient => &mut self.upstream_to_client,
        }
    }
}

impl AsyncRead for FrameInterceptor {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let interceptor = &mut *self;
        if !interceptor.has_polled_read {
            // Pingora 0.9.1 polls, in random order, this read and the queue in which the end of
            // the request's empty body waits. When it sees a 101 before it sees that end, it
            // takes the end for the tunnel's. The first read finds nothing, and the queue comes
            // first.
            interceptor.has_polled_read = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        interceptor.session.register_waker(cx.waker());
        (interceptor.must_drain, interceptor.is_drained) = (false, false);
        loop {
            let is_over = match interceptor.poll_close_request_and_deadlines() {
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => true,
                Poll::Pending => false,
            };
            if let Poll::Ready(Err(_)) = interceptor.poll_flush_injected(cx) {
                interceptor.upstream_is_broken = true;
                interceptor.client_to_upstream.consume(usize::MAX);
            }
            if interceptor.take_pending(buffer) {
                return Poll::Ready(Ok(()));
            }
            if is_over || interceptor.client_has_ended {
                // The end of the stream: Pingora closes the client's side in good order.
                return Poll::Ready(Ok(()));
            }
            if interceptor.upstream_has_ended {
                return Poll::Pending;
            }
            match interceptor.poll_upstream(cx, buffer) {
                Poll::Ready(Ok(true)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(false)) => {}
                Poll::Ready(Err(error)) if !matches!(interceptor.phase, InterceptorPhase::Open) => {
                    return match error.kind() {
                        io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
                        _ => Poll::Ready(Err(error)),
                    };
                }
                Poll::Ready(Err(error)) => {
                    let is_end = error.kind() == io::ErrorKind::UnexpectedEof;
                    interceptor.upstream_ended((!is_end).then_some(&error));
                    if interceptor.closing_deadline.is_none() {
                        // It has sent its close frame.
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Pending if std::mem::take(&mut interceptor.must_drain) => {
                    interceptor.is_drained = true
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl AsyncWrite for FrameInterceptor {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let interceptor = &mut *self;
        if !matches!(interceptor.phase, InterceptorPhase::Open) {
            let written = Pin::new(&mut interceptor.upstream).poll_write(cx, bytes);
            if written.is_pending()
                && let Poll::Ready(Err(error)) = interceptor.poll_close_request_and_deadlines()
            {
                return Poll::Ready(Err(error));
            }
            return written;
        }
        interceptor.start_observing(false);
        let written = loop {
            if let Poll::Ready(written) = interceptor.poll_forward(cx, bytes) {
                break written;
            }
            if !interceptor.give_up_if_stuck() {
                return Poll::Pending;
            }
        };
        interceptor.blocked_since = None;
        interceptor.publish_client();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let interceptor = &mut *self;
        if !matches!(interceptor.phase, InterceptorPhase::Open) {
            return Pin::new(&mut interceptor.upstream).poll_flush(cx);
        }
        loop {
            if interceptor.upstream_is_broken {
                return Poll::Ready(Ok(()));
            }
            match interceptor.poll_flush_injected(cx) {
                Poll::Ready(Err(_)) => {
                    interceptor.upstream_is_broken = true;
                    continue;
                }
                Poll::Ready(Ok(())) => match Pin::new(&mut interceptor.upstream).poll_flush(cx) {
                    Poll::Ready(Ok(())) => {
                        interceptor.blocked_since = None;
                        return Poll::Ready(Ok(()));
                    }
                    Poll::Ready(Err(_)) => {
                        interceptor.upstream_is_broken = true;
                        continue;
                    }
                    Poll::Pending => {}
                },
                Poll::Pending => {}
            }
            if !interceptor.give_up_if_stuck() {
                return Poll::Pending;
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_open = matches!(self.phase, InterceptorPhase::Open);
        if is_open && self.closing_deadline.is_none() && self.client_to_upstream.close.is_none() {
            let (initiator, code) = (Initiator::Client, None);
            self.session.record_end(End { initiator, code, reason: CLIENT_GONE.into() });
        }
        self.handle_client_disconnect();
        if is_open {
            if self.client_to_upstream.close.is_none() {
                // Over HTTP/2 the response ends with the request.
                self.client_has_ended = true;
                self.session.wake();
            }
            self.limit_closing();
            if self.upstream_is_broken {
                return Poll::Ready(Ok(()));
            }
        }
        Pin::new(&mut self.upstream).poll_shutdown(cx)
    }
}

impl Drop for FrameInterceptor {
    fn drop(&mut self) {
        self.handle_client_disconnect();
    }
}

impl VirtualSocket for FrameInterceptor {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        let Some(socket) = self.upstream.tcp() else { return Ok(()) };
        match option {
            VirtualSockOpt::NoDelay => socket.set_nodelay(true),
            VirtualSockOpt::KeepAlive(keepalive) => {
                set_tcp_keepalive(socket, &keepalive).map_err(io::Error::other)
            }
            _ => Ok(()),
        }
    }
}

fn refusal_stopped() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, REFUSAL_STOPPED)
}

/// A masking key that nobody can predict (RFC 6455, section 5.3).
fn random_mask() -> [u8; 4] {
    let [a, b, c, d, ..] = *uuid::Uuid::new_v4().as_bytes();
    [a, b, c, d]
}

/// The duration, give or take a tenth: sessions that started together must not end together.
fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.9 + 0.2 * super::random_fraction())
}
