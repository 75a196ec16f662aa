use super::bare::Bare;
use super::connection::{Connection, Terms};
use super::http2;
use crate::load::Place;
use crate::proxy::{Proxy, begun};
use bytes::BytesMut;
use pingora::apps::{HttpServerApp, ReusedHttpStream};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::l4::stream::Stream as Socket;
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
use tokio::time::{Instant, Sleep, sleep, timeout};

/// The most bytes of a head that are waited for; of a larger one Pingora judges what there is.
const MAX_HEAD: usize = 128 * 1024;

/// The most fields of a head that are looked at to find its end; Pingora takes no more.
const MAX_FIELDS: usize = 256;

/// How seldom a connection is looked at whose request or session takes its time.
const SELDOM: Duration = Duration::from_secs(3600);

/// How a connection by HTTP/2 begins (RFC 9113, section 3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl Terms {
    /// As Pingora counts, to whom 0 is for ever.
    fn idle_seconds(self) -> u64 {
        self.idle.as_secs().max(1)
    }
}

/// Request after request, until the connection can't be used again; or by HTTP/2, where a client
/// begins with it and may. Sessions are made outside of this function, and rare answers in boxes:
/// it would keep room for them, 3 kB, while it waits.
pub(super) async fn serve(connection: Connection) {
    let Connection { mut stream, speaks, proxy, terms, shutdown, place } = connection;
    let Ok(Ok(mut head)) = timeout(terms.idle, some_bytes(&mut stream)).await else { return };
    if head.is_empty() {
        return;
    }
    // By TLS it would have been agreed upon (RFC 9113, section 3.2).
    let may_be_h2 = speaks.h2c && stream.get_ssl_digest().is_none();
    if !is_complete(&head, may_be_h2) {
        match timeout(terms.head, Box::pin(rest_of_head(&mut stream, head, may_be_h2))).await {
            Ok(Ok(whole)) => head = whole,
            Ok(Err(_)) => return,
            // Who is that slow may be gone.
            Err(_) => return Box::pin(Bare::TooSlow.send(stream)).await,
        }
    }
    if may_be_h2 && head.starts_with(H2_PREFACE) {
        // As if nobody had read from it.
        let Ok(mut socket) = stream.into_any().downcast::<Socket>() else { return };
        socket.rewind(&head);
        let connection = Connection { stream: socket, speaks, proxy, terms, shutdown, place };
        tokio::spawn(http2::serve(connection));
        return;
    }
    if !speaks.h1 {
        return Box::pin(Bare::NotHttp2.send(stream)).await;
    }
    begun::count(requests(stream, head, proxy, terms, shutdown, place)).await;
}

/// The first request, whose head is read already, and all that follow it.
async fn requests(
    stream: Stream,
    head: BytesMut,
    proxy: Arc<HttpProxy<Proxy>>,
    terms: Terms,
    shutdown: ShutdownWatch,
    _place: Place,
) {
    let mut serving = proxy.process_new_http(first(stream, head, &shutdown, terms), &shutdown);
    let mut looks = Looks::every(terms.idle + terms.head);
    while let Some(reused) = looks.over(serving).await.flatten() {
        serving = proxy.process_new_http(next(reused, terms), &shutdown);
    }
}

/// Looks now and then whether a head that is waited for comes to its end. Pingora bounds each
/// read of it and not all of them together, and tells nobody when its first byte has come.
struct Looks {
    every: Duration,
    /// Longer, where a request or a session takes its time.
    pause: Duration,
    next: Pin<Box<Sleep>>,
    /// The requests that have been waited for.
    started: u32,
    /// The one that was being waited for at the last look.
    seen: Option<u32>,
}

impl Looks {
    fn every(every: Duration) -> Self {
        Self { every, pause: every, next: Box::pin(sleep(every)), started: 0, seen: None }
    }

    /// `None` when the same one is waited for at two looks in a row.
    async fn over<T>(&mut self, mut serving: impl Future<Output = T> + Unpin) -> Option<T> {
        self.started = self.started.wrapping_add(1);
        if self.pause > self.every {
            self.look_after(self.every);
        }
        loop {
            tokio::select! {
                biased;
                done = &mut serving => return Some(done),
                () = &mut self.next => {}
            }
            let waits = (begun::requests() != self.started).then_some(self.started);
            if waits.is_some() && waits == self.seen {
                return None;
            }
            self.seen = waits;
            let pause = if waits.is_some() { self.every } else { self.pause.saturating_mul(2) };
            self.look_after(pause.min(SELDOM));
        }
    }

    fn look_after(&mut self, pause: Duration) {
        self.pause = pause;
        self.next.as_mut().reset(Instant::now() + pause);
    }
}

/// Reads on until the head is whole. Pingora bounds each read of it and not all of them together.
async fn rest_of_head(
    stream: &mut Stream,
    mut head: BytesMut,
    may_be_h2: bool,
) -> io::Result<BytesMut> {
    while !is_complete(&head, may_be_h2) && head.len() < MAX_HEAD {
        let more = some_bytes(stream).await?;
        if more.is_empty() {
            break;
        }
        head.extend_from_slice(&more);
    }
    Ok(head)
}

fn is_complete(head: &[u8], may_be_h2: bool) -> bool {
    if may_be_h2 && H2_PREFACE.starts_with(head) {
        return head.len() == H2_PREFACE.len();
    }
    (may_be_h2 && head.starts_with(H2_PREFACE)) || is_whole(head)
}

/// Whether nothing is missing of a head, were it only because it is none.
fn is_whole(head: &[u8]) -> bool {
    if head.ends_with(b"\r\n\r\n") {
        return true;
    }
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

fn first(stream: Stream, head: BytesMut, shutdown: &ShutdownWatch, terms: Terms) -> ServerSession {
    let mut session = ServerSession::new_http1(stream);
    session.set_keepalive((!*shutdown.borrow()).then_some(terms.idle_seconds()));
    session.set_keepalive_reuses_remaining(Some(terms.requests.saturating_sub(1)));
    session.set_pipelining_enabled(true);
    session.set_pipelined_prefix(head);
    bound(&mut session, terms);
    session
}

fn next(reused: ReusedHttpStream, terms: Terms) -> ServerSession {
    let (stream, settings) = reused.consume();
    let mut session = ServerSession::new_http1(stream);
    if let Some(settings) = settings {
        settings.apply_to_session(&mut session);
    }
    if session.get_keepalive().is_some() {
        // Pingora takes a client that asks for no time to want any time.
        session.set_keepalive(Some(terms.idle_seconds()));
    }
    bound(&mut session, terms);
    session
}

fn bound(session: &mut ServerSession, terms: Terms) {
    session.set_read_timeout(Some(terms.body));
    session.set_write_timeout(Some(terms.send));
}
