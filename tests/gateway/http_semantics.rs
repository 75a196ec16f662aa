//! HTTP messages are forwarded whole: streamed, framed and ended as received (RFC 9110, 9112, 9113).

use futures_util::StreamExt;
use std::sync::Arc;
use tidegate_testing::http2::{END_HEADERS, END_STREAM, Frames, HEADERS, field, get_over_http2};
use tidegate_testing::{Config, Upstream, free_port, get, ok, respond, within};
use tokio::sync::Notify;

#[tokio::test]
async fn connections_are_reused_on_both_sides() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    for _ in 0..5 {
        wire.send(get("/", &[])).await;
        assert_eq!(wire.response().await.text(), "ok");
    }
    let connections: Vec<_> =
        upstream.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [1; 5]);
}

#[tokio::test]
async fn connection_close_is_honoured() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    wire.send(get("/", &["Connection: close"])).await;
    let answer = wire.response().await;
    assert_eq!(answer.text(), "ok");
    assert!(answer.head.list("connection").contains(&"close".to_owned()));
    assert!(wire.is_ended().await);
}

#[tokio::test]
async fn request_is_resent_when_a_kept_connection_was_closed() {
    let upstream = Upstream::scripted(|mut wire, recorder| async move {
        let head = wire.head().await;
        recorder.record(&head);
        wire.send(ok("once")).await;
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    for _ in 0..10 {
        wire.send(get("/", &[])).await;
        assert_eq!(wire.response().await.text(), "once");
    }
}

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
async fn body_over_the_limit_is_answered_413() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream)
        .top("limits: {body_size: 1KiB}")
        .route("small", "path_prefix: /small", "service")
        .with("max_body_size: 10B")
        .start()
        .await;
    for (target, size, status) in
        [("/", 1024, 200), ("/", 1025, 413), ("/small", 10, 200), ("/small", 11, 413)]
    {
        let body = "x".repeat(size);
        let head = format!("POST {target} HTTP/1.1\r\nHost: a\r\n");
        for request in [
            format!("{head}Content-Length: {size}\r\n\r\n{body}"),
            format!("{head}Transfer-Encoding: chunked\r\n\r\n{size:x}\r\n{body}\r\n0\r\n\r\n"),
        ] {
            let answer = gateway.send(&request).await;
            assert_eq!(answer.status(), status, "{size} bytes: {}", &request[..90]);
            if status == 413 {
                let _ = answer.error();
            }
        }
    }
    assert!(upstream.requests().iter().all(|request| request.body.len() <= 1024));
}

#[tokio::test]
async fn too_large_content_length_is_refused_before_the_body() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream).with("max_body_size: 10B").start().await;
    let mut wire = gateway.connect().await;
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n")
        .await;
    assert_eq!(wire.head().await.status(), Some(413), "no 100 before it");
    assert_eq!(upstream.connections(), 0, "the upstream is not asked");
}

