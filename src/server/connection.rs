use super::proxy_protocol;
use crate::generation::{Listener, Live};
use crate::proxy::Proxy;
use crate::tls;
use async_trait::async_trait;
use bytes::BytesMut;
use pingora::apps::{HttpServerApp, ReusedHttpStream, ServerApp};
use pingora::protocols::http::ServerSession;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::{ALPN, Peek, Shutdown, Stream};
use pingora::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

/// How long a connection may lie idle before a request.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// How long a connection may take until it speaks HTTP.
const PREPARE: Duration = Duration::from_secs(10);

/// The first byte of a TLS handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// What nginx, too, says to who speaks HTTP to a port of HTTPS.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n\
    content-length: 80\r\nconnection: close\r\n\r\n\
    {\"error\":\"tls_required\",\"message\":\"this port speaks HTTPS: write https:// here\"}";

/// Serves each connection in a task of its own.
///
/// Pingora's own task has room for a TLS handshake, and its own walk through a connection has
/// room for HTTP/2: 13 kB that would be held as long as the connection lives, hours for a
/// WebSocket.
pub(super) struct Connections {
    proxy: Arc<HttpProxy<Proxy>>,
    live: Arc<Live>,
    address: SocketAddr,
}

impl Connections {
    pub(super) fn new(proxy: Arc<HttpProxy<Proxy>>, live: Arc<Live>, address: SocketAddr) -> Self {
        Self { proxy, live, address }
    }
}

#[async_trait]
impl ServerApp for Connections {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let (proxy, shutdown) = (Arc::clone(&self.proxy), shutdown.clone());
        match self.live.load().listener(self.address) {
            Some(listener) if listener.tls.is_some() || !listener.proxy_protocol.is_empty() => {
                tokio::spawn(prepare(Arc::clone(listener), proxy, stream, shutdown));
            }
            _ => serve(proxy, stream, shutdown),
        }
        None
    }
}

/// What stands before HTTP: the PROXY header, and the TLS handshake.
async fn prepare(
    listener: Arc<Listener>,
    proxy: Arc<HttpProxy<Proxy>>,
    stream: Stream,
    shutdown: ShutdownWatch,
) {
    let peer = stream.get_socket_digest().and_then(|digest| digest.peer_addr().cloned());
    let peer = peer.and_then(|address| address.as_inet().copied());
    let Ok(socket) = stream.into_any().downcast::<Socket>() else { return };
    match timeout(PREPARE, secure(&listener, *socket, peer)).await {
        Ok(Ok(Some(stream))) => serve(proxy, stream, shutdown),
        Ok(Ok(None)) => {}
        Ok(Err(error)) => log::debug!("{}: from {peer:?}: {error}", listener.address),
        Err(_) => log::debug!("{}: from {peer:?}: no handshake in {PREPARE:?}", listener.address),
    }
}

async fn secure(
    listener: &Listener,
    mut socket: Socket,
    peer: Option<SocketAddr>,
) -> io::Result<Option<Stream>> {
    if peer.is_some_and(|peer| listener.expects_proxy_header(peer.ip())) {
        proxy_protocol::take_header(&mut socket).await?;
    }
    let Some(tls) = &listener.tls else { return Ok(Some(Box::new(socket))) };
    let mut first = [0];
    socket.try_peek(&mut first).await?;
    if first != [TLS_HANDSHAKE] {
        socket.write_all(NOT_TLS).await?;
        Shutdown::shutdown(&mut socket).await;
        return Ok(None);
    }
    tls::accept(socket, Arc::clone(&tls.config)).await.map(Some)
}

/// Serves a connection in a task of its own.
fn serve(proxy: Arc<HttpProxy<Proxy>>, stream: Stream, shutdown: ShutdownWatch) {
    let may_be_h2 = match stream.get_ssl_digest() {
        Some(_) => stream.selected_alpn_proto() == Some(ALPN::H2),
        None => proxy.server_options.as_ref().is_some_and(|options| options.h2c),
    };
    if may_be_h2 {
        tokio::spawn(async move {
            proxy.process_new(stream, &shutdown).await;
        });
    } else {
        tokio::spawn(http1(proxy, stream, shutdown));
    }
}

/// Request after request, until the connection can't be used again. Sessions are made outside of
/// this function: it would keep room for them, 2 kB, while it waits.
async fn http1(proxy: Arc<HttpProxy<Proxy>>, mut stream: Stream, shutdown: ShutdownWatch) {
    let Ok(Ok(head)) = timeout(KEEPALIVE, some_bytes(&mut stream)).await else { return };
    if head.is_empty() {
        return;
    }
    let mut serving = proxy.process_new_http(first(stream, head, &shutdown), &shutdown);
    while let Some(reused) = serving.await {
        serving = proxy.process_new_http(next(reused), &shutdown);
    }
}

/// The first bytes that come; none at the end of the stream.
///
/// The head of a WebSocket's handshake is kept as long as the session lives. Pingora would read
/// it into 4 KiB, and have 14 kB ready for whoever connects and says nothing.
async fn some_bytes(stream: &mut Stream) -> io::Result<BytesMut> {
    poll_fn(|cx| {
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(BytesMut::from(buffer.filled())))
    })
    .await
}

fn first(stream: Stream, head: BytesMut, shutdown: &ShutdownWatch) -> ServerSession {
    let mut session = ServerSession::new_http1(stream);
    session.set_keepalive((!*shutdown.borrow()).then_some(KEEPALIVE.as_secs()));
    session.set_pipelining_enabled(true);
    session.set_pipelined_prefix(head);
    session
}

fn next(reused: ReusedHttpStream) -> ServerSession {
    let (stream, settings) = reused.consume();
    let mut session = ServerSession::new_http1(stream);
    if let Some(settings) = settings {
        settings.apply_to_session(&mut session);
    }
    session
}
