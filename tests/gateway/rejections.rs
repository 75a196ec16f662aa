//! Each rejection gives the client a reason and has an access-log line.

use serde_json::Value;
use tidegate_testing::http2::{DATA, END_HEADERS, END_STREAM, Frames, HEADERS, field};
use tidegate_testing::{
    Config, Gateway, Handshake, Https, SITES, Upstream, get, ok, until, within,
};

/// What a refusal must have: a body that says why, under an id that the access log has too.
async fn is_told(gateway: &Gateway, request: &str, status: u16) -> Value {
    let mut wire = gateway.connect().await;
    let _ = wire.try_send(request).await;
    let answer = wire.response().await;
    assert_eq!(answer.status(), status, "{request:?}: {}", answer.text());
    assert_eq!(answer.head.get("server"), None, "{request:?}: {}", answer.head.text);
    if matches!(status, 400 | 408 | 429) {
        assert!(answer.head.list("connection").contains(&"close".to_owned()), "{request:?}");
    }
    let error = answer.error();
    let id = error["request_id"].clone();
    let line = gateway.access("the refusal", |line| line["http.request.id"] == id).await;
    assert_eq!(line["http.response.status_code"], status, "{line}");
    assert_eq!(line["client.address"], "127.0.0.1", "{line}");
    line
}

/// Heads that Pingora's parser refuses, or would have mended.
const MALFORMED: [(&str, u16); 20] = [
    ("GET /refused", 400),
    ("GET /refused HTTP/1.1 x", 400),
    ("GET /a b HTTP/1.1", 400),
    ("GET  /refused HTTP/1.1", 400),
    ("GET /refused\t HTTP/1.1", 400),
    ("GET /refused HTTP/3.0", 400),
    ("GET /refused HTTP/1.1\r\nHo st: a", 400),
    ("GET /refused HTTP/1.1\r\nHost: a\r\nX: \u{1}", 400),
    ("GET /refused HTTP/1.1\r\nHost: a\r\nHost: b", 400),
    ("GET /refused HTTP/1.1\r\nHost: u@a", 400),
    ("GET /refused HTTP/1.1\r\nno colon", 400),
    ("GET /refused HTTP/1.1\r\nHost: a\r\n folded: a", 400),
    ("POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2", 400),
    ("POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: x", 400),
    ("POST /refused HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip", 400),
    ("POST /refused HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked", 400),
    ("GET http://u@a/refused HTTP/1.1\r\nHost: a", 400),
    ("G(T /refused HTTP/1.1\r\nHost: a", 400),
    ("\u{16}\u{3}\u{1} no HTTP at all", 400),
    ("TRACE /refused HTTP/1.1\r\nHost: a", 405),
];

#[tokio::test]
async fn malformed_head_gets_a_400_with_a_reason() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream).start().await;
    for (head, status) in MALFORMED {
        let line = is_told(&gateway, &format!("{head}\r\n\r\n"), status).await;
        if head.contains(" /refused") && !head.starts_with("G(T") && !head.contains("\t ") {
            assert_eq!(line["http.request.method"], head.split(' ').next().unwrap_or(""), "{head}");
        }
        let is_pingoras = status == 400 && line["error.message"].is_string();
        assert!(is_pingoras || line["http.request.method"] != "_OTHER", "{head}: {line}");
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn malformed_head_on_a_kept_connection_gets_a_reason() {
    let upstream = Upstream::answering(|request| ok(request.head.target())).await;
    let gateway = Config::to(&upstream).start().await;
    for (head, status) in MALFORMED {
        let mut wire = gateway.connect().await;
        wire.send(get("/first", &[])).await;
        assert_eq!(wire.response().await.text(), "/first");
        wire.send(format!("{head}\r\n\r\n")).await;
        let answer = wire.response().await;
        assert_eq!(answer.status(), status, "{head:?}");
        let _ = answer.error();
        let id = answer.head.only("x-request-id").expect("an id").to_owned();
        let line = gateway.access("the refusal", |line| line["http.request.id"] == id).await;
        assert_eq!(line["http.response.status_code"], status, "{head:?}: {line}");
        if status == 400 {
            assert!(wire.is_ended().await, "{head:?}");
        }
    }
}

#[tokio::test]
async fn malformed_pipelined_head_gets_a_reason() {
    let upstream = Upstream::answering(|request| ok(request.head.target())).await;
    let gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    wire.send(format!("{}{}GET /bad HTTP/1.1\r\nHo st: a\r\n\r\n", get("/1", &[]), get("/2", &[])))
        .await;
    assert_eq!(wire.response().await.text(), "/1");
    assert_eq!(wire.response().await.text(), "/2");
    let answer = wire.response().await;
    assert_eq!(answer.status(), 400);
    let _ = answer.error();
}

#[tokio::test]
async fn rejected_head_request_has_no_body() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream).start().await;
    for request in [
        "HEAD /1 HTTP/1.1\r\nHo st: a\r\n\r\n",
        "HEAD /2 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "HEAD /3 HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n",
    ] {
        let mut wire = gateway.connect().await;
        wire.send(request).await;
        let head = wire.head().await;
        assert!(matches!(head.status(), Some(400 | 417)), "{request:?}: {}", head.text);
        assert!(head.only("content-length").is_some_and(|length| length != "0"));
        assert!(head.only("x-request-id").is_some());
        assert_eq!(wire.read_to_end().await, b"", "{request:?}");
    }
}