#[tokio::test]
async fn rfc6585_5_headers_over_the_limit_are_answered_431() {
    let upstream = Upstream::saying("ok").await;
    let gateway =
        Config::to(&upstream).top("limits: {header_size: 2KiB, header_count: 20}").start().await;
    let long = format!("X-Long: {}", "x".repeat(3000));
    assert_eq!(gateway.get("/", &[&long]).await.status(), 431);
    let many: Vec<String> = (0..25).map(|number| format!("X-{number}: 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(gateway.get("/", &many).await.status(), 431);
    assert_eq!(gateway.get("/", &many[..15]).await.status(), 200);
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn head_far_over_the_default_limit_is_answered_431() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    // The gateway may answer, and close, before it has read all.
    let _ = wire.try_send(get("/", &[&format!("X-Long: {}", "x".repeat(200_000))])).await;
    assert_eq!(wire.head().await.status(), Some(431));
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn target_over_the_limit_is_answered_414() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream).top("limits: {uri_size: 100B}").start().await;
    assert_eq!(gateway.get(&format!("/{}", "x".repeat(99)), &[]).await.status(), 200);
    assert_eq!(gateway.get(&format!("/{}", "x".repeat(100)), &[]).await.status(), 414);
    assert_eq!(gateway.get(&format!("/?{}", "x".repeat(100)), &[]).await.status(), 414);
    let gateway = Config::to(&upstream).start().await;
    assert_eq!(gateway.get(&format!("/?{}", "x".repeat(10_000)), &[]).await.status(), 200);
    assert_eq!(gateway.get(&format!("/?{}", "x".repeat(20_000)), &[]).await.status(), 414);
}

#[tokio::test]
async fn oversized_target_or_header_is_414_or_431_at_any_size() {
    let upstream = Upstream::saying("ok").await;
    let bounds = "limits: {uri_size: 4MiB, header_size: 4MiB}";
    for bounds in ["", bounds] {
        let config = Config::to(&upstream);
        let gateway = if bounds.is_empty() { config } else { config.top(bounds) }.start().await;
        for (size, field_status) in [
            (60_000, 200),
            (65_400, 200),
            (65_534, 200),
            (65_540, 200),
            (900_000, 200),
            (1_100_000, 431),
        ] {
            let text = "x".repeat(size);
            let field_status = match bounds {
                "" if size > 65_500 => 431,
                _ => field_status,
            };
            let target_status = match bounds {
                "" => 414,
                _ if size > 65_500 => 414,
                _ => 200,
            };
            for (request, status) in [
                (get(&format!("/{text}"), &[]), target_status),
                (get(&format!("/?{text}"), &[]), target_status),
                (get(&format!("http://localhost/{text}"), &[]), target_status),
                (get("/", &[&format!("X: {text}")]), field_status),
                (
                    get("/", &[&format!("X-{text}: y")]),
                    if size > 65_500 { 431 } else { field_status },
                ),
            ] {
                for before in [String::new(), get("/first", &[])] {
                    let mut wire = gateway.connect().await;
                    // It may be answered before it has come as a whole.
                    let _ = wire.try_send(format!("{before}{request}")).await;
                    if !before.is_empty() {
                        assert_eq!(wire.response().await.status(), 200);
                    }
                    let answer = wire.response().await;
                    let start = request.get(..24).unwrap_or_default();
                    assert_eq!(answer.status(), status, "{bounds} {start:?} of {size}");
                    if status != 200 {
                        let _ = answer.error();
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn trace_and_connect_are_answered_405() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream).start().await;
    for request in [
        "TRACE / HTTP/1.1\r\nHost: a\r\nCookie: secret\r\n\r\n",
        "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n",
        "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let answer = gateway.send(request).await;
        assert_eq!(answer.status(), 405, "{request}");
        let allowed = answer.head.list("allow");
        for method in ["get", "head", "post", "put", "patch", "delete", "options"] {
            assert!(allowed.contains(&method.to_owned()), "RFC 9110, 15.5.6: {allowed:?}");
        }
        assert!(answer.text().contains("request_id"), "{request}");
        assert!(!answer.text().contains("secret"));
    }
    assert_eq!(upstream.connections(), 0);
    let config = Config::new().upstream("service", &[upstream.address()]);
    let gateway = config.route("get", "methods: [GET]", "service").start().await;
    let answer = gateway.send("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.head.list("allow"), ["get", "head"], "what the route takes");
}

#[tokio::test]
async fn rfc9110_7_6_2_max_forwards_of_options_is_decremented() {
    let upstream =
        Upstream::answering(|request| ok(&format!("{:?}", request.head.get("max-forwards")))).await;
    let gateway = Config::to(&upstream).listening("protocols: [h1, h2c]").start().await;
    let options =
        |hops: &str| get("/a", &[&format!("Max-Forwards: {hops}")]).replace("GET", "OPTIONS");
    for (hops, seen) in [("10", "9"), ("1", "0"), ("x", "x"), ("-1", "-1")] {
        let answer = gateway.send(options(hops)).await;
        assert_eq!(answer.text(), format!("{:?}", Some(seen)), "{hops}");
    }
    let passed = upstream.requests().len();
    for hops in ["0", "00"] {
        let answer = gateway.send(options(hops)).await;
        assert_eq!((answer.status(), answer.head.list("allow").len()), (204, 7), "{hops}");
    }
    let mut frames = Frames::connect(&gateway).await;
    let method = field(b":method", b"OPTIONS");
    let hops = field(b"max-forwards", b"0");
    let head = [&method[..], &[0x86, 0x84, 0x41, 1, b'a'], &hops].concat();
    frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &head).await.expect("sent");
    frames.next_of(HEADERS).await;
    let line = gateway.access("OPTIONS", |line| line["network.protocol.version"] == "2").await;
    assert_eq!(line["http.response.status_code"], 204, "{line}");
    assert_eq!(upstream.requests().len(), passed, "no further request is passed on");
    // Other methods may make as many as they like.
    let other = gateway.get("/a", &["Max-Forwards: 0"]).await;
    assert_eq!(other.text(), format!("{:?}", Some("0")));
}

#[tokio::test]
async fn rfc9110_9_3_7_options_asterisk_is_answered_by_the_gateway() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream).listening("protocols: [h1, h2c]").start().await;
    let mut wire = gateway.connect().await;
    for _ in 0..2 {
        wire.send("OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n").await;
        let answer = wire.response().await;
        assert_eq!(answer.status(), 204, "{}", answer.text());
        let allowed = answer.head.list("allow");
        assert_eq!(allowed, ["get", "head", "post", "put", "patch", "delete", "options"]);
    }
    for request in ["GET * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\n\r\n"] {
        assert_eq!(gateway.send(request).await.status(), 400, "{request}");
    }
    let mut frames = Frames::connect(&gateway).await;
    let head =
        [&field(b":method", b"OPTIONS")[..], &[0x86], &field(b":path", b"*"), &[0x41, 1, b'a']];
    frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &head.concat()).await.expect("sent");
    frames.next_of(HEADERS).await;
    let line = gateway.access("OPTIONS", |line| line["network.protocol.version"] == "2").await;
    assert_eq!(line["http.response.status_code"], 204, "{line}");
    assert_eq!(upstream.connections(), 0);
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

#[tokio::test]
async fn rfc9112_3_2_missing_or_repeated_host_is_answered_400() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream).start().await;
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    ] {
        assert_eq!(gateway.send(request).await.status(), 400, "{request}");
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn rfc9112_6_3_framing_that_could_smuggle_a_request_is_refused() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream).start().await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for fields in [
        "Content-Length: 0\r\nContent-Length: 40\r\n",
        "Content-Length: 0, 40\r\n",
        "Content-Length: +0\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x10\r\n",
        "Content-Length : 0\r\n",
        "Transfer-Encoding: identity, chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let mut wire = gateway.connect().await;
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n0\r\n\r\n{smuggled}");
        let _ = wire.try_send(request).await;
        let first = wire.try_head().await.and_then(|head| head.status());
        let is_refused = matches!(first, None | Some(400..=599));
        // RFC 9112, 6.1: both lengths may also be read as chunked, the connection closed then.
        let both = fields.contains("Content-Length: 5") && fields.contains("chunked\r\n");
        assert!(is_refused || both, "{fields:?}: {first:?}");
        wire.read_to_end().await;
        for request in upstream.requests() {
            assert_ne!(request.head.target(), "/smuggled", "{fields:?}");
            let framings = request.head.all("content-length").len()
                + request.head.all("transfer-encoding").len();
            assert!(framings < 2, "{fields:?} passed on:\n{}", request.head.text);
        }
    }
}

