//! The upstream gets the client's address, scheme and host, which clients cannot forge.

use tidegate_testing::{Config, Gateway, Head, Upstream};

async fn gateway(top: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::saying("ok").await;
    let mut config = Config::to(&upstream);
    if !top.is_empty() {
        config = config.top(top);
    }
    (config.start().await, upstream)
}

const TRUSTED: &str = "trusted_proxies: [127.0.0.0/8]";

/// The head that the upstream sees of a request with these fields.
async fn forwarded(top: &str, fields: &[&str]) -> Head {
    let (gateway, upstream) = gateway(top).await;
    assert_eq!(gateway.get("/", fields).await.status(), 200);
    upstream.only_request().await.head
}

#[tokio::test]
async fn upstream_gets_client_scheme_and_host() {
    let head = forwarded("", &["Host: shop.test:81"]).await;
    assert_eq!(head.only("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(head.only("x-forwarded-proto"), Some("http"));
    assert_eq!(head.only("x-forwarded-host"), Some("shop.test:81"));
    assert_eq!(head.only("forwarded"), Some("for=127.0.0.1;host=\"shop.test:81\";proto=http"));
}

#[tokio::test]
async fn forwarded_headers_of_clients_are_dropped() {
    let head = forwarded(
        "",
        &[
            "Host: shop.test",
            "X-Forwarded-For: 6.6.6.6",
            "x-forwarded-for: 7.7.7.7",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: evil.test",
            "Forwarded: for=6.6.6.6;proto=https",
            "X-Request-Id: forged",
        ],
    )
    .await;
    assert_eq!(head.only("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(head.only("x-forwarded-proto"), Some("http"));
    assert_eq!(head.only("x-forwarded-host"), Some("shop.test"));
    assert_eq!(head.only("forwarded"), Some("for=127.0.0.1;host=\"shop.test\";proto=http"));
    assert_ne!(head.only("x-request-id"), Some("forged"));
    assert!(!head.text.contains("6.6.6.6") && !head.text.contains("evil"), "{}", head.text);
}

#[tokio::test]
async fn related_headers_of_clients_are_dropped() {
    let head = forwarded("", &["X-Forwarded-Port: 443", "X-Real-IP: 6.6.6.6"]).await;
    assert!(!head.text.contains("6.6.6.6"), "{}", head.text);
    assert_ne!(head.get("x-forwarded-port"), Some("443"));
}

#[tokio::test]
async fn forwarded_headers_of_trusted_proxies_are_extended() {
    let (gateway, upstream) = gateway(TRUSTED).await;
    let fields = [
        "Host: edge.test",
        "X-Forwarded-For: 203.0.113.7",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: shop.test",
        "Forwarded: for=203.0.113.7;host=shop.test;proto=https",
        "X-Request-Id: from-the-proxy-1",
    ];
    let answer = gateway.get("/", &fields).await;
    assert_eq!(answer.head.only("x-request-id"), Some("from-the-proxy-1"));
    let head = upstream.only_request().await.head;
    assert_eq!(head.list("x-forwarded-for"), ["203.0.113.7", "127.0.0.1"]);
    assert_eq!(head.only("x-forwarded-proto"), Some("https"));
    assert_eq!(head.only("x-forwarded-host"), Some("shop.test"));
    let elements = head.list("forwarded");
    assert_eq!(elements[0], "for=203.0.113.7;host=shop.test;proto=https");
    assert!(elements[1].starts_with("for=127.0.0.1"), "{elements:?}");
    assert_eq!(elements.len(), 2);
    assert_eq!(head.only("x-request-id"), Some("from-the-proxy-1"));
    assert_eq!(gateway.access_of("/").await["client.address"], "203.0.113.7");
}

#[tokio::test]
async fn client_is_the_last_untrusted_address() {
    let (gateway, _upstream) = gateway("trusted_proxies: [127.0.0.1/32, 10.0.0.0/8]").await;
    for (number, (chain, client)) in [
        ("6.6.6.6, 203.0.113.7, 10.1.1.1", "203.0.113.7"),
        ("203.0.113.7", "203.0.113.7"),
        ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
    ]
    .into_iter()
    .enumerate()
    {
        gateway.get(&format!("/{number}"), &[&format!("X-Forwarded-For: {chain}")]).await;
        let line = gateway.access_of(&format!("/{number}")).await;
        assert_eq!(line["client.address"], client, "{chain}");
    }
}

#[tokio::test]
async fn non_ascii_bytes_do_not_impersonate_a_trusted_proxy() {
    let (gateway, _upstream) = gateway("trusted_proxies: [127.0.0.1/32, 10.0.0.0/8]").await;
    for (number, (list, client)) in [
        (&b"X-Forwarded-For: \xff, 203.0.113.7"[..], "203.0.113.7"),
        (b"X-Forwarded-For: \xff\r\nX-Forwarded-For: 203.0.113.7", "203.0.113.7"),
        (b"X-Forwarded-For: 6.6.6.6, \xff, 10.1.1.1", "10.1.1.1"),
        (b"X-Forwarded-For: garbage, 10.1.1.1", "10.1.1.1"),
        (b"Forwarded: for=\"\xff\", for=203.0.113.7", "203.0.113.7"),
        (b"Forwarded: for=_hidden, for=10.1.1.1", "10.1.1.1"),
    ]
    .into_iter()
    .enumerate()
    {
        let start = format!("GET /{number} HTTP/1.1\r\nHost: localhost\r\n");
        gateway.send([start.as_bytes(), list, b"\r\n\r\n"].concat()).await;
        let line = gateway.access_of(&format!("/{number}")).await;
        assert_eq!(line["client.address"], client, "{}", String::from_utf8_lossy(list));
    }
}

#[tokio::test]
async fn only_listed_networks_are_trusted() {
    let head =
        forwarded("trusted_proxies: [10.0.0.0/8, \"::1/128\"]", &["X-Forwarded-For: 6.6.6.6"])
            .await;
    assert_eq!(head.only("x-forwarded-for"), Some("127.0.0.1"));
}

#[tokio::test]
async fn request_id_is_sent_to_client_and_upstream() {
    let (gateway, upstream) = gateway("").await;
    let mut ids = Vec::new();
    for number in 0..3 {
        let answer = gateway.get("/", &[]).await;
        let id = answer.head.only("x-request-id").expect("an id").to_owned();
        let seen = upstream.request(number).await.head;
        assert_eq!(seen.only("x-request-id"), Some(id.as_str()));
        assert!(!ids.contains(&id), "{id} twice");
        ids.push(id);
    }
}

#[tokio::test]
async fn request_id_of_the_upstream_is_replaced() {
    let upstream =
        Upstream::answering(|_| tidegate_testing::respond("200 OK", &["X-Request-Id: theirs"], ""))
            .await;
    let gateway = Config::to(&upstream).start().await;
    let answer = gateway.get("/", &[]).await;
    let sent = upstream.only_request().await.head;
    assert_eq!(answer.head.only("x-request-id"), sent.only("x-request-id"));
}

#[tokio::test]
async fn malformed_request_id_of_a_trusted_proxy_is_replaced() {
    let head = forwarded(TRUSTED, &["X-Request-Id: a\" b"]).await;
    assert!(!head.only("x-request-id").expect("an id").contains('"'), "{}", head.text);
    let head = forwarded(TRUSTED, &[&format!("X-Request-Id: {}", "x".repeat(5000))]).await;
    assert!(head.only("x-request-id").expect("an id").len() < 200);
}

#[tokio::test]
async fn trace_context_is_forwarded() {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let parent = format!("traceparent: {PARENT}");
    let head = forwarded("", &[&parent, "tracestate: a=1,b=2", "baggage: k=v"]).await;
    assert_eq!(head.only("traceparent"), Some(PARENT));
    assert_eq!(head.only("tracestate"), Some("a=1,b=2"));
    assert_eq!(head.only("baggage"), Some("k=v"));
}

#[tokio::test]
async fn rfc9110_7_6_1_hop_by_hop_request_headers_are_not_forwarded() {
    let head = forwarded(
        "",
        &[
            "Connection: keep-alive, X-Private, close-me",
            "X-Private: secret",
            "Close-Me: too",
            "Keep-Alive: timeout=5",
            "Proxy-Connection: keep-alive",
            "TE: gzip",
            "X-Public: stays",
        ],
    )
    .await;
    for name in ["x-private", "close-me", "keep-alive", "proxy-connection", "te"] {
        assert_eq!(head.get(name), None, "{name}");
    }
    assert_eq!(head.only("x-public"), Some("stays"));
}

#[tokio::test]
async fn connection_header_cannot_remove_forwarded_headers() {
    for named in ["X-Forwarded-For", "X-Request-Id", "Forwarded", "X-Forwarded-Proto", "Host"] {
        let (gateway, upstream) = gateway("").await;
        let answer = gateway.get("/", &[&format!("Connection: {named}")]).await;
        assert!([200, 400].contains(&answer.status()), "{named}: {}", answer.status());
        for request in upstream.requests() {
            for name in
                ["x-forwarded-for", "x-request-id", "forwarded", "x-forwarded-proto", "host"]
            {
                assert!(request.head.only(name).is_some(), "{named} took {name} away");
            }
        }
    }
}

#[tokio::test]
async fn hop_by_hop_response_headers_are_not_forwarded() {
    let upstream = Upstream::answering(|_| {
        let fields =
            ["Connection: X-Inner", "X-Inner: secret", "Keep-Alive: timeout=9", "X-Outer: stays"];
        tidegate_testing::respond("200 OK", &fields, "ok")
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let head = gateway.get("/", &[]).await.head;
    assert_eq!(head.get("x-inner"), None, "{}", head.text);
    assert_ne!(head.get("keep-alive"), Some("timeout=9"));
    assert_eq!(head.only("x-outer"), Some("stays"));
}

#[tokio::test]
async fn websocket_handshake_gets_the_same_forwarded_headers() {
    let upstream = Upstream::echo().await;
    let gateway = Config::to(&upstream).start().await;
    let handshake = tidegate_testing::Handshake::to("/ws")
        .set("Host", "shop.test")
        .set("X-Forwarded-For", "6.6.6.6");
    let (answer, _socket) = handshake.open(&gateway).await;
    let head = upstream.only_request().await.head;
    assert_eq!(head.only("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(head.only("x-forwarded-proto"), Some("http"));
    assert_eq!(head.only("x-forwarded-host"), Some("shop.test"));
    assert_eq!(head.only("x-request-id"), answer.only("x-request-id"));
    assert!(answer.only("x-request-id").is_some());
}

/// What the upstream is told of a request from a trusted proxy: the client and the scheme by
/// variables, and the headers.
async fn believed(fields: &[&str]) -> (Option<String>, Option<String>, Head) {
    let upstream = Upstream::saying("ok").await;
    let set = "headers: {request: {set: {X-Client: \"{client.address}\", X-Scheme: \"{scheme}\"}}}";
    let gateway = Config::to(&upstream).with(set).top(TRUSTED).start().await;
    assert_eq!(gateway.get("/", fields).await.status(), 200);
    let head = upstream.only_request().await.head;
    let only = |name: &str| head.only(name).map(str::to_owned);
    (only("x-client"), only("x-scheme"), head)
}

#[tokio::test]
async fn rfc7239_forwarded_alone_of_a_trusted_proxy_is_used() {
    for (forwarded, client, scheme) in [
        ("for=203.0.113.7;proto=https;host=shop.test", "203.0.113.7", "https"),
        ("For=\"[2001:db8::7]:4711\"; Proto=HTTPS", "2001:db8::7", "https"),
        ("for=203.0.113.7;proto=wss, for=127.0.0.1", "203.0.113.7", "https"),
        ("for=6.6.6.6;proto=https, for=203.0.113.7;proto=http", "203.0.113.7", "http"),
        ("for=\"6.6.6.6;proto=https, for=203.0.113.7;proto=http", "203.0.113.7", "http"),
        ("for=\"[::ffff:203.0.113.7]\";proto=https", "203.0.113.7", "https"),
        ("for=unknown;proto=https", "127.0.0.1", "https"),
        ("proto=https", "127.0.0.1", "https"),
        ("for=203.0.113.7", "203.0.113.7", "http"),
        ("nonsense", "127.0.0.1", "http"),
        ("", "127.0.0.1", "http"),
    ] {
        let (told_client, told_scheme, head) =
            believed(&[&format!("Forwarded: {forwarded}")]).await;
        assert_eq!(told_client.as_deref(), Some(client), "{forwarded}");
        assert_eq!(told_scheme.as_deref(), Some(scheme), "{forwarded}");
        assert_eq!(head.only("x-forwarded-proto"), Some(scheme), "{forwarded}");
        let addresses = head.list("x-forwarded-for");
        assert_eq!(addresses.first().map(String::as_str), Some(client), "{forwarded}");
        assert_eq!(addresses.last().map(String::as_str), Some("127.0.0.1"), "{forwarded}");
    }
    let (_, _, head) =
        believed(&["Host: inner", "Forwarded: for=203.0.113.7;host=shop.test"]).await;
    assert_eq!(head.only("x-forwarded-host"), Some("shop.test"));
}

#[tokio::test]
async fn rfc7239_7_4_x_forwarded_headers_are_copied_into_forwarded() {
    let fields = [
        "Host: inner",
        "X-Forwarded-For: 203.0.113.7",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: shop.test",
    ];
    let (_, _, head) = believed(&fields).await;
    assert_eq!(
        head.list("forwarded"),
        [
            "for=203.0.113.7;host=\"shop.test\";proto=https",
            "for=127.0.0.1;host=\"inner\";proto=http"
        ]
    );
}

#[tokio::test]
async fn x_forwarded_for_precedes_a_forwarded_of_unknown_origin() {
    let fields = ["X-Forwarded-For: 203.0.113.7", "Forwarded: for=6.6.6.6"];
    assert_eq!(believed(&fields).await.0.as_deref(), Some("203.0.113.7"));
    let fields = ["X-Forwarded-Proto: http", "Forwarded: for=203.0.113.7;proto=https"];
    assert_eq!(believed(&fields).await.1.as_deref(), Some("http"));
}

#[tokio::test]
async fn ws_and_wss_count_as_http_and_https() {
    for (reported, scheme) in [
        ("wss", "https"),
        ("WSS", "https"),
        ("https,wss", "https"),
        (" , https", "https"),
        ("ws", "http"),
        ("http", "http"),
        ("gopher", "http"),
    ] {
        let fields = [&*format!("X-Forwarded-Proto: {reported}")];
        assert_eq!(believed(&fields).await.1.as_deref(), Some(scheme), "{reported}");
    }
}

#[tokio::test]
async fn https_redirect_accepts_https_reported_by_a_trusted_proxy() {
    let upstream = Upstream::saying("ok").await;
    let config = Config::to(&upstream).listening("redirect_to_https: on").top(TRUSTED);
    let gateway = config.start().await;
    for (field, status) in [
        ("Forwarded: for=203.0.113.7;proto=https", 200),
        ("Forwarded: for=203.0.113.7;proto=http", 308),
        ("X-Forwarded-Proto: wss", 200),
        ("X-Forwarded-Proto: ws", 308),
    ] {
        assert_eq!(gateway.get("/", &[field]).await.status(), status, "{field}");
    }
}

#[tokio::test]
async fn rfc4291_2_5_5_2_mapped_addresses_match_ipv4() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream)
        .top("trusted_proxies: [\"::ffff:127.0.0.0/104\"]")
        .route("closed", "path_prefix: /closed", "service")
        .with("maintenance: {allow: [203.0.113.0/24]}")
        .route("mapped", "path_prefix: /mapped", "service")
        .with("maintenance: {allow: [\"::ffff:203.0.113.7\"]}")
        .start()
        .await;
    for (number, list) in [
        "203.0.113.7",
        "::ffff:203.0.113.7",
        "[::ffff:203.0.113.7]:4711",
        "203.0.113.7,",
        "203.0.113.7, , 127.0.0.1",
        "203.0.113.7, ::ffff:127.0.0.1",
    ]
    .into_iter()
    .enumerate()
    {
        let field = format!("X-Forwarded-For: {list}");
        for folder in ["closed", "mapped"] {
            let path = format!("/{folder}/{number}");
            assert_eq!(gateway.get(&path, &[&field]).await.status(), 200, "{list}");
            assert_eq!(gateway.access_of(&path).await["client.address"], "203.0.113.7", "{list}");
        }
    }
}
