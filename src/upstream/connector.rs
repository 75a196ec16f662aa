//! Connections to HTTP/1.1 upstreams for Pingora, with two differences to its own: reads are limited to
//! [`MAX_READ_BYTES`], and idle connections can be closed. Knows nothing of endpoints.

use super::descriptors::{IdleWatch, connect_with_room};
use async_trait::async_trait;
use pingora::Result;
use pingora::connectors::http::custom::{Connection, Connector};
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{CustomALPN, SslDigest};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use pingora::upstreams::peer::Peer;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};

/// Maximum size of one read, in bytes. Pingora reads up to 64 KiB, nine times before it waits for a client that
/// takes nothing; with this limit that is 72 KiB of a response instead of 576 KiB.
pub(crate) const MAX_READ_BYTES: u64 = 8 * 1024;

/// By which Pingora asks for connections here: it looks in its pool for idle ones first.
pub(crate) static HTTP1: LazyLock<ALPN> =
    LazyLock::new(|| ALPN::Custom(CustomALPN::new(b"tidegate/http1".to_vec())));

/// Opens connections to HTTP/1.1 upstreams.
pub(crate) struct Http1Connector(TransportConnector);

impl Http1Connector {
    /// A connector with these options.
    pub(crate) fn new(options: ConnectorOptions) -> Self {
        Self(TransportConnector::new(Some(options)))
    }
}

#[async_trait]
impl Connector for Http1Connector {
    type Session = ();

    async fn get_http_session<P: Peer + Send + Sync + 'static>(
        &self,
        peer: &P,
    ) -> Result<(Connection<()>, bool)> {
        let mut peer = peer.clone();
        let mut is_own = false;
        if let Some(options) = peer.get_mut_peer_options() {
            options.alpn = ALPN::H1;
            // It looks for room by itself.
            is_own = options.custom_l4.is_some();
        }
        let connect = || self.0.new_stream(&peer);
        let stream = match is_own {
            true => connect().await?,
            false => connect_with_room(connect, |stream: &Stream| stream.id()).await?,
        };
        Ok((Connection::Stream(Box::new(Http1Stream::new(stream))), false))
    }

    async fn reused_http_session<P: Peer + Send + Sync + 'static>(&self, _: &P) -> Option<()> {
        None
    }

    async fn release_http_session<P: Peer + Send + Sync + 'static>(
        &self,
        (): (),
        _: &P,
        _: Option<Duration>,
    ) {
    }
}

/// One connection to an upstream.
#[derive(Debug)]
struct Http1Stream {
    stream: Take<Stream>,
    /// From the first time on that it is idle: a tunnel never is.
    idle: Option<IdleWatch>,
}

impl Http1Stream {
    fn new(stream: Stream) -> Self {
        Self { stream: stream.take(MAX_READ_BYTES), idle: None }
    }

    /// The connection is in use.
    fn work(&self) {
        if let Some(idle) = &self.idle {
            idle.mark_busy();
        }
    }

    fn inner(&mut self) -> Pin<&mut Stream> {
        Pin::new(self.stream.get_mut())
    }
}

impl AsyncRead for Http1Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // Pingora asks an idle connection for one byte, to see whether it is still there.
        if buffer.remaining() == 1 {
            let idle = this.idle.get_or_insert_with(IdleWatch::new);
            if !idle.try_idle(this.stream.get_ref().id(), cx.waker()) {
                return Poll::Ready(Ok(()));
            }
            return this.inner().poll_read(cx, buffer);
        }
        this.stream.set_limit(MAX_READ_BYTES);
        Pin::new(&mut this.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Http1Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.inner().poll_write(cx, bytes))?;
        self.work();
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.inner().poll_write_vectored(cx, bytes))?;
        self.work();
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.get_ref().is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for Http1Stream {
    async fn shutdown(&mut self) {
        Shutdown::shutdown(&mut **self.stream.get_mut()).await;
    }
}

impl UniqueID for Http1Stream {
    fn id(&self) -> UniqueIDType {
        self.stream.get_ref().id()
    }
}

impl Ssl for Http1Stream {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ref().get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.get_ref().selected_alpn_proto()
    }
}

impl GetTimingDigest for Http1Stream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_ref().get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.stream.get_ref().get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.stream.get_ref().get_write_pending_time()
    }
}

impl GetProxyDigest for Http1Stream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_ref().get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.stream.get_mut().set_proxy_digest(digest);
    }
}

impl GetSocketDigest for Http1Stream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_ref().get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.stream.get_mut().set_socket_digest(digest);
    }
}

impl Peek for Http1Stream {}