#[tokio::test]
async fn rfc9112_9_3_2_pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::answering(|request| ok(request.head.target())).await;
    let gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    wire.send(["/1", "/2", "/3"].map(|target| get(target, &[])).concat()).await;
    for target in ["/1", "/2", "/3"] {
        let head = wire.head().await;
        assert_eq!(wire.body(&head).await, target.as_bytes());
    }
    let forwarded: Vec<_> =
        upstream.requests().iter().map(|request| request.head.target().to_owned()).collect();
    assert_eq!(forwarded, ["/1", "/2", "/3"], "each is passed on once");
}

#[tokio::test]
async fn http2_without_tls_is_spoken_where_configured() {
    let upstream = Upstream::echo().await;
    let gateway = Config::to(&upstream)
        .top("identity: {user_id: [{query: userId}]}")
        .listening("protocols: [h1, h2c]")
        .start()
        .await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let url = format!("http://127.0.0.1:{}/api/notification?userId=u", gateway.port());
    let mut requests = futures_util::stream::FuturesUnordered::new();
    for _ in 0..20 {
        requests.push(client.get(&url).send());
    }
    while let Some(answer) = within("an answer", requests.next()).await {
        let answer = answer.expect("an answer");
        assert_eq!(answer.version(), reqwest::Version::HTTP_2);
        assert_eq!(answer.status(), 200);
        assert!(answer.headers().contains_key("x-request-id"));
        assert_eq!(answer.text().await.expect("a body"), "polled");
    }
    let passed = upstream.request(0).await.head;
    assert_eq!(passed.only("host"), Some(format!("127.0.0.1:{}", gateway.port()).as_str()));
    assert_eq!(passed.only("x-forwarded-for"), Some("127.0.0.1"));
    assert!(passed.only("x-forwarded-host").is_some(), "{}", passed.text);
    assert_eq!(gateway.access_of("/api/notification").await["user.id"], "u");
    let answer = gateway.get("/", &[]).await;
    assert_eq!(answer.text(), "polled", "HTTP/1.1 beside it");
    drop(gateway.websocket("/").await);
}

