//! Bodies are streamed in both directions, and framed as their receivers can read them.

use std::sync::Arc;
use tidegate_testing::http2::get_over_http2;
use tidegate_testing::{Config, Upstream, free_port, get, ok, respond};
use tokio::sync::Notify;

#[tokio::test]
async fn http10_client_gets_a_body_without_chunks() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_vec()
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    wire.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
    let head = wire.head().await;
    assert_eq!(head.status(), Some(200));
    assert_eq!(head.get("transfer-encoding"), None, "RFC 9112, 6.1");
    assert_eq!(wire.read_to_end().await, b"ok");
}

#[tokio::test]
async fn server_sent_event_arrives_before_the_stream_ends() {
    let gate = Arc::new(Notify::new());
    let opened = Arc::clone(&gate);
    let upstream = Upstream::scripted(move |mut wire, _| {
        let gate = Arc::clone(&opened);
        async move {
            wire.head().await;
            wire.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
                wire.send(format!("{:x}\r\n{event}\r\n", event.len())).await;
                gate.notified().await;
            }
            wire.send("0\r\n\r\n").await;
            wire.read_to_end().await;
        }
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    wire.send(get("/events", &["Accept: text/event-stream"])).await;
    let head = wire.head().await;
    assert_eq!(head.only("content-type"), Some("text/event-stream"));
    for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        assert_eq!(wire.chunk().await.as_deref(), Some(event.as_bytes()));
        gate.notify_one();
    }
    assert_eq!(wire.chunk().await, None);
}

