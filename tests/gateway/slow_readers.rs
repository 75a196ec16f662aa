//! A client that does not read its response uses little memory.

use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidegate_testing::{Config, Gateway, Handshake, Upstream, Wire, get, http2, until};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// What each may make the gateway hold, beyond the kernel's buffers; and what a process needs for
/// a connection and its tasks, built without optimisation: about 60 KiB, with peaks that vary by 25 KiB.
const MAX_BYTES_PER_CLIENT: u64 = (256 + 96) * 1024;

/// An upstream whose response never ends, and how many bytes of it have gone.
pub(crate) async fn endless(head: &'static str, piece: Vec<u8>) -> (Upstream, Arc<AtomicU64>) {
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    let piece: Arc<[u8]> = piece.into();
    let upstream = Upstream::scripted(move |mut wire, _| {
        let (sent, piece) = (Arc::clone(&counted), Arc::clone(&piece));
        async move {
            let Some(request) = wire.try_head().await else { return };
            let head = match request.get("sec-websocket-key") {
                Some(key) => format!(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                     Upgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n\r\n",
                    derive_accept_key(key.as_bytes())
                )
                .into_bytes(),
                None => head.as_bytes().to_vec(),
            };
            wire.send(head).await;
            while wire.try_send(&piece).await.is_ok() {
                sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
            }
        }
    })
    .await;
    (upstream, sent)
}

pub(crate) const HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10000000000\r\n\r\n";

/// A client for which the kernel keeps little, so that it is soon full.
pub(crate) async fn connect(gateway: &Gateway) -> Wire {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    Wire::new(socket.connect(gateway.address()).await.expect("a connection"))
}

/// Waits until nothing more is taken from the upstream.
async fn stalled(sent: &AtomicU64) {
    settled("the upstream can send no more", || sent.load(Ordering::Relaxed)).await;
}

/// Waits until this number, once there is one, no longer changes.
pub(crate) async fn settled(what: &str, number: impl Fn() -> u64) {
    let (mut last, mut same) = (0, 0);
    until(what, async || {
        let now = number();
        same = if now == last && now > 0 { same + 1 } else { 0 };
        last = now;
        same == 25
    })
    .await;
}

pub(crate) fn text() -> Vec<u8> {
    (0..40_000_u64)
        .flat_map(|it| format!("{:x} ", it.wrapping_mul(0x9e37_79b9_7f4a_7c15)).into_bytes())
        .collect()
}

pub(crate) fn assert_little(gateway: &Gateway, before: u64, count: u64, what: &str) {
    let each = gateway.peak_memory().saturating_sub(before) / count;
    assert!(each < MAX_BYTES_PER_CLIENT, "{what}: {each} bytes for each of {count}");
}

#[tokio::test]
async fn slow_http1_reader_uses_little_memory() {
    for coding in ["identity", "br", "gzip", "zstd"] {
        let (upstream, sent) = endless(HEAD, text()).await;
        let config = Config::to(&upstream).top("compression: on").top("access_log: off");
        let gateway = config.start().await;
        let mut held = Vec::new();
        let mut before = 0;
        // What the first few make the process load and keep is not theirs.
        for count in [4, 60] {
            before = gateway.peak_memory();
            for _ in 0..count {
                let mut wire = connect(&gateway).await;
                wire.send(get("/big", &[&format!("Accept-Encoding: {coding}")])).await;
                held.push(wire);
            }
            stalled(&sent).await;
        }
        assert_little(&gateway, before, 60, coding);
    }
}

#[tokio::test]
async fn slow_http2_reader_uses_little_memory() {
    let (upstream, sent) = endless(HEAD, text()).await;
    let config = Config::to(&upstream).listening("protocols: [h1, h2c]").top("access_log: off");
    let gateway = config.start().await;
    let before = gateway.peak_memory();
    let _held = ask_over_http2(&gateway, "/big", 2).await;
    stalled(&sent).await;
    assert_little(&gateway, before, 200, "HTTP/2");
}

/// Asks a hundred times on each of so many connections, and reads nothing. What is returned keeps them open.
pub(crate) async fn ask_over_http2(
    gateway: &Gateway,
    path: &str,
    connections: usize,
) -> impl Sized {
    let (mut held, mut kept) = (Vec::new(), Vec::new());
    for _ in 0..connections {
        let socket = connect(gateway).await.into_stream();
        let (mut send, connection) = h2::client::Builder::new()
            .initial_window_size(1 << 30)
            .initial_connection_window_size(1 << 30)
            .handshake::<_, Bytes>(socket)
            .await
            .expect("HTTP/2");
        // It sends what it has to, and then is not looked at again: nothing is read.
        for _ in 0..100 {
            let target = format!("http://localhost{path}");
            let request = http::Request::get(target).body(()).expect("a request");
            held.push(send.send_request(request, true).expect("sent").0);
        }
        let mut connection = Box::pin(connection);
        let once = std::future::poll_fn(|cx| {
            let _ = connection.as_mut().poll(cx);
            std::task::Poll::Ready(())
        });
        once.await;
        kept.push((send, connection));
    }
    (held, kept)
}

