//! Concurrent requests for one response share it or do not delay each other.

use super::{gateway, is_hit};
use std::sync::Arc;
use tidegate_testing::http2::{self, Frames};
use tidegate_testing::{Config, Upstream, Wire, get, respond, until};
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;

#[tokio::test]
async fn hundred_concurrent_requests_reach_the_upstream_once() {
    let gate = Arc::new(Semaphore::new(0));
    let closed = Arc::clone(&gate);
    let upstream = Upstream::scripted(move |mut wire, recorder| {
        let gate = Arc::clone(&closed);
        async move {
            while let Some(head) = wire.try_head().await {
                recorder.record(&head);
                gate.acquire().await.expect("open").forget();
                let fields = &["Cache-Control: max-age=60"];
                let _ = wire.try_send(respond("200 OK", fields, "once")).await;
            }
        }
    })
    .await;
    let gateway = gateway(&upstream, "on").await;
    let mut wires = Vec::new();
    for _ in 0..100 {
        let mut wire = gateway.connect().await;
        wire.send(get("/", &[])).await;
        wires.push(wire);
    }
    upstream.request(0).await;
    gate.add_permits(100);
    for wire in &mut wires {
        assert_eq!(wire.response().await.text(), "once");
    }
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn uncacheable_requests_do_not_queue_for_each_other() {
    let gate = Arc::new(Semaphore::new(1));
    let closed = Arc::clone(&gate);
    let upstream = Upstream::scripted(move |mut wire, recorder| {
        let gate = Arc::clone(&closed);
        async move {
            while let Some(head) = wire.try_head().await {
                recorder.record(&head);
                gate.acquire().await.expect("open").forget();
                let _ = wire.try_send(respond("200 OK", &["Cache-Control: no-store"], "x")).await;
            }
        }
    })
    .await;
    let gateway = gateway(&upstream, "on").await;
    gateway.get("/", &[]).await;
    let mut wires = Vec::new();
    for _ in 0..20 {
        let mut wire = gateway.connect().await;
        wire.send(get("/", &[])).await;
        wires.push(wire);
    }
    // All are there before any is answered.
    upstream.request(20).await;
    gate.add_permits(20);
    for wire in &mut wires {
        assert_eq!(wire.response().await.text(), "x");
    }
}

/// Answers when it is let, with these fields; the gate lets as many as it has permits.
async fn gated(
    status: &'static str,
    fields: &'static [&'static str],
) -> (Upstream, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let closed = Arc::clone(&gate);
    let upstream = Upstream::scripted(move |mut wire, recorder| {
        let gate = Arc::clone(&closed);
        async move {
            while let Some(head) = wire.try_head().await {
                recorder.record(&head);
                gate.acquire().await.expect("open").forget();
                let _ = wire.try_send(respond(status, fields, "x")).await;
            }
        }
    })
    .await;
    (upstream, gate)
}

#[tokio::test]
async fn requests_that_name_a_user_do_not_queue_for_each_other() {
    for (setting, fields, header) in [
        ("{default_ttl: 1m}", &[][..], "Cookie: s"),
        ("{default_ttl: 1m}", &[], "X-User: s"),
        ("{default_ttl: 1m}", &[], "Authorization: s"),
        ("on", &["Cache-Control: max-age=60"], "Authorization: s"),
    ] {
        let (upstream, gate) = gated("200 OK", fields).await;
        let gateway = gateway(&upstream, setting).await;
        let mut wires = Vec::new();
        for number in 0..9 {
            let mut wire = gateway.connect().await;
            let named = format!("{header}{number}");
            // One of them names nobody, and waits for none of the others.
            let fields: &[&str] = if number == 4 { &[] } else { &[&named] };
            wire.send(get("/", fields)).await;
            wires.push(wire);
        }
        // All are there before any is answered.
        upstream.request(8).await;
        gate.add_permits(9);
        for wire in &mut wires {
            assert_eq!(wire.response().await.text(), "x", "{setting} {header}");
        }
    }
}

#[tokio::test]
async fn queued_requests_proceed_at_once_after_an_error() {
    let (upstream, gate) = gated("500 Internal Server Error", &[]).await;
    let gateway = gateway(&upstream, "{default_ttl: 1m}").await;
    let mut wires = Vec::new();
    for _ in 0..8 {
        let mut wire = gateway.connect().await;
        wire.send(get("/", &[])).await;
        wires.push(wire);
    }
    upstream.request(0).await;
    gate.add_permits(1);
    // The other seven are there before the second is answered.
    upstream.request(7).await;
    gate.add_permits(7);
    for wire in &mut wires {
        assert_eq!(wire.response().await.status(), 500);
    }
}

/// A body that no kernel keeps for a client that reads nothing.
const LARGE: usize = 7 << 20;

/// Sends a large body to each, with its length or in chunks.
async fn large(has_length: bool) -> Upstream {
    Upstream::scripted(move |mut wire, recorder| async move {
        while let Some(head) = wire.try_head().await {
            recorder.record(&head);
            let piece = vec![b'x'; 1 << 16];
            let framing = match has_length {
                true => format!("Content-Length: {LARGE}"),
                false => "Transfer-Encoding: chunked".to_owned(),
            };
            let head = format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n{framing}\r\n\r\n");
            let _ = wire.try_send(head).await;
            for _ in 0..LARGE / piece.len() {
                if !has_length {
                    let _ = wire.try_send("10000\r\n").await;
                }
                if wire.try_send(&piece).await.is_err() {
                    return;
                }
                if !has_length {
                    let _ = wire.try_send("\r\n").await;
                }
            }
            if !has_length {
                let _ = wire.try_send("0\r\n\r\n").await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn client_that_reads_nothing_does_not_delay_others() {
    for has_length in [true, false] {
        let upstream = large(has_length).await;
        let gateway =
            Config::to(&upstream).listening("protocols: [h1, h2c]").with("cache: on").start().await;
        for over_http2 in [false, true] {
            let target = if over_http2 { "/h2" } else { "/h1" };
            let asked = upstream.requests().len();
            let mut idle = (None, None);
            if over_http2 {
                // Its window takes nothing.
                let mut frames = Frames::connect(&gateway).await;
                frames.send(http2::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).await.expect("sent");
                let head = [
                    http2::field(b":method", b"GET"),
                    http2::field(b":scheme", b"http"),
                    http2::field(b":authority", b"localhost"),
                    http2::field(b":path", target.as_bytes()),
                ]
                .concat();
                let flags = http2::END_HEADERS | http2::END_STREAM;
                frames.send(http2::HEADERS, flags, 1, &head).await.expect("sent");
                frames.next_of(http2::HEADERS).await;
                idle.0 = Some(frames);
            } else {
                let socket = TcpSocket::new_v4().expect("a socket");
                socket.set_recv_buffer_size(4096).expect("a small buffer");
                let mut wire =
                    Wire::new(socket.connect(gateway.address()).await.expect("a connection"));
                wire.send(get(target, &[])).await;
                wire.head().await;
                idle.1 = Some(wire);
            }
            for _ in 0..2 {
                let answer = gateway.get(target, &[]).await;
                assert_eq!(answer.body.len(), LARGE, "{target} {has_length}");
            }
            // The others are given what the first one has made the cache fetch, where its length is
            // known; else the next one fetches it for all.
            let fetched = upstream.requests().len() - asked;
            assert_eq!(fetched, if has_length { 1 } else { 2 }, "{target} {has_length}");
            until("it is kept", async || is_hit(&gateway.get(target, &[]).await)).await;
            drop(idle);
        }
    }
}