#[tokio::test]
async fn malformed_head_over_tls_gets_a_reason() {
    let https = Https::new(SITES).await;
    let stream = https.authority.client().connect(&https.gateway, "site.test").await;
    let mut wire = tidegate_testing::Wire::over(stream);
    wire.send("GET /tls HTTP/1.1\r\nHo st: a\r\n\r\n").await;
    let answer = wire.response().await;
    assert_eq!(answer.status(), 400);
    let _ = answer.error();
    assert_eq!(https.gateway.access_of("/tls").await["http.response.status_code"], 400);
    // HTTP where TLS is spoken.
    is_told(&https.gateway, &get("/plain", &[]), 400).await;
}

#[tokio::test]
async fn slow_or_oversized_head_is_answered_and_logged() {
    let upstream = Upstream::saying("ok").await;
    let limits = "limits: {header_timeout: 300ms, uri_size: 100B, header_size: 2KiB}";
    let gateway = Config::to(&upstream).top(limits).start().await;
    let slow = is_told(&gateway, "GET /slow HTTP/1.1\r\nHost: a\r\n", 408).await;
    assert_eq!(slow["url.path"], "/slow");
    is_told(&gateway, &get(&format!("/{}", "a".repeat(200)), &[]), 414).await;
    is_told(&gateway, &get("/", &[&format!("X: {}", "a".repeat(4000))]), 431).await;
    let many = "A: b\r\n".repeat(400);
    is_told(&gateway, &format!("GET /many HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431).await;
    let mut half = gateway.connect().await;
    half.send("GET /half HTTP/1.1\r\nHost: a\r\n").await;
    half.finish().await;
    let answer = half.response().await;
    assert_eq!(answer.status(), 400);
    let _ = answer.error();
    assert_eq!(gateway.access_of("/half").await["http.response.status_code"], 400);
}

#[tokio::test]
async fn slow_head_on_a_kept_connection_is_answered_408() {
    let upstream = Upstream::saying("ok").await;
    let limits = "limits: {header_timeout: 1s, idle_timeout: 1s}";
    let gateway = Config::to(&upstream).top(limits).start().await;
    let mut wire = gateway.connect().await;
    wire.send(get("/", &[])).await;
    assert_eq!(wire.response().await.status(), 200);
    wire.send("GET /late HTTP/1.1\r\nHost: a\r\n").await;
    let answer = wire.response().await;
    assert_eq!(answer.status(), 408);
    let _ = answer.error();
    assert_eq!(gateway.access_of("/late").await["http.response.status_code"], 408);
}

#[tokio::test]
async fn refused_connection_is_answered_and_logged() {
    let upstream = Upstream::saying("ok").await;
    let limits = "limits: {connections: 8, connections_per_client: 1}";
    let gateway = Config::to(&upstream).top(limits).start().await;
    let mut first = gateway.connect().await;
    first.send(get("/", &[])).await;
    assert_eq!(first.response().await.status(), 200);
    is_told(&gateway, &get("/second", &[]), 429).await;
}

#[tokio::test]
async fn missing_proxy_header_is_answered_with_a_reason() {
    let upstream = Upstream::saying("ok").await;
    let listening = "proxy_protocol: {from: [127.0.0.0/8]}";
    let gateway = Config::to(&upstream).listening(listening).start().await;
    let line = is_told(&gateway, &get("/", &[]), 400).await;
    assert!(line["error.message"].as_str().is_some_and(|it| it.contains("PROXY")), "{line}");
}

#[tokio::test]
async fn oversized_head_over_http2_is_answered_and_logged() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream).top("limits: {header_size: 2KiB}");
    let gateway = gateway.listening("protocols: [h2c]").start().await;
    let mut frames = Frames::connect(&gateway).await;
    let head = [&[0x82, 0x86, 0x84, 0x41, 1, b'a'][..], &field(b"x", &[b'a'; 3000])].concat();
    frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &head).await.expect("sent");
    let answer = frames.next_of(HEADERS).await;
    assert_eq!(answer.flags & END_STREAM, 0, "a body follows");
    let line = gateway.access("431", |line| line["http.response.status_code"] == 431).await;
    assert_eq!(line["network.protocol.version"], "2");
}

