//! The connection to the upstream below a tunnel, with or without TLS. Knows nothing of frames.

use crate::upstream::RawSocket;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// The connection to the upstream of one tunnel.
#[derive(Debug)]
pub(super) enum UpstreamStream {
    /// Without TLS.
    Plain(RawSocket),
    /// With TLS.
    Secured(Box<TlsStream<RawSocket>>),
}

impl UpstreamStream {
    fn raw_socket(&self) -> &RawSocket {
        match self {
            Self::Plain(socket) => socket,
            Self::Secured(stream) => stream.get_ref().0,
        }
    }

    /// The TCP socket, unless it is a Unix socket.
    pub(super) fn tcp(&self) -> Option<&TcpStream> {
        match self.raw_socket() {
            RawSocket::Left(socket) => Some(socket),
            RawSocket::Right(_) => None,
        }
    }

    /// Writes as much as is possible without waiting.
    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stream = match self {
            Self::Plain(RawSocket::Left(socket)) => return socket.try_write(bytes),
            Self::Plain(RawSocket::Right(socket)) => return socket.try_write(bytes),
            Self::Secured(stream) => stream,
        };
        let cx = &mut Context::from_waker(Waker::noop());
        let written = match Pin::new(&mut *stream).poll_write(cx, bytes) {
            Poll::Ready(written) => written,
            Poll::Pending => return Err(io::ErrorKind::WouldBlock.into()),
        };
        let _ = Pin::new(stream).poll_flush(cx);
        written
    }
}

impl AsyncRead for UpstreamStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Secured(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for UpstreamStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Secured(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Secured(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Secured(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
