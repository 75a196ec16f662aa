use super::bare::Bare;
use super::connection::{Connection, Terms};
use crate::http::raw_head::Fault;
use crate::http::request_id;
use crate::proxy::begun;
use http::Version;
use pingora::apps::HttpServerApp;
use pingora::protocols::Digest;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{
    H2Accept, H2Options, HttpSession, default_h2_options, handshake,
};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// How long a client may take to leave after GOAWAY when nothing is under way.
const FAREWELL: Duration = Duration::from_secs(5);

/// How many malformed requests a connection may send; Pingora's own loop takes no more either.
const MAX_MALFORMED: u32 = 32;

/// So many bytes over twice `limits.header_size` is a head refused by the `h2` crate, with a bare 431; one that is
/// less too large comes in, and is refused in words.
const HEAD_ROOM: u32 = 16 * 1024;

/// What is logged of a request that Pingora refuses by itself.
const REJECTED: Fault =
    Fault::bad("the request's :path, :authority, Host or Content-Length is malformed");

/// The most bytes of a response that a stream holds for the connection; without it, 400 KiB.
const SEND_BUFFER: usize = 32 * 1024;

/// The streams that are under way.
#[derive(Debug, Default)]
struct Streams {
    count: AtomicUsize,
    none: Notify,
}

/// One of them.
struct Stream(Arc<Streams>);

impl Drop for Stream {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_one();
        }
    }
}

impl Streams {
    fn enter(self: &Arc<Self>) -> Stream {
        self.count.fetch_add(1, Ordering::Relaxed);
        Stream(Arc::clone(self))
    }

    /// When there has been none for so long.
    async fn idle(&self, time: Duration) {
        while self.count.load(Ordering::Acquire) > 0 {
            self.none.notified().await;
        }
        sleep(time).await;
    }
}

/// Serves the streams of a connection by HTTP/2 (RFC 9113). Pingora's own loop knows no bounds of
/// the configuration, no last request, and leaves without GOAWAY.
pub(super) async fn serve(connection: Connection) {
    let Connection { stream, proxy, terms, mut shutdown, place, live, task, .. } = connection;
    let digest = Arc::new(Digest {
        ssl_digest: stream.get_ssl_digest(),
        timing_digest: stream.get_timing_digest(),
        proxy_digest: stream.get_proxy_digest(),
        socket_digest: stream.get_socket_digest(),
    });
    let begun = timeout(terms.handshake, handshake(stream, Some(options(terms)))).await;
    let Ok(Ok(mut connection)) = begun else { return };
    let _kept = task;
    let streams = Arc::new(Streams::default());
    let mut left = terms.requests;
    let mut malformed = 0;
    let mut leaves = *shutdown.borrow();
    if leaves {
        connection.graceful_shutdown();
    }
    loop {
        let idle = if leaves { FAREWELL } else { terms.idle };
        let accepted = tokio::select! {
            biased;
            _ = shutdown.changed(), if !leaves => {
                leaves = true;
                connection.graceful_shutdown();
                continue;
            }
            accepted = HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest)) => accepted,
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
            Ok(Some(H2Accept::Session(session))) => {
                let stream = streams.enter();
                let (proxy, shutdown) = (Arc::clone(&proxy), shutdown.clone());
                let mut session = ServerSession::new_http2(session);
                session.set_write_timeout(Some(terms.send));
                let client = place.client().cloned();
                tokio::spawn(begun::of_client(client, async move {
                    let serving = proxy.process_new_http(session, &shutdown);
                    begun::count(until_overdue(serving)).await;
                    drop(stream);
                }));
                left = left.saturating_sub(1);
                if left == 0 && !leaves {
                    leaves = true;
                    connection.graceful_shutdown();
                }
            }
            Ok(Some(H2Accept::Rejected)) => {
                // Pingora has answered it, or reset the stream: all that is left is to tell the operator.
                let peer = digest.socket_digest.as_ref().and_then(|it| it.peer_addr());
                let peer = peer.and_then(|it| it.as_inet().copied());
                let id = request_id::generate();
                Bare::Malformed(REJECTED).log(&[], Version::HTTP_2, peer, &id, &live);
                malformed += 1;
                if malformed == MAX_MALFORMED {
                    connection.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
                }
            }
            Ok(None) => return,
            // Clients seldom take their leave; and what is an attack, the `h2` crate has answered.
            Err(error) => {
                log::debug!("HTTP/2: {error}");
                return;
            }
        }
    }
}

/// Serves a stream to its end, or until its session has to end and does not.
async fn until_overdue<T>(mut serving: impl Future<Output = T> + Unpin) {
    let mut alarm = None;
    poll_fn(|cx| {
        begun::watch_session(cx);
        if Pin::new(&mut serving).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !begun::has_session() {
            return Poll::Pending;
        }
        let alarm = alarm.get_or_insert_with(|| Box::pin(sleep(Duration::ZERO)));
        begun::poll_session(cx, alarm).unwrap_or(Poll::Pending)
    })
    .await;
}

/// What a client may make the `h2` crate hold or do without end. CONTINUATION frames it bounds
/// itself, by the size of a header list.
fn options(terms: Terms) -> H2Options {
    let mut options = default_h2_options();
    options
        .max_concurrent_streams(terms.concurrent_streams)
        .max_header_list_size(terms.header_size.saturating_mul(2).saturating_add(HEAD_ROOM))
        .max_pending_accept_reset_streams(terms.pending_resets)
        .max_local_error_reset_streams(Some(terms.error_resets))
        .max_send_buffer_size(SEND_BUFFER)
        // WebSockets by HTTP/2 (RFC 8441).
        .enable_connect_protocol();
    options
}
