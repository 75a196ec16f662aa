//! Requests that are malformed or too large are refused with the status that RFCs name.

use tidegate_testing::{Config, Upstream, get};

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
