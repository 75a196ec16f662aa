//! A client connection after its TLS handshake, as Pingora's stream. It knows nothing of HTTP.

use super::TlsInfo;
use super::resolver::ACME_ALPN;
use async_trait::async_trait;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use rustls::ServerConfig;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A connection after its handshake.
///
/// Pingora's own stream exposes neither the client's certificate nor a place in the digest for data of the gateway.
#[derive(Debug)]
struct AcceptedTlsStream {
    tls: TlsStream<Socket>,
    ssl: Arc<SslDigest>,
    info: Arc<ProxyDigest>,
}

/// Does the handshake as the server. `None` for an ACME challenge, which ends with the handshake.
pub(crate) async fn accept(
    socket: Socket,
    config: Arc<ServerConfig>,
) -> io::Result<Option<pingora::protocols::Stream>> {
    let mut tls = TlsAcceptor::from(config).accept(socket).await?;
    if tls.get_ref().1.alpn_protocol() == Some(ACME_ALPN) {
        // A challenge of ACME, answered (RFC 8737, section 3).
        let _ = tls.shutdown().await;
        return Ok(None);
    }
    let info = TlsInfo::from_connection(tls.get_ref().1);
    let ssl = SslDigest::new(info.cipher, info.version, None, None, Vec::new());
    let response = pingora::http::ResponseHeader::build(200, Some(0));
    let response = response.map_err(|error| io::Error::other(error.to_string()))?;
    // The only part of a digest in which Pingora carries data of others from a connection to its requests.
    let info = ProxyDigest::new(Box::new(response), Some(Box::new(Arc::new(info))));
    Ok(Some(Box::new(AcceptedTlsStream { tls, ssl: Arc::new(ssl), info: Arc::new(info) })))
}

impl TlsInfo {
    /// What the handshake of a request's connection has settled.
    pub(crate) fn for_session(session: &pingora_proxy::Session) -> Option<Arc<Self>> {
        let digest = session.digest()?.proxy_digest.as_ref()?;
        digest.user_data.as_ref()?.downcast_ref::<Arc<Self>>().cloned()
    }
}

impl AsyncRead for AcceptedTlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_read(cx, buffer)
    }
}

impl AsyncWrite for AcceptedTlsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for AcceptedTlsStream {
    async fn shutdown(&mut self) {
        // The client may be gone already.
        let _ = self.tls.shutdown().await;
    }
}

impl UniqueID for AcceptedTlsStream {
    fn id(&self) -> UniqueIDType {
        self.tls.get_ref().0.id()
    }
}

impl Ssl for AcceptedTlsStream {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        Some(Arc::clone(&self.ssl))
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        match self.tls.get_ref().1.alpn_protocol() {
            Some(b"h2") => Some(ALPN::H2),
            Some(_) => Some(ALPN::H1),
            None => None,
        }
    }
}

impl GetTimingDigest for AcceptedTlsStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.tls.get_ref().0.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.tls.get_ref().0.get_read_pending_time()
    }
}

impl GetProxyDigest for AcceptedTlsStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(Arc::clone(&self.info))
    }
}

impl GetSocketDigest for AcceptedTlsStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.tls.get_ref().0.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.tls.get_mut().0.set_socket_digest(digest);
    }
}

impl Peek for AcceptedTlsStream {}
