use super::{Initiator, Session};
use pingora::protocols::l4::ext::set_tcp_keepalive;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// The upstream's socket of a tunnel, watched: it bounds the wait for the handshake's answer,
/// and ends the tunnel when both directions have been silent for too long.
///
/// Read timeouts can't do the latter, for each sees one direction: a client that only listens
/// would be cut off in the midst of what it listens to.
#[derive(Debug)]
pub(super) struct Tap {
    socket: TcpStream,
    session: Arc<Session>,
    /// Whether reading has been tried once; see `poll_read`.
    is_warm: bool,
    answered: bool,
    idle_timeout: Option<Duration>,
    last_activity: Instant,
    /// When to look at the clock again; none when nothing is bounded.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Tap {
    pub(super) fn new(
        socket: TcpStream,
        session: Arc<Session>,
        handshake_timeout: Duration,
        idle_timeout: Option<Duration>,
    ) -> Self {
        Self {
            socket,
            session,
            is_warm: false,
            answered: false,
            idle_timeout,
            last_activity: Instant::now(),
            alarm: Some(Box::pin(tokio::time::sleep(handshake_timeout))),
        }
    }

    fn note_activity(&mut self) {
        if self.idle_timeout.is_some() {
            self.last_activity = Instant::now();
        }
    }

    /// The upstream has begun to answer: from here on silence is measured, not slowness.
    fn note_answer(&mut self) {
        if !self.answered {
            self.answered = true;
            self.alarm = self.idle_timeout.map(|timeout| Box::pin(tokio::time::sleep(timeout)));
        }
    }

    /// Ready when the tunnel has to end; wakes the task when it's time to ask again.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<Initiator> {
        loop {
            let Some(alarm) = &mut self.alarm else { return Poll::Pending };
            ready!(alarm.as_mut().poll(cx));
            if !self.answered {
                return Poll::Ready(Initiator::Handshake);
            }
            let Some(timeout) = self.idle_timeout else { return Poll::Pending };
            let deadline = self.last_activity + timeout;
            if deadline <= Instant::now() {
                return Poll::Ready(Initiator::Idle);
            }
            alarm.as_mut().reset(deadline);
        }
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_warm {
            // Pingora 0.9.1 polls, in random order, this read and the queue in which the end of
            // the request's empty body waits. When it sees a 101 before it sees that end, it
            // takes the end for the tunnel's. The first read finds nothing, and the queue comes
            // first.
            self.is_warm = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let filled = buffer.filled().len();
        match Pin::new(&mut self.socket).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) => {
                if buffer.filled().len() > filled {
                    self.note_answer();
                    self.note_activity();
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let initiator = ready!(self.poll_overdue(cx));
                self.alarm = None;
                self.session.end(initiator);
                match initiator {
                    Initiator::Handshake => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                    // The end of the stream: Pingora closes the client's side in good order.
                    _ => Poll::Ready(Ok(())),
                }
            }
        }
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.socket).poll_write(cx, bytes));
        self.note_activity();
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.socket).poll_write_vectored(cx, slices));
        self.note_activity();
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl VirtualSocket for Tap {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.socket.set_nodelay(true),
            VirtualSockOpt::KeepAlive(keepalive) => {
                set_tcp_keepalive(&self.socket, &keepalive).map_err(io::Error::other)
            }
            _ => Ok(()),
        }
    }
}
