//! The loop of an HTTP/1.1 connection: reads a head, lets Pingora serve the request, waits for the next. Knows nothing of
//! routes.

use super::accepted::{Connection, ConnectionLimits};
use super::client_stream::{
    ClientStream, Incoming, RefusedRequest, take_refused_request, with_refused_request,
};
use super::engine::Engine;
use super::http2;
use super::pre_http_response::PreHttpResponse;
use super::tasks::TaskGuard;
use crate::load::ConnectionPermit;
use crate::proxy::task_state;
use crate::snapshot::CurrentSnapshot;
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
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tidegate_http::raw_head::H2_PREFACE;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::coop::has_budget_remaining;
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};

/// Request after request, until the connection can't be used again; or over HTTP/2, where a client
/// begins with it and may. Sessions are made outside of this function, and rare answers in boxes:
/// it would keep room for them, 3 kB, while it waits. The connection comes in a box for the same reason: what an
/// `async fn` is given stays in its future.
pub(super) async fn serve(connection: Box<Connection>) {
    let Connection { mut stream, protocols, proxy, limits, shutdown, permit, current, task } =
        // As a separate value the box is freed here and not at the end.
        *{ connection };
    let Ok(Ok(mut first_bytes)) = timeout(limits.idle_timeout, read_some(&mut stream)).await else {
        return;
    };
    if first_bytes.is_empty() {
        return;
    }
    // With TLS it would have been negotiated (RFC 9113, section 3.2).
    if protocols.h2c && stream.get_ssl_digest().is_none() && may_be_preface(&first_bytes) {
        let rest =
            timeout(limits.head_timeout, Box::pin(rest_of_preface(&mut stream, &mut first_bytes)));
        match rest.await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                return Box::pin(PreHttpResponse::TooSlow.send(stream, &first_bytes, &current))
                    .await;
            }
        }
        if first_bytes.starts_with(H2_PREFACE) {
            // The stream then reads these bytes first.
            let Ok(mut socket) = stream.into_any().downcast::<Socket>() else { return };
            socket.rewind(&first_bytes);
            let (tasks, number) = task.key();
            let client = permit.client().map(|client| client.address());
            let stream: Stream = socket;
            let connection =
                Connection { stream, protocols, proxy, limits, shutdown, permit, current, task };
            tasks.spawn(number, client, http2::serve(connection));
            return;
        }
    }
    let client = permit.client().cloned();
    let stream = Box::new(ClientStream::new(stream, first_bytes));
    let requests =
        serve_requests(stream, protocols.h1, proxy, limits, shutdown, (permit, task), current);
    task_state::with_client(client, task_state::with_state(with_refused_request(requests))).await;
}

/// Serves all requests, of which the first has begun.
async fn serve_requests(
    mut stream: Box<ClientStream>,
    speaks_h1: bool,
    proxy: Arc<Engine>,
    limits: ConnectionLimits,
    shutdown: ShutdownWatch,
    (_permit, task): (ConnectionPermit, TaskGuard),
    current: Arc<CurrentSnapshot>,
) {
    let mut left = limits.max_requests;
    let mut timer = HeadTimer::default();
    loop {
        let refused = match next_head(&mut stream, &mut timer, limits, &task).await {
            NextRequest::Head(head) if speaks_h1 => {
                left = left.saturating_sub(1);
                task_state::record_wait();
                let session = new_session(stream, head, left, limits);
                let serving = proxy.process_new_http(session, &shutdown);
                match serve_until_overdue(serving).await.flatten().and_then(client_stream) {
                    Some(next) => stream = next,
                    None => break,
                }
                continue;
            }
            NextRequest::Head(head) => (PreHttpResponse::NotHttp2, head),
            NextRequest::Refused(refusal, head) => (refusal, head),
            NextRequest::End => return,
        };
        let (refusal, head) = refused;
        let Some(stream) = stream.into_inner() else { return };
        return Box::pin(refusal.send(stream, &head, &current)).await;
    }
    if let Some(refused) = take_refused_request() {
        let RefusedRequest { stream, head, fault } = *refused;
        Box::pin(PreHttpResponse::Malformed(fault).send(stream, &head, &current)).await;
    }
}

/// The next event on a connection.
enum NextRequest {
    /// A head for Pingora, with the received part of the body.
    Head(BytesMut),
    /// Bytes that are no valid head, and the fault.
    Refused(PreHttpResponse, BytesMut),
    /// The connection has ended.
    End,
}

