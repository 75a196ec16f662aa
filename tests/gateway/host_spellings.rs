//! Equivalent spellings of a host are the same host (RFC 9110, section 7.2).

use tidegate_testing::http2::{END_HEADERS, END_STREAM, Frames, HEADERS, field};
use tidegate_testing::{Config, Gateway, Upstream, get, ok};

async fn guarded() -> (Gateway, Upstream) {
    let upstream =
        Upstream::answering(|request| ok(request.head.get("host").unwrap_or("none"))).await;
    let gateway = Config::new()
        .upstream("service", &[upstream.address()])
        .route("all", "path_prefix: /", "service")
        .answer(
            "guard",
            "hosts: [admin.example, \"[0::1]\", \"*.int.example\", dotted.example.]",
            "respond: {status: 403, body: guard}",
        )
        .listening("protocols: [h1, h2c]")
        .start()
        .await;
    (gateway, upstream)
}

/// The status over HTTP/2; `None` where the stream is reset.
async fn over_http2(gateway: &Gateway, authority: &str) -> Option<u16> {
    let socket = tokio::net::TcpStream::connect(gateway.address()).await.ok()?;
    let (client, connection) = h2::client::handshake(socket).await.ok()?;
    let running = tokio::spawn(connection);
    let mut client = client.ready().await.ok()?;
    let request = http::Request::get(format!("http://{authority}/x")).body(()).ok()?;
    let (response, _) = client.send_request(request, true).ok()?;
    let status = response.await.ok().map(|response| response.status().as_u16());
    running.abort();
    status
}

#[tokio::test]
async fn no_spelling_of_a_host_bypasses_a_match() {
    let (gateway, upstream) = guarded().await;
    for (host, status) in [
        ("admin.example", 403),
        ("ADMIN.example:80", 403),
        ("admin.example.", 403),
        ("admin.example.:80", 403),
        ("a.int.example.", 403),
        ("dotted.example", 403),
        ("[0:0:0:0:0:0:0:1]", 403),
        ("[::0001]:8080", 403),
        ("%61dmin.example", 400),
        ("admin%2eexample", 400),
        ("admin.example..", 400),
        ("admin..example", 400),
        (".admin.example", 400),
        (".", 400),
        // As a list, which services split: X-Forwarded-Host.
        ("admin.example,a", 400),
        ("a,admin.example", 400),
        ("admin.example;a", 400),
        ("admin.example:65536", 400),
    ] {
        let answer = gateway.get("/x", &[&format!("Host: {host}")]).await;
        assert_eq!(answer.status(), status, "{host}");
        let by_http2 = over_http2(&gateway, host).await;
        assert!(by_http2.is_none_or(|found| found == status), "{host} over HTTP/2: {by_http2:?}");
    }
    assert_eq!(upstream.connections(), 0, "the upstream is not asked");
    let refused = gateway.get("/x", &["Host: admin%2eexample"]).await;
    assert!(refused.error()["message"].as_str().is_some_and(|it| it.contains("host")));
}

#[tokio::test]
async fn upstream_gets_the_canonical_host() {
    let (gateway, _upstream) = guarded().await;
    for (host, seen) in [
        ("shop.example.", "shop.example"),
        ("Shop.example.:81", "Shop.example:81"),
        ("[2001:DB8::0:1]:81", "[2001:db8::1]:81"),
        ("shop.example", "shop.example"),
        ("shop.example:", "shop.example"),
        ("shop.example:0080", "shop.example:80"),
        ("[::2]:", "[::2]"),
    ] {
        assert_eq!(gateway.get("/x", &[&format!("Host: {host}")]).await.text(), seen);
    }
    let absolute = "GET http://shop.example./x HTTP/1.1\r\nHost: shop.example.\r\n\r\n";
    assert_eq!(gateway.send(absolute).await.text(), "shop.example");
}