/// A service over HTTP/2 whose response to `/big` never ends, and how many bytes of it have gone.
async fn endless_over_http2() -> (SocketAddr, Arc<AtomicU64>) {
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    let address = http2::serve(move |request, mut respond| {
        let sent = Arc::clone(&counted);
        async move {
            let is_big = request.uri().path() == "/big";
            let response = http::Response::new(());
            let mut body = respond.send_response(response, !is_big).expect("sent");
            if !is_big {
                return;
            }
            loop {
                body.reserve_capacity(16 * 1024);
                let room = std::future::poll_fn(|cx| body.poll_capacity(cx)).await;
                let Some(Ok(room)) = room else { return };
                let piece = Bytes::from(vec![b'x'; room]);
                let Ok(()) = body.send_data(piece, false) else { return };
                sent.fetch_add(room as u64, Ordering::Relaxed);
            }
        }
    })
    .await;
    (address, sent)
}

#[tokio::test]
async fn slow_reader_of_an_http2_upstream_uses_little_memory() {
    let (upstream, sent) = endless_over_http2().await;
    let config = Config::to_address(upstream).speaking("protocols: [h2c]").top("access_log: off");
    let gateway = config.start().await;
    let (mut held, mut before) = (Vec::new(), 0);
    for count in [4, 60] {
        before = gateway.peak_memory();
        for _ in 0..count {
            let mut wire = connect(&gateway).await;
            wire.send(get("/big", &[])).await;
            held.push(wire);
        }
        stalled(&sent).await;
    }
    assert_little(&gateway, before, 60, "HTTP/2 upstream");
    // They share one connection, and others get their answers on it.
    assert_eq!(gateway.get("/", &[]).await.status(), 200);
}

/// A service that takes nothing of what follows a request's head.
pub(crate) async fn deaf() -> Upstream {
    Upstream::scripted(|mut wire, _| async move {
        let Some(request) = wire.try_head().await else { return };
        if let Some(key) = request.get("sec-websocket-key") {
            let accept = derive_accept_key(key.as_bytes());
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                 Upgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            wire.send(head).await;
        }
        std::future::pending::<()>().await;
    })
    .await
}

#[tokio::test]
async fn upload_to_a_slow_service_uses_little_memory() {
    let handshake = Handshake::to("/ws").bytes();
    let upload = "POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000000\r\n\r\n";
    // A masked frame of ten billion bytes.
    let frame = [&[0x82, 0xff][..], &10_000_000_000_u64.to_be_bytes(), &[0; 4]].concat();
    for (what, head, first) in
        [("a body", upload, vec![]), ("a WebSocket", handshake.as_str(), frame)]
    {
        let upstream = deaf().await;
        let gateway = Config::to(&upstream).top("access_log: off").start().await;
        let before = gateway.peak_memory();
        let sent = Arc::new(AtomicU64::new(0));
        let mut sending = JoinSet::new();
        for _ in 0..60 {
            let mut wire = gateway.connect().await;
            wire.send(head).await;
            if !first.is_empty() {
                assert_eq!(wire.head().await.status(), Some(101));
                wire.send(&first).await;
            }
            let sent = Arc::clone(&sent);
            sending.spawn(async move {
                let piece = [0; 16 * 1024];
                while wire.try_send(&piece).await.is_ok() {
                    sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
                }
            });
        }
        stalled(&sent).await;
        assert_little(&gateway, before, 60, what);
    }
}

#[tokio::test]
async fn slow_websocket_reader_uses_little_memory() {
    // Frames of 32 KiB: their heads, and as many bytes.
    let frame = [&[0x82, 126, 0x7f, 0xff][..], &[b'x'; 0x7fff]].concat();
    let (upstream, sent) = endless(HEAD, frame).await;
    let gateway = Config::to(&upstream).top("access_log: off").start().await;
    let before = gateway.peak_memory();
    let mut held = Vec::new();
    for _ in 0..60 {
        let mut wire = connect(&gateway).await;
        let handshake = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        wire.send(handshake).await;
        held.push(wire);
    }
    stalled(&sent).await;
    assert_little(&gateway, before, 60, "WebSockets");
}