/// Waits for the next head, at most for the idle timeout, and once it has begun at most for the header timeout.
async fn next_head(
    stream: &mut ClientStream,
    timer: &mut HeadTimer,
    limits: ConnectionLimits,
    task: &TaskGuard,
) -> NextRequest {
    let mut partial_head = BytesMut::new();
    let mut waits = None;
    let mut is_idle = false;
    let next = poll_fn(|cx| {
        if is_idle && !task.try_leave_idle() {
            return Poll::Ready(NextRequest::End);
        }
        is_idle = false;
        if let Poll::Ready(incoming) = stream.poll_head(cx, &mut partial_head) {
            return Poll::Ready(match incoming {
                Incoming::Request(head) => NextRequest::Head(head),
                Incoming::Fault(fault) => NextRequest::Refused(
                    PreHttpResponse::Malformed(fault),
                    std::mem::take(&mut partial_head),
                ),
                Incoming::End => NextRequest::End,
            });
        }
        let head_started = !partial_head.is_empty();
        let until = match waits {
            Some((for_rest, until)) if for_rest == head_started => until,
            _ => {
                Instant::now()
                    + if head_started { limits.head_timeout } else { limits.idle_timeout }
            }
        };
        waits = Some((head_started, until));
        if timer.poll(cx, until).is_ready() {
            return Poll::Ready(match head_started {
                true => NextRequest::Refused(
                    PreHttpResponse::TooSlow,
                    std::mem::take(&mut partial_head),
                ),
                false => NextRequest::End,
            });
        }
        is_idle = !head_started;
        if is_idle && !task.try_enter_idle() {
            Poll::Ready(NextRequest::End)
        } else {
            Poll::Pending
        }
    })
    .await;
    if let NextRequest::Head(head) = &next
        && !has_budget_remaining()
    {
        // Pingora would let other tasks run before it judges the head, and these may read others.
        yield_now().await;
        stream.keep_head(head);
    }
    next
}

/// A timer that is rarely set: it fires early and continues, instead of being set for each request.
#[derive(Debug, Default)]
struct HeadTimer(Option<Pin<Box<Sleep>>>);

impl HeadTimer {
    /// Completes at this time.
    fn poll(&mut self, cx: &mut Context<'_>, until: Instant) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if sleep.deadline() > until {
            sleep.as_mut().reset(until);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= until {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(until);
        }
    }
}

/// Serves a request to its end; `None` if a stuck session was cut off, or the client was evicted.
async fn serve_until_overdue<T>(mut serving: impl Future<Output = T> + Unpin) -> Option<T> {
    let mut alarm = None;
    poll_fn(|cx| {
        task_state::watch_session(cx);
        if let Poll::Ready(done) = Pin::new(&mut serving).poll(cx) {
            // The next request may be from another client.
            task_state::set_shared(None);
            return Poll::Ready(Some(done));
        }
        if !task_state::has_session() {
            return task_state::poll_eviction(cx).map(|()| None);
        }
        let alarm = alarm.get_or_insert_with(|| Box::pin(sleep(Duration::ZERO)));
        task_state::poll_session(cx, alarm).unwrap_or(Poll::Pending).map(|()| None)
    })
    .await
}

/// Whether a connection that begins with these bytes may speak HTTP/2 (RFC 9113, section 3.4).
fn may_be_preface(first_bytes: &[u8]) -> bool {
    H2_PREFACE.starts_with(first_bytes) || first_bytes.starts_with(H2_PREFACE)
}

/// Reads on until it is known whether a connection speaks HTTP/2.
async fn rest_of_preface(stream: &mut Stream, first_bytes: &mut BytesMut) -> io::Result<()> {
    while first_bytes.len() < H2_PREFACE.len() && may_be_preface(first_bytes) {
        let more = read_some(stream).await?;
        if more.is_empty() {
            return Ok(());
        }
        first_bytes.extend_from_slice(&more);
    }
    Ok(())
}

/// Reads the first bytes; none at the end of the stream.
///
/// The head of a WebSocket handshake is kept as long as the session. Pingora would read it into 4 KiB, and reserve
/// 14 kB for clients that connect and send nothing.
async fn read_some(stream: &mut Stream) -> io::Result<BytesMut> {
    poll_fn(|cx| {
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(BytesMut::from(buffer.filled())))
    })
    .await
}

/// A session for one request. The stream ends where the request ends, so Pingora cannot read another one.
fn new_session(
    stream: Box<ClientStream>,
    head: BytesMut,
    left: u32,
    limits: ConnectionLimits,
) -> ServerSession {
    let mut session = ServerSession::new_http1(stream);
    session.set_keepalive_reuses_remaining(Some(left));
    session.set_pipelined_prefix(head);
    session.set_read_timeout(Some(limits.body_timeout));
    session.set_write_timeout(Some(limits.send_timeout));
    session
}

/// The stream that Pingora gives back after a request.
fn client_stream(reused: ReusedHttpStream) -> Option<Box<ClientStream>> {
    reused.consume().0.into_any().downcast().ok()
}