#[tokio::test]
async fn malformed_head_over_http2_gets_a_reason() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream).listening("protocols: [h2c]").start().await;
    let mut frames = Frames::connect(&gateway).await;
    let get = |path: &str, fields: &[(&str, &str)]| {
        let mut head = vec![0x82, 0x86];
        head.extend(field(b":path", path.as_bytes()));
        for (name, value) in fields {
            head.extend(field(name.as_bytes(), value.as_bytes()));
        }
        head
    };
    let authority = (":authority", "a.test");
    let heads = [
        (get("/other-host", &[authority, ("host", "b.test")]), "different hosts"),
        (get("/other-port", &[authority, ("host", "a.test:81")]), "different hosts"),
        (get("/two-hosts", &[authority, ("host", "a.test"), ("host", "a.test")]), "more than one"),
        (get("/two-hosts-alone", &[("host", "a.test"), ("host", "b.test")]), "more than one"),
        (get("/no-host", &[]), "no Host"),
        (get("/user", &[(":authority", "u@a.test")]), "not a valid host"),
        (get("/host-with-user", &[("host", "u@a.test")]), "not a valid host"),
        (get("/lengths", &[authority, ("content-length", "0"), ("content-length", "0")]), "once"),
        (get("*", &[authority]), "path"),
    ];
    for (number, (head, reason)) in heads.iter().enumerate() {
        let stream = 2 * number as u32 + 1;
        frames.send(HEADERS, END_HEADERS | END_STREAM, stream, head).await.expect("sent");
        let answer = frames.next_of(HEADERS).await;
        assert_eq!((answer.stream, answer.payload[0]), (stream, 0x8c), "400: {head:?}");
        let body: Value =
            serde_json::from_slice(&frames.next_of(DATA).await.payload).expect("JSON");
        assert_eq!(body["error"], "bad_request", "{body}");
        assert!(body["message"].to_string().contains(reason), "{body}");
        let id = body["request_id"].clone();
        let line = gateway.access("the refusal", |line| line["http.request.id"] == id).await;
        assert_eq!(line["network.protocol.version"], "2");
        assert_eq!(line["http.response.status_code"], 400);
        assert_eq!(line["http.request.method"], "GET");
        assert_eq!(line["error.message"], body["message"]);
        assert_eq!(line["client.address"], "127.0.0.1");
    }
    gateway.access_of("/other-host").await;
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn unencoded_characters_in_targets_are_forwarded_encoded() {
    let upstream = Upstream::answering(|request| ok(request.head.target())).await;
    let gateway = Config::to(&upstream).start().await;
    let targets: [(&[u8], &str); 8] = [
        (b"/?q={\"a\":1}", "/?q={%22a%22:1}"),
        (b"/a`b?c=`", "/a%60b?c=`"),
        (b"/a<b>?<script>", "/a%3Cb%3E?%3Cscript%3E"),
        (b"/?q=\xe9", "/?q=%E9"),
        ("/?q=é".as_bytes(), "/?q=%C3%A9"),
        (b"/?a|b^c\\d[e]", "/?a|b^c\\d[e]"),
        (b"/?%22", "/?%22"),
        (b"/\"quoted\"", "/%22quoted%22"),
    ];
    for (target, expected) in targets {
        let request = [b"GET ", target, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        // As the first of a connection, as a later one, in pieces, and behind another.
        let mut wire = gateway.connect().await;
        for _ in 0..2 {
            wire.send(&request).await;
            assert_eq!(wire.response().await.text(), expected);
        }
        for piece in request.chunks(3) {
            wire.send(piece).await;
        }
        assert_eq!(wire.response().await.text(), expected);
        let body = [b"POST ", target, b" HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"];
        wire.send(body.concat()).await;
        assert_eq!(wire.response().await.text(), expected);
        wire.send(&request).await;
        assert_eq!(wire.response().await.text(), expected);
    }
    assert!(upstream.requests().iter().any(|request| request.body == b"hello"));
}

#[tokio::test]
async fn large_body_after_an_encoded_target_arrives_whole() {
    let upstream = Upstream::answering(|request| ok(&request.body.len().to_string())).await;
    let gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    for size in [10, 4_000, 5_000, 100_000] {
        let target = "\"".repeat(900);
        let head = format!("POST /{target} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
        wire.send([head.into_bytes(), vec![b'x'; size]].concat()).await;
        assert_eq!(wire.response().await.text(), size.to_string());
    }
}

#[tokio::test]
async fn half_closed_client_gets_its_response() {
    let (sender, receiver) = tokio::sync::watch::channel(false);
    let upstream = Upstream::scripted(move |mut wire, recorder| {
        let mut receiver = receiver.clone();
        async move {
            while let Some(head) = wire.try_head().await {
                let body = wire.body(&head).await;
                recorder.record(&head);
                let _ = receiver.wait_for(|answers| *answers).await;
                let text = format!("{} {}", head.target(), body.len());
                let chunks = format!("{:x}\r\n{text}\r\n0\r\n\r\n", text.len());
                wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
                wire.send(chunks).await;
            }
        }
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let mut waiting = Vec::new();
    for (request, expected) in [
        (get("/get", &[]), vec!["/get 0"]),
        (get("/close", &["Connection: close"]), vec!["/close 0"]),
        (
            "POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
            vec!["/post 5"],
        ),
        (
            "POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
                .to_owned(),
            vec!["/chunks 5"],
        ),
        (format!("{}{}", get("/a", &[]), get("/b", &[])), vec!["/a 0", "/b 0"]),
    ] {
        let mut wire = gateway.connect().await;
        wire.send(request).await;
        wire.finish().await;
        waiting.push((wire, expected));
    }
    within("the requests", async {
        while upstream.requests().len() < 5 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    sender.send_replace(true);
    for (mut wire, expected) in waiting {
        for text in expected {
            assert_eq!(wire.response().await.text(), text);
        }
        assert!(wire.is_ended().await);
    }
}

#[tokio::test]
async fn each_of_many_rejections_is_answered_and_logged() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream).start().await;
    let mut clients = Vec::new();
    // None of them closes its connection, so the gateway waits for as many as it can.
    for _ in 0..150 {
        let mut wire = gateway.connect().await;
        wire.send("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n").await;
        clients.push(wire);
    }
    for wire in &mut clients {
        let head = wire.head().await;
        assert_eq!(head.status(), Some(400));
        let id = head.only("x-request-id").expect("an id").to_owned();
        gateway.access("the refusal", |line| line["http.request.id"] == id).await;
    }
}

#[tokio::test]
async fn two_origin_headers_are_refused_over_any_protocol() {
    let upstream = Upstream::websocket(|_, _| async {}).await;
    let gateway = Config::to(&upstream).listening("protocols: [h1, h2c]").start().await;
    let two = ["Origin: http://localhost", "Origin: https://evil.test"];
    is_told(&gateway, &get("/two-origins", &two), 400).await;
    let handshake = Handshake::to("/two-origins").bytes();
    let handshake =
        handshake.replacen("\r\n\r\n", &format!("\r\n{}\r\n{}\r\n\r\n", two[0], two[1]), 1);
    is_told(&gateway, &handshake, 400).await;
    let asked = "OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\n\
                 Access-Control-Request-Method: GET\r\nAccess-Control-Request-Method: PUT\r\n\r\n";
    is_told(&gateway, asked, 400).await;
    for is_websocket in [false, true] {
        let mut frames = Frames::connect(&gateway).await;
        let mut head = match is_websocket {
            false => vec![0x82, 0x86, 0x84, 0x41, 1, b'a'],
            true => [
                &field(b":method", b"CONNECT")[..],
                &field(b":protocol", b"websocket"),
                &[0x86, 0x84, 0x41, 1, b'a'],
                &field(b"sec-websocket-version", b"13"),
            ]
            .concat(),
        };
        head.extend(field(b"origin", b"http://a"));
        head.extend(field(b"origin", b"https://evil.test"));
        let flags = if is_websocket { END_HEADERS } else { END_HEADERS | END_STREAM };
        frames.send(HEADERS, flags, 1, &head).await.expect("sent");
        frames.next_of(HEADERS).await;
        let lines = || {
            let lines = gateway.access_lines();
            let parsed = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            parsed.filter(|line| line["network.protocol.version"] == "2").collect::<Vec<_>>()
        };
        until("the log line", async || lines().len() > usize::from(is_websocket)).await;
        assert!(
            lines().iter().all(|line| line["http.response.status_code"] == 400),
            "{:?}",
            lines()
        );
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn rfc3986_3_2_3_empty_port_is_the_default_port() {
    let upstream = Upstream::websocket(|_, _| async {}).await;
    let gateway = Config::to(&upstream).start().await;
    let handshake = Handshake::to("/").set("Origin", "http://x.test");
    for (host, expected) in [
        ("x.test:", Some(101)),
        ("x.test", Some(101)),
        ("x.test:80", Some(101)),
        ("x.test:81", Some(403)),
    ] {
        let mut wire = gateway.connect().await;
        wire.send(handshake.clone().set("Host", host).bytes()).await;
        assert_eq!(wire.head().await.status(), expected, "{host}");
    }
    for host in [":80", ":"] {
        is_told(&gateway, &get("/", &[&format!("Host: {host}")]), 400).await;
    }
    let absolute = "GET http://x.test:/ HTTP/1.1\r\nHost: x.test\r\n\r\n";
    assert_eq!(gateway.send(absolute).await.status(), 200);
}
