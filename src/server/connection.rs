use crate::proxy::Proxy;
use async_trait::async_trait;
use bytes::BytesMut;
use pingora::apps::{HttpServerApp, ReusedHttpStream, ServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::timeout;

/// How long a connection may lie idle before a request.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Serves each connection in a task of its own.
///
/// Pingora's own task has room for a TLS handshake, and its own walk through a connection has
/// room for HTTP/2: 13 kB that would be held as long as the connection lives, hours for a
/// WebSocket.
pub(super) struct Connections(Arc<HttpProxy<Proxy>>);

impl Connections {
    pub(super) fn new(proxy: HttpProxy<Proxy>) -> Self {
        Self(Arc::new(proxy))
    }
}

#[async_trait]
impl ServerApp for Connections {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let (proxy, shutdown) = (Arc::clone(&self.0), shutdown.clone());
        if proxy.server_options.as_ref().is_some_and(|options| options.h2c) {
            return proxy.process_new(stream, &shutdown).await;
        }
        tokio::spawn(http1(proxy, stream, shutdown));
        None
    }

    async fn cleanup(&self) {
        self.0.cleanup().await;
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
