use super::bare::Bare;
use super::client_stream::{ClientStream, Refused, keeping_refusal, take_refused};
use super::connection::{Connection, Terms};
use super::engine::Engine;
use super::http2;
use super::tasks::TaskGuard;
use crate::generation::Live;
use crate::http::raw_head::{self as head, Fault, H2_PREFACE, MAX_HEAD};
use crate::load::Place;
use crate::proxy::begun;
use bytes::BytesMut;
use pingora::apps::{HttpServerApp, ReusedHttpStream};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::server::ShutdownWatch;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, timeout};

/// How seldom a connection is looked at whose request or session takes its time.
const SELDOM: Duration = Duration::from_secs(3600);

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
    let Connection { mut stream, speaks, proxy, terms, shutdown, place, live, task } = connection;
    let Ok(Ok(mut head)) = timeout(terms.idle, some_bytes(&mut stream)).await else { return };
    if head.is_empty() {
        return;
    }
    // By TLS it would have been agreed upon (RFC 9113, section 3.2).
    let may_be_h2 = speaks.h2c && stream.get_ssl_digest().is_none();
    if !head::is_complete(&head, may_be_h2) {
        let rest = timeout(terms.head, Box::pin(rest_of_head(&mut stream, &mut head, may_be_h2)));
        let refusal = match rest.await {
            Ok(Ok(None)) => None,
            Ok(Ok(Some(fault))) => Some(Bare::Malformed(fault)),
            Ok(Err(_)) => return,
            // Who is that slow may be gone.
            Err(_) => Some(Bare::TooSlow),
        };
        if let Some(refusal) = refusal {
            return Box::pin(refusal.send(stream, &head, &live)).await;
        }
    }
    if may_be_h2 && head.starts_with(H2_PREFACE) {
        // As if nobody had read from it.
        let Ok(mut socket) = stream.into_any().downcast::<Socket>() else { return };
        socket.rewind(&head);
        let (tasks, number) = task.key();
        let client = place.client().map(|client| client.address());
        let stream: Stream = socket;
        let connection = Connection { stream, speaks, proxy, terms, shutdown, place, live, task };
        tasks.spawn(number, client, http2::serve(connection));
        return;
    }
    let refusal = match head::prepare(&mut head) {
        _ if !speaks.h1 => Some(Bare::NotHttp2),
        Ok(()) => None,
        Err(fault) => Some(Bare::Malformed(fault)),
    };
    if let Some(refusal) = refusal {
        return Box::pin(refusal.send(stream, &head, &live)).await;
    }
    let client = place.client().cloned();
    let requests = requests(stream, head, proxy, terms, shutdown, (place, task), live);
    begun::of_client(client, begun::count(keeping_refusal(requests))).await;
}

/// The first request, whose head is read already, and all that follow it.
async fn requests(
    stream: Stream,
    head: BytesMut,
    proxy: Arc<Engine>,
    terms: Terms,
    shutdown: ShutdownWatch,
    _kept: (Place, TaskGuard),
    live: Arc<Live>,
) {
    begun::await_one();
    let mut serving = proxy.process_new_http(first(stream, head, &shutdown, terms), &shutdown);
    let mut looks = Looks::every(terms.idle + terms.head);
    while let Some(reused) = looks.over(serving).await.flatten() {
        begun::await_one();
        serving = proxy.process_new_http(next(reused, terms), &shutdown);
    }
    if let Some(refused) = take_refused() {
        let Refused { stream, head, fault } = *refused;
        let refusal = fault.map_or(Bare::TooSlow, Bare::Malformed);
        Box::pin(refusal.send(stream, &head, &live)).await;
    }
}

/// Looks now and then whether a head that is waited for comes to its end. Pingora bounds each
/// read of it and not all of them together, and tells nobody when its first byte has come.
struct Looks {
    every: Duration,
    /// Longer, where a request or a session takes its time.
    pause: Duration,
    next: Pin<Box<Sleep>>,
    /// The one that was being waited for at the last look.
    seen: Option<u32>,
}

/// What comes first.
enum Event<T> {
    Done(T),
    Look,
    /// The session must be cut off.
    SessionOverdue,
}

impl Looks {
    fn every(every: Duration) -> Self {
        Self { every, pause: every, next: Box::pin(sleep(every)), seen: None }
    }

    /// `None` when the same one is waited for at two looks in a row, or when its session has to end
    /// and does not.
    async fn over<T>(&mut self, mut serving: impl Future<Output = T> + Unpin) -> Option<T> {
        if self.pause > self.every {
            self.look_after(self.every);
        }
        loop {
            let event = poll_fn(|cx| {
                begun::watch_session(cx);
                if let Poll::Ready(done) = Pin::new(&mut serving).poll(cx) {
                    return Poll::Ready(Event::Done(done));
                }
                match begun::poll_session(cx, &mut self.next) {
                    Some(overdue) => {
                        // What has it next needs looks of its own.
                        self.pause = SELDOM;
                        overdue.map(|()| Event::SessionOverdue)
                    }
                    None => self.next.as_mut().poll(cx).map(|()| Event::Look),
                }
            });
            match event.await {
                Event::Done(done) => return Some(done),
                Event::SessionOverdue => return None,
                Event::Look => {}
            }
            let waits = begun::awaited();
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

/// Reads on until the head is whole; tells why it can't be. Pingora bounds each read of it and not all of them
/// together.
async fn rest_of_head(
    stream: &mut Stream,
    head: &mut BytesMut,
    may_be_h2: bool,
) -> io::Result<Option<Fault>> {
    loop {
        let more = some_bytes(stream).await?;
        if more.is_empty() {
            return Ok(Some(head::CUT_OFF));
        }
        head.extend_from_slice(&more);
        let is_complete = match may_be_h2 && head.len() <= H2_PREFACE.len() {
            true => head::is_complete(head, may_be_h2),
            false => head::became_whole(head, more.len()) || head.starts_with(H2_PREFACE),
        };
        if is_complete {
            return Ok(None);
        }
        if head.len() > MAX_HEAD {
            return Ok(Some(head::TOO_LARGE));
        }
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

fn first(stream: Stream, head: BytesMut, shutdown: &ShutdownWatch, terms: Terms) -> ServerSession {
    let mut stream = ClientStream::new(stream);
    stream.remember(&head);
    let mut session = ServerSession::new_http1(Box::new(stream));
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