#[tokio::test]
async fn http2_carries_bodies_and_errors() {
    let upstream = Upstream::answering(|request| ok(&String::from_utf8_lossy(&request.body))).await;
    let gateway = Config::new()
        .upstream("service", &[upstream.address()])
        .listening("protocols: [h1, h2c]")
        .route("up", "path_prefix: /up", "service")
        .with("max_body_size: 1MiB")
        .route("read", "path_prefix: /read, methods: [GET]", "service")
        .start()
        .await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", gateway.port());
    let body = "x".repeat(500_000);
    let answer = client.post(url("/up")).body(body.clone()).send().await.expect("an answer");
    assert!(answer.text().await.expect("a body") == body);
    for (path, size, status) in [("/up", 1_100_000, 413), ("/read", 1, 405), ("/a%2fb", 1, 400)] {
        let answer = client.post(url(path)).body("x".repeat(size)).send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{path}");
        let error: serde_json::Value = answer.json().await.expect("JSON");
        assert!(error["request_id"].is_string(), "{error}");
    }
}

#[tokio::test]
async fn http2_without_tls_is_refused_where_not_configured() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream).start().await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let answer = client.get(format!("http://127.0.0.1:{}/", gateway.port())).send();
    assert!(within("the end", answer).await.is_err());
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn error_is_json_or_text_by_accept() {
    let gateway = Config::to_address("127.0.0.1:1").route("a", "path: /a", "service").start().await;
    for (accept, kind) in [
        (None, "application/json"),
        (Some("*/*"), "application/json"),
        (Some("application/json"), "application/json"),
        (Some("application/json;q=0.9, text/plain;q=0.1"), "application/json"),
        (Some("text/plain"), "text/plain"),
        (Some("text/plain, */*;q=0.1"), "text/plain"),
    ] {
        let field = accept.map(|accept| format!("Accept: {accept}"));
        let fields: Vec<&str> = field.as_deref().into_iter().collect();
        let answer = gateway.get("/", &fields).await;
        assert_eq!(answer.status(), 502);
        let found = answer.head.only("content-type").unwrap_or_default();
        assert!(found.starts_with(kind), "{accept:?}: {found}");
        let id = answer.head.only("x-request-id").expect("an id");
        assert!(answer.text().contains(id), "{}", answer.text());
        if kind == "text/plain" {
            assert!(!answer.text().starts_with('{'), "{}", answer.text());
        }
    }
}

#[tokio::test]
async fn unreachable_upstream_is_502_and_its_address_hidden() {
    let port = free_port();
    let gateway = Config::new()
        .upstream("hidden-pool", &[format!("127.0.0.1:{port}")])
        .route("all", "path_prefix: /", "hidden-pool")
        .start()
        .await;
    let answer = gateway.get("/", &[]).await;
    assert_eq!(answer.status(), 502);
    let _ = answer.error();
    let all = answer.head.text.clone() + &answer.text();
    for secret in [port.to_string().as_str(), "127.0.0.1", "hidden-pool", "pingora", "Pingora"] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}

#[tokio::test]
async fn malformed_upstream_response_is_answered_502() {
    for nonsense in ["SSH-2.0-OpenSSH_9.2\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", ""] {
        let upstream = Upstream::scripted(move |mut wire, _| async move {
            wire.head().await;
            wire.send(nonsense).await;
        })
        .await;
        let gateway = Config::to(&upstream).start().await;
        let answer = gateway.get("/", &[]).await;
        assert_eq!(answer.status(), 502, "{nonsense:?}");
        let _ = answer.error();
    }
}