#[tokio::test]
async fn first_part_of_an_upload_arrives_before_the_last_is_sent() {
    let upstream = Upstream::scripted(|mut wire, recorder| async move {
        let head = wire.head().await;
        recorder.record(&head);
        assert_eq!(wire.chunk().await.as_deref(), Some(&b"first"[..]));
        // Answers the head right away, so that the client learns that the part arrived.
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
        assert_eq!(wire.chunk().await.as_deref(), Some(&b"second"[..]));
        assert!(wire.chunk().await.is_none());
        wire.send("6\r\nsecond\r\n0\r\n\r\n").await;
        wire.read_to_end().await;
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        .await;
    wire.head().await;
    assert_eq!(wire.chunk().await.as_deref(), Some(&b"first"[..]));
    wire.send("6\r\nsecond\r\n0\r\n\r\n").await;
    assert_eq!(wire.chunk().await.as_deref(), Some(&b"second"[..]));
}

#[tokio::test]
async fn large_bodies_pass_in_both_directions() {
    let upstream = Upstream::scripted(|mut wire, _| async move {
        while let Some(head) = wire.try_head().await {
            let body = wire.body(&head).await;
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len())).await;
            wire.send(body).await;
        }
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let body: Vec<u8> =
        (0..5_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut wire = gateway.connect().await;
    wire.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()))
        .await;
    wire.send(&body).await;
    assert!(wire.response().await.body == body, "the body came back changed");
    let mut chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for part in body.chunks(70_001) {
        chunked.extend(format!("{:x}\r\n", part.len()).bytes());
        chunked.extend(part);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    wire.send(chunked).await;
    assert!(wire.response().await.body == body, "the body came back changed");
}

#[tokio::test]
async fn expect_100_continue_is_answered_before_the_body_is_sent() {
    let upstream = Upstream::scripted(|mut wire, recorder| async move {
        let head = wire.head().await;
        recorder.record(&head);
        if head.get("expect").is_some() {
            wire.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        }
        let body = wire.body(&head).await;
        wire.send(ok(&String::from_utf8_lossy(&body))).await;
        wire.read_to_end().await;
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        .await;
    assert_eq!(wire.head().await.status(), Some(100));
    wire.send("body").await;
    let head = wire.head().await;
    assert_eq!(head.status(), Some(200), "one 100, no second: {}", head.text);
    assert_eq!(wire.body(&head).await, b"body");
}

#[tokio::test]
async fn expect_100_continue_may_be_refused_by_the_upstream() {
    let upstream = Upstream::scripted(|mut wire, _| async move {
        wire.head().await;
        wire.send(respond("401 Unauthorized", &["Connection: close"], "who are you")).await;
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        .await;
    let answer = wire.response().await;
    assert_eq!((answer.status(), answer.text().as_str()), (401, "who are you"));
}

#[tokio::test]
async fn head_response_has_the_length_and_no_body() {
    let upstream = Upstream::answering(|request| match request.head.line.starts_with("HEAD") {
        true => b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: \"e\"\r\n\r\n".to_vec(),
        false => ok("after"),
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    wire.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let head = wire.head().await;
    assert_eq!(head.status(), Some(200));
    assert_eq!(head.only("content-length"), Some("1234"));
    assert_eq!(head.only("etag"), Some("\"e\""));
    wire.send(get("/", &[])).await;
    assert_eq!(wire.response().await.text(), "after", "the connection is still in step");
}

#[tokio::test]
async fn error_response_to_head_has_no_body() {
    let gateway = Config::to_address(format!("127.0.0.1:{}", free_port())).start().await;
    let mut wire = gateway.connect().await;
    for _ in 0..2 {
        wire.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let head = wire.head().await;
        assert_eq!(head.status(), Some(502));
        if head.list("connection").contains(&"close".to_owned()) {
            assert!(wire.is_ended().await);
            wire = gateway.connect().await;
        }
    }
}

#[tokio::test]
async fn response_to_204_and_304_has_no_body() {
    for status in ["204 No Content", "304 Not Modified"] {
        let upstream = Upstream::answering(move |_| {
            format!("HTTP/1.1 {status}\r\nETag: \"e\"\r\n\r\n").into_bytes()
        })
        .await;
        let gateway = Config::to(&upstream).start().await;
        let mut wire = gateway.connect().await;
        for _ in 0..2 {
            wire.send(get("/", &[])).await;
            let head = wire.head().await;
            assert_eq!(head.line, format!("HTTP/1.1 {status}"));
            assert_eq!(head.get("transfer-encoding"), None);
        }
    }
}

#[tokio::test]
async fn early_hints_pass_before_the_response() {
    let upstream = Upstream::scripted(|mut wire, _| async move {
        wire.head().await;
        wire.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n").await;
        wire.send(ok("page")).await;
        wire.read_to_end().await;
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    wire.send(get("/", &[])).await;
    let hints = wire.head().await;
    assert_eq!(hints.status(), Some(103));
    assert_eq!(hints.only("link"), Some("</a.css>; rel=preload"));
    assert_eq!(wire.response().await.text(), "page");
}

#[tokio::test]
async fn trailer_header_is_removed_when_trailers_are_dropped() {
    let upstream = Upstream::answering(|_| {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nTE: trailers\r\n\r\n\
          2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
            .to_vec()
    })
    .await;
    let gateway = Config::to(&upstream).listening("protocols: [h1, h2c]").start().await;
    let answer = gateway.get("/", &[]).await;
    assert_eq!(answer.text(), "ok");
    assert_eq!(answer.head.get("trailer"), None);
    assert_eq!(answer.head.get("te"), None);
    let answer = get_over_http2(&gateway, "/", &[]).await;
    assert_eq!(answer.headers.get("trailer"), None);
    assert_eq!(answer.headers.get("te"), None, "RFC 9113, 8.2.2");
}

#[tokio::test]
async fn body_of_known_length_is_streamed() {
    let goes_on = Arc::new(Notify::new());
    let notify = Arc::clone(&goes_on);
    let upstream = Upstream::scripted(move |mut wire, _| {
        let notify = Arc::clone(&notify);
        async move {
            while wire.try_head().await.is_some() {
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n").await;
                for piece in ["hello", "small", "piece"] {
                    notify.notified().await;
                    wire.send(piece).await;
                }
            }
        }
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    for request in [
        get("/", &[]),
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
        format!("{}{}", get("/", &[]), get("/", &[])),
    ] {
        let mut wire = gateway.connect().await;
        wire.send(&request).await;
        for _ in 0..request.matches("HTTP/1.1").count() {
            assert_eq!(wire.head().await.status(), Some(200));
            for piece in ["hello", "small", "piece"] {
                goes_on.notify_one();
                assert_eq!(wire.exactly(5).await, piece.as_bytes(), "{request:?}");
            }
        }
    }
}
