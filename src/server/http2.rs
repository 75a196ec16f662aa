//! The loop of an HTTP/2 connection: accepts streams, each served by a task of its own. Knows nothing of routes.

mod responder;
mod session;

use super::accepted::{Connection, ConnectionLimits};
use crate::proxy::task_state;
use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Request, header};
use pingora::apps::HttpServerApp;
use pingora::protocols::Digest;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options, handshake};
use responder::{Responder, SharedResponder};
use session::Http2Session;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Sleep, sleep, timeout};

/// How long a client may take to leave after GOAWAY when nothing is under way.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Heads over `2 × limits.header_size` plus this get a bare 431 from the `h2` crate; smaller ones reach the gateway,
/// which explains the refusal.
const HEAD_SIZE_MARGIN_BYTES: u32 = 16 * 1024;

/// Maximum time that Pingora may take to notice that a stream has to end: its client has reset it, or is evicted.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum number of bytes of a response that a stream buffers for the connection; the default of the `h2` crate is
/// 400 KiB.
const MAX_SEND_BUFFER_BYTES: usize = 32 * 1024;

/// The streams that are under way.
#[derive(Debug, Default)]
struct OpenStreams {
    count: AtomicUsize,
    none: Notify,
}

/// Counts a stream among the [`OpenStreams`] until it is dropped.
struct OpenStreamGuard(Arc<OpenStreams>);

impl Drop for OpenStreamGuard {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_one();
        }
    }
}

impl OpenStreams {
    fn open_stream(self: &Arc<Self>) -> OpenStreamGuard {
        self.count.fetch_add(1, Ordering::Relaxed);
        OpenStreamGuard(Arc::clone(self))
    }

    /// When there has been none for so long.
    async fn idle(&self, time: Duration) {
        while self.count.load(Ordering::Acquire) > 0 {
            self.none.notified().await;
        }
        sleep(time).await;
    }
}

/// Serves the streams of a connection over HTTP/2 (RFC 9113). Pingora's own loop knows no bounds of
/// the configuration, no last request, and leaves without GOAWAY.
pub(super) async fn serve(connection: Connection) {
    let Connection { stream, proxy, limits, mut shutdown, permit, task, .. } = connection;
    let digest = Arc::new(Digest {
        ssl_digest: stream.get_ssl_digest(),
        timing_digest: stream.get_timing_digest(),
        proxy_digest: stream.get_proxy_digest(),
        socket_digest: stream.get_socket_digest(),
    });
    let handshaken =
        timeout(limits.handshake_timeout, handshake(stream, Some(options(limits)))).await;
    let Ok(Ok(mut connection)) = handshaken else { return };
    let _kept = task;
    let streams = Arc::new(OpenStreams::default());
    let mut left = limits.max_requests;
    let mut leaves = *shutdown.borrow();
    if leaves {
        connection.graceful_shutdown();
    }
    loop {
        let idle = if leaves { LEAVE_TIMEOUT } else { limits.idle_timeout };
        let accepted = tokio::select! {
            biased;
            _ = shutdown.changed(), if !leaves => {
                leaves = true;
                connection.graceful_shutdown();
                continue;
            }
            accepted = connection.accept() => accepted,
            () = streams.idle(idle) => {
                if leaves {
                    return;
                }
                leaves = true;
                connection.graceful_shutdown();
                continue;
            }
        };
        match accepted {
            Some(Ok((request, respond))) => {
                let stream = streams.open_stream();
                let (proxy, shutdown) = (Arc::clone(&proxy), shutdown.clone());
                let (session, responder) =
                    new_session(request, respond, Arc::clone(&digest), limits);
                let client = permit.client().cloned();
                tokio::spawn(task_state::with_client(client, async move {
                    let serving = proxy.process_new_http(session, &shutdown);
                    task_state::with_state(serve_to_end(serving, responder)).await;
                    drop(stream);
                }));
                left = left.saturating_sub(1);
                if left == 0 && !leaves {
                    leaves = true;
                    connection.graceful_shutdown();
                }
            }
            None => return,
            // Clients seldom take their leave; and what is an attack, the `h2` crate has answered.
            Some(Err(error)) => {
                log::debug!("HTTP/2 connection ended with an error: {error}");
                return;
            }
        }
    }
}

/// A request as Pingora's proxy takes it, and what shows whether the client has reset the stream of one with a
/// body.
fn new_session(
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    digest: Arc<Digest>,
    limits: ConnectionLimits,
) -> (ServerSession, Option<Arc<Mutex<Responder>>>) {
    let (head, body) = request.into_parts();
    let expects = !body.is_end_stream() && head.headers.contains_key(header::EXPECT);
    let responder = Responder::new(respond, expects);
    let (responder, shared) = if body.is_end_stream() {
        (SharedResponder::Own(responder), None)
    } else {
        let shared = Arc::new(Mutex::new(responder));
        (SharedResponder::Shared(Arc::clone(&shared)), Some(shared))
    };
    let session = Http2Session::new(head.into(), body, responder, digest, limits.send_timeout);
    (ServerSession::new_custom(Box::new(session)), shared)
}

/// Serves a stream to its end, or until its session has to end and does not, or its client has reset it or is evicted.
async fn serve_to_end<T>(
    mut serving: impl Future<Output = T> + Unpin,
    responder: Option<Arc<Mutex<Responder>>>,
) {
    let (mut alarm, mut since_reset, mut since_eviction) = (None, None, None);
    poll_fn(|cx| {
        task_state::watch_session(cx);
        if Pin::new(&mut serving).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if let Some(responder) = &responder
            && poll_unnoticed_reset(responder, &mut since_reset, cx).is_ready()
        {
            task_state::record_reset();
            return Poll::Ready(());
        }
        if !task_state::has_session() {
            ready!(task_state::poll_eviction(cx));
            return since_eviction.get_or_insert_with(notice_timeout).as_mut().poll(cx);
        }
        let alarm = alarm.get_or_insert_with(|| Box::pin(sleep(Duration::ZERO)));
        task_state::poll_session(cx, alarm).unwrap_or(Poll::Pending)
    })
    .await;
}

/// Ready when the client has reset the stream and Pingora has not noticed: it looks at nothing else while an
/// upstream does not take the body. What the client has sent of it would stay, and take the window of the
/// connection's other streams.
fn poll_unnoticed_reset(
    responder: &Mutex<Responder>,
    since: &mut Option<Pin<Box<Sleep>>>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    if since.is_none() {
        ready!(responder::poll_reset(responder, cx));
    }
    since.get_or_insert_with(notice_timeout).as_mut().poll(cx)
}

fn notice_timeout() -> Pin<Box<Sleep>> {
    Box::pin(sleep(NOTICE_TIMEOUT))
}

/// What a client may make the `h2` crate hold or do without end. CONTINUATION frames it bounds
/// itself, by the size of a header list.
fn options(limits: ConnectionLimits) -> H2Options {
    let mut options = default_h2_options();
    options
        .max_concurrent_streams(limits.concurrent_streams)
        .max_header_list_size(
            limits.max_header_size.saturating_mul(2).saturating_add(HEAD_SIZE_MARGIN_BYTES),
        )
        .max_pending_accept_reset_streams(limits.pending_resets)
        .max_local_error_reset_streams(Some(limits.error_resets))
        .max_send_buffer_size(MAX_SEND_BUFFER_BYTES)
        // WebSockets over HTTP/2 (RFC 8441).
        .enable_connect_protocol();
    options
}
