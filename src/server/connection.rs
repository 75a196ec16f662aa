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

/// The most bytes of a head that are waited for; of a larger one Pingora judges what there is.
const MAX_HEAD: usize = 128 * 1024;

/// The most fields of a head that are looked at to find its end; Pingora takes no more.
const MAX_FIELDS: usize = 256;

/// What a client gets whose head does not come to its end in time.
const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\n\
    content-length: 74\r\nconnection: close\r\n\r\n\
    {\"error\":\"request_timeout\",\"message\":\"the request did not arrive in time\"}";

/// How long a client may take.
#[derive(Clone, Copy)]
struct Patience {
    /// Until it sends a request.
    idle: Duration,
    /// From then on until the first one's head is whole.
    head: Duration,
}

/// How long a connection may take until it speaks HTTP.
const PREPARE: Duration = Duration::from_secs(10);

/// The first byte of a TLS handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// What nginx, too, says to who speaks HTTP to a port of HTTPS.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n\
    content-length: 80\r\nconnection: close\r\n\r\n\
    {\"error\":\"tls_required\",\"message\":\"this port speaks HTTPS: write https:// here\"}";

impl Patience {
    /// As Pingora counts, to whom 0 is for ever.
    fn idle_seconds(self) -> u64 {
        self.idle.as_secs().max(1)
    }
}

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
        let generation = self.live.load();
        let edge = &generation.edge;
        let patience = Patience { idle: edge.idle_timeout, head: edge.header_timeout };
        match generation.listener(self.address) {
            Some(listener) if listener.tls.is_some() || !listener.proxy_protocol.is_empty() => {
                tokio::spawn(prepare(Arc::clone(listener), proxy, stream, shutdown, patience));
            }
            _ => serve(proxy, stream, shutdown, patience),
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
    patience: Patience,
) {
    let peer = stream.get_socket_digest().and_then(|digest| digest.peer_addr().cloned());
    let peer = peer.and_then(|address| address.as_inet().copied());
    let Ok(socket) = stream.into_any().downcast::<Socket>() else { return };
    match timeout(PREPARE, secure(&listener, *socket, peer)).await {
        Ok(Ok(Some(stream))) => serve(proxy, stream, shutdown, patience),
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
fn serve(
    proxy: Arc<HttpProxy<Proxy>>,
    stream: Stream,
    shutdown: ShutdownWatch,
    patience: Patience,
) {
    let may_be_h2 = match stream.get_ssl_digest() {
        Some(_) => stream.selected_alpn_proto() == Some(ALPN::H2),
        None => proxy.server_options.as_ref().is_some_and(|options| options.h2c),
    };
    if may_be_h2 {
        tokio::spawn(async move {
            proxy.process_new(stream, &shutdown).await;
        });
    } else {
        tokio::spawn(http1(proxy, stream, shutdown, patience));
    }
}

/// Request after request, until the connection can't be used again. Sessions are made outside of
/// this function: it would keep room for them, 2 kB, while it waits.
async fn http1(
    proxy: Arc<HttpProxy<Proxy>>,
    mut stream: Stream,
    shutdown: ShutdownWatch,
    patience: Patience,
) {
    let Ok(Ok(mut head)) = timeout(patience.idle, some_bytes(&mut stream)).await else { return };
    if head.is_empty() {
        return;
    }
    if !is_whole(&head) {
        match timeout(patience.head, Box::pin(rest_of_head(&mut stream, head))).await {
            Ok(Ok(whole)) => head = whole,
            Ok(Err(_)) => return,
            Err(_) => {
                // Who is that slow may be gone.
                let _ = timeout(patience.head, stream.write_all(TOO_SLOW)).await;
                Shutdown::shutdown(&mut *stream).await;
                return;
            }
        }
    }
    let mut serving = proxy.process_new_http(first(stream, head, &shutdown, patience), &shutdown);
    while let Some(reused) = serving.await {
        serving = proxy.process_new_http(next(reused, patience), &shutdown);
    }
}

/// Reads on until the head is whole. Pingora bounds each read of it and not all of them together.
async fn rest_of_head(stream: &mut Stream, mut head: BytesMut) -> io::Result<BytesMut> {
    while !is_whole(&head) && head.len() < MAX_HEAD {
        let more = some_bytes(stream).await?;
        if more.is_empty() {
            break;
        }
        head.extend_from_slice(&more);
    }
    Ok(head)
}

/// Whether nothing is missing of a head, were it only because it is none.
fn is_whole(head: &[u8]) -> bool {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let parsed = httparse::Request::new(&mut fields).parse(head);
    !matches!(parsed, Ok(httparse::Status::Partial))
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

fn first(
    stream: Stream,
    head: BytesMut,
    shutdown: &ShutdownWatch,
    patience: Patience,
) -> ServerSession {
    let mut session = ServerSession::new_http1(stream);
    session.set_keepalive((!*shutdown.borrow()).then_some(patience.idle_seconds()));
    session.set_pipelining_enabled(true);
    session.set_pipelined_prefix(head);
    session
}

fn next(reused: ReusedHttpStream, patience: Patience) -> ServerSession {
    let (stream, settings) = reused.consume();
    let mut session = ServerSession::new_http1(stream);
    if let Some(settings) = settings {
        settings.apply_to_session(&mut session);
    }
    if session.get_keepalive().is_some() {
        // Pingora takes a client that asks for no time to want any time.
        session.set_keepalive(Some(patience.idle_seconds()));
    }
    session
}