#[tokio::test]
async fn rfc9112_3_2_2_absolute_target_and_host_are_compared_as_hosts() {
    let (gateway, _upstream) = guarded().await;
    let ask = async |authority: &str, host: &str| {
        let head = format!("GET http://{authority}/x HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let mut wire = gateway.connect().await;
        // The second request on a connection is read by another way than the first.
        for _ in 0..2 {
            wire.send(&head).await;
            let answer = wire.response().await;
            if answer.status() != 200 {
                return Err(answer.status());
            }
            assert_eq!(answer.text(), host.trim_end_matches('.'), "{head}");
        }
        Ok(())
    };
    for (authority, host) in [
        ("shop.example", "shop.example"),
        ("SHOP.example", "shop.example"),
        ("shop.example:80", "shop.example"),
        ("shop.example", "shop.example:80"),
        ("shop.example.", "shop.example"),
        ("shop.example", "shop.example."),
        ("[0::2]", "[::2]"),
        ("shop.example:", "shop.example"),
        ("shop.example:080", "shop.example"),
        ("shop.example:", "shop.example:80"),
    ] {
        assert_eq!(ask(authority, host).await, Ok(()), "{authority} {host}");
    }
    assert_eq!(ask("ADMIN.example:80", "admin.example").await, Err(403));
    for (authority, host) in [
        ("shop.example", "other.example"),
        ("shop.example:81", "shop.example"),
        ("shop.example:443", "shop.example"),
        ("a@shop.example", "shop.example"),
    ] {
        assert_eq!(ask(authority, host).await, Err(400), "{authority} {host}");
    }
}

#[tokio::test]
async fn redirect_that_needs_a_missing_host_is_answered_400() {
    let gateway = Config::new()
        .answer("all", "path_prefix: /", "redirect: {to: \"https://{host}{target}\"}")
        .answer("fixed", "path_prefix: /fixed", "redirect: {to: \"https://b.test{path}\"}")
        .start()
        .await;
    for head in ["GET /x HTTP/1.0\r\n\r\n", "GET /x HTTP/1.1\r\nHost: \r\n\r\n"] {
        let answer = gateway.send(head).await;
        assert_eq!((answer.status(), answer.head.get("location")), (400, None), "{head}");
    }
    let fixed = gateway.send("GET /fixed HTTP/1.0\r\n\r\n").await;
    assert_eq!(fixed.head.only("location"), Some("https://b.test/fixed"));
    let secured = Config::new()
        .answer("all", "path_prefix: /", "respond: {body: hi}")
        .listening("redirect_to_https: on")
        .start()
        .await;
    for head in [
        "GET /x HTTP/1.0\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: \r\n\r\n",
        "GET //evil.test/ HTTP/1.1\r\nHost: \r\n\r\n",
    ] {
        let answer = secured.send(head).await;
        assert_eq!((answer.status(), answer.head.get("location")), (400, None), "{head}");
    }
    let moved = secured.send(get("/x", &["Host: a.test.:80"])).await;
    assert_eq!(moved.head.only("location"), Some("https://a.test/x"));
}

#[tokio::test]
async fn rfc9112_3_2_2_http10_absolute_target_needs_no_host() {
    let (gateway, _upstream) = guarded().await;
    let ask =
        async |target: &str| gateway.send(&format!("GET {target} HTTP/1.0\r\n\r\n")).await.status();
    assert_eq!(ask("http://admin.example/x").await, 403);
    assert_eq!(ask("HTTP://ADMIN.example.:80/x").await, 403);
    assert_eq!(ask("http://shop.example/x").await, 200);
    assert_eq!(ask("/x").await, 200);
}

/// The status over HTTP/2, where it is one of HPACK's static table, to a GET of `/evil.example/x` with this field.
async fn status_over_http2(gateway: &Gateway, name: &str, value: &str) -> u16 {
    let mut client = Frames::connect(gateway).await;
    let fields =
        [(":method", "GET"), (":scheme", "http"), (":path", "/evil.example/x"), (name, value)];
    let head: Vec<u8> =
        fields.iter().flat_map(|(name, value)| field(name.as_bytes(), value.as_bytes())).collect();
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &head).await.expect("sent");
    match client.next_of(HEADERS).await.payload[0] {
        0x88 => 200,
        0x8c => 400,
        other => panic!("HPACK's {other:x}"),
    }
}

#[tokio::test]
async fn rfc9110_4_2_1_host_without_a_name_is_answered_400() {
    let upstream = Upstream::saying("hello").await;
    let redirect = |to: &str| {
        Config::new()
            .answer("all", "path_prefix: /", &format!("redirect: {{to: \"{to}\"}}"))
            .listening("protocols: [h1, h2c]")
    };
    let forward = Config::to(&upstream).listening("protocols: [h1, h2c]");
    for config in [
        redirect("https://{host}{path}"),
        redirect("https://{authority}{path}"),
        redirect("https://www.{host}/x"),
        forward.clone(),
        forward.speaking("protocols: [h2c]"),
    ] {
        let gateway = config.start().await;
        for host in ["", ":80", ":", ":0", ".", ".:80"] {
            for version in ["1.1", "1.0"] {
                let head = format!("GET /evil.example/x HTTP/{version}\r\nHost: {host}\r\n\r\n");
                let answer = gateway.send(head).await;
                assert_eq!((answer.status(), answer.head.get("location")), (400, None), "{host}");
                let why = answer.error();
                assert!(why["message"].as_str().is_some_and(|it| it.contains("Host")), "{why}");
            }
            for name in [":authority", "host"] {
                if (name, host) != (":authority", "") {
                    let status = status_over_http2(&gateway, name, host).await;
                    assert_eq!(status, 400, "{name}: {host}");
                }
            }
        }
    }
    assert_eq!(upstream.connections(), 0, "the upstream is not asked");
}