#[tokio::test]
async fn silent_upstream_is_answered_504() {
    let upstream = Upstream::scripted(|mut wire, _| async move {
        wire.read_to_end().await;
    })
    .await;
    let gateway = Config::to(&upstream).with("timeouts: {read: 300ms}").start().await;
    let answer = gateway.get("/", &[]).await;
    assert_eq!(answer.status(), 504);
    let _ = answer.error();
}

#[tokio::test]
async fn connect_timeout_is_answered_504() {
    // A listener whose queue is full drops further SYNs.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
    let listener = socket.listen(1).expect("listening");
    let address = listener.local_addr().expect("its address");
    let mut waiting = Vec::new();
    let bound = std::time::Duration::from_millis(500);
    while let Ok(connection) =
        tokio::time::timeout(bound, tokio::net::TcpStream::connect(address)).await
    {
        waiting.push(connection);
    }
    let gateway = Config::to_address(address).with("timeouts: {connect: 300ms}").start().await;
    let answer = gateway.get("/", &[]).await;
    assert_eq!(answer.status(), 504);
    let _ = answer.error();
}

/// What a client is left with when the upstream breaks off in the midst of a body, by an end or
/// by a reset.
async fn broken_off(head: &str, by_reset: bool) -> Vec<u8> {
    let head = head.to_owned();
    let arrived = Arc::new(Notify::new());
    let go_on = Arc::clone(&arrived);
    let upstream = Upstream::scripted(move |mut wire, _| {
        let (arrived, head) = (Arc::clone(&go_on), head.clone());
        async move {
            wire.head().await;
            wire.send(head).await;
            arrived.notified().await;
            if by_reset {
                wire.reset();
            }
        }
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    wire.send(get("/", &[])).await;
    assert_eq!(wire.head().await.status(), Some(200));
    wire.until("half").await;
    arrived.notify_one();
    wire.read_to_end().await
}

#[tokio::test]
async fn truncated_response_is_not_completed() {
    for by_reset in [false, true] {
        // Pingora holds back the first 1,460 bytes of a body whose length is known, as there may
        // be more to send with them.
        let part = "x".repeat(2000);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{part}half");
        let rest = broken_off(&head, by_reset).await;
        assert_eq!(rest, b"", "nothing made up");
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
        let rest = broken_off(head, by_reset).await;
        let rest = String::from_utf8_lossy(&rest).into_owned();
        assert!(!rest.contains("0\r\n\r\n"), "no last chunk: {rest:?}");
    }
}

#[tokio::test]
async fn client_disconnect_closes_the_upstream_connection() {
    let (sender, mut ended) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::scripted(move |mut wire, recorder| {
        let sender = sender.clone();
        async move {
            let head = wire.head().await;
            recorder.record(&head);
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n").await;
            wire.read_to_end().await;
            let _ = sender.send(());
        }
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    wire.send(get("/", &[])).await;
    wire.until("hi").await;
    drop(wire);
    within("the upstream's end", ended.recv()).await;
}

#[tokio::test]
async fn rfc9112_9_3_2_pipelined_request_may_arrive_in_pieces() {
    let upstream = Upstream::answering(|request| ok(request.head.target())).await;
    let gateway = Config::to(&upstream).start().await;
    let posted = "POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let second = get("/second", &["X-Own: a \"b\" c"]);
    for first in [get("/first", &[]).as_str(), posted] {
        for cut in 1..second.len() {
            let mut wire = gateway.connect().await;
            let (begin, rest) = second.split_at(cut);
            wire.send(format!("{first}{begin}")).await;
            assert_eq!(wire.response().await.text(), "/first");
            wire.send(rest).await;
            assert_eq!(wire.response().await.text(), "/second", "{begin:?}");
            let seen = upstream.requests().last().expect("a request").head.clone();
            assert_eq!(seen.only("x-own"), Some("a \"b\" c"));
        }
    }
    // A body that ends anyhow is no beginning of a head: what follows is judged as ever.
    let mut wire = gateway.connect().await;
    wire.send(posted).await;
    assert_eq!(wire.response().await.text(), "/first");
    wire.send("GET  /a HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let refused = wire.response().await;
    assert_eq!(refused.status(), 400);
    assert!(refused.text().contains("one space"), "{}", refused.text());
}
