//! Rejected handshakes get a reason that a developer can use.

use futures_util::{SinkExt, StreamExt};
use std::time::Duration;
use tidegate_testing::{Config, Handshake, Upstream, free_port, next, within};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn websocket_off_refuses_the_upgrade_and_serves_polling() {
    // YAML 1.1 reads `off` and `no` as a boolean, YAML 1.2 as a string; people quote at times.
    for spelling in ["off", "Off", "\"off\"", "'off'", "false"] {
        let upstream = Upstream::echo().await;
        let config = Config::to(&upstream).with(&format!("websocket: {spelling}"));
        let gateway = config.start().await;
        let refusal = gateway.refused(&Handshake::to("/api/notifications/ws")).await;
        assert_eq!(refusal.status(), 403, "{spelling}");
        let _ = refusal.error();
        assert_eq!(upstream.connections(), 0, "the upstream is not asked");
        let polled = gateway.get("/api/notification", &[]).await;
        assert_eq!((polled.status(), polled.text().as_str()), (200, "polled"));
    }
}

#[tokio::test]
async fn websocket_on_is_the_default_and_can_be_written() {
    for spelling in ["on", "\"on\"", "true", "{idle_timeout: 1h}", "{}"] {
        let upstream = Upstream::echo().await;
        let config = Config::to(&upstream).with(&format!("websocket: {spelling}"));
        let gateway = config.start().await;
        let mut socket = gateway.websocket("/").await;
        socket.send(Message::text(spelling)).await.expect("sent");
        assert_eq!(next(&mut socket).await, Some(Message::text(spelling)));
    }
}

#[tokio::test]
async fn websocket_off_applies_to_its_route_only() {
    let upstream = Upstream::echo().await;
    let gateway = Config::to(&upstream)
        .route("quiet", "path_prefix: /quiet", "service")
        .with("websocket: off")
        .start()
        .await;
    assert_eq!(gateway.refused(&Handshake::to("/quiet/ws")).await.status(), 403);
    assert_eq!(gateway.refused(&Handshake::to("/x/../quiet//ws")).await.status(), 403);
    drop(gateway.websocket("/ws").await);
}

#[tokio::test]
async fn foreign_origin_is_answered_403() {
    let upstream = Upstream::echo().await;
    let gateway = Config::to(&upstream)
        .cors(&["http://localhost:5173", "https://*.example.com"], "")
        .start()
        .await;
    let foreign = [
        "https://evil.example",
        "http://localhost:5174",
        "https://localhost:5173",
        "https://example.com",
        "https://evilexample.com",
        "https://a.example.com.evil.example",
        "http://a.example.com",
        "null",
        "not an origin",
        "",
    ];
    for origin in foreign {
        let refusal = gateway.refused(&Handshake::to("/").set("Origin", origin)).await;
        assert_eq!(refusal.status(), 403, "{origin}");
        let _ = refusal.error();
        assert_eq!(refusal.head.get("access-control-allow-origin"), None);
    }
    assert_eq!(upstream.connections(), 0, "the upstream is not asked");
    for origin in ["http://localhost:5173", "https://a.example.com", "https://a.b.example.com"] {
        let handshake = Handshake::to("/").set("Origin", origin);
        let (_, mut socket) = handshake.open(&gateway).await;
        socket.send(Message::text(origin)).await.expect("sent");
        assert_eq!(next(&mut socket).await, Some(Message::text(origin)));
        let passed = upstream.requests().pop().expect("a request").head;
        assert_eq!(passed.only("origin"), Some(origin), "the upstream may judge for itself");
    }
}

#[tokio::test]
async fn handshake_without_an_origin_is_accepted() {
    let upstream = Upstream::echo().await;
    let gateway = Config::to(&upstream).cors(&["http://localhost:5173"], "").start().await;
    drop(Handshake::to("/").open(&gateway).await);
}

#[tokio::test]
async fn own_origin_is_accepted() {
    let upstream = Upstream::echo().await;
    let gateway = Config::to(&upstream).cors(&["http://localhost:5173"], "").start().await;
    let own = |host: &str, origin: &str| Handshake::to("/").set("Host", host).set("Origin", origin);
    drop(own("app.test:3000", "http://app.test:3000").open(&gateway).await);
    drop(own("App.test", "http://app.test").open(&gateway).await);
    for (host, origin) in [
        ("app.test:3000", "http://app.test:3001"),
        ("app.test:3000", "http://app.test"),
        ("app.test", "http://x.app.test"),
        ("app.test", "http://app.test.evil.example"),
    ] {
        assert_eq!(gateway.refused(&own(host, origin)).await.status(), 403, "{origin} at {host}");
    }
}

#[tokio::test]
async fn rfc6454_4_own_origin_has_scheme_http_or_https() {
    let upstream = Upstream::echo().await;
    let config = Config::to(&upstream).top("trusted_proxies: [127.0.0.1]");
    let gateway = config.start().await;
    for (scheme, origin, is_own) in [
        ("http", "http://app.test", true),
        ("http", "https://app.test", true),
        ("ws", "http://app.test", true),
        ("https", "https://app.test", true),
        ("https", "https://app.test:443", true),
        ("wss", "https://app.test", true),
        ("https", "http://app.test", false),
        ("https", "http://app.test:80", false),
        ("wss", "http://app.test", false),
        ("https", "wss://app.test", false),
        ("http", "ws://app.test", false),
        ("http", "foo://app.test", false),
        ("http", "chrome-extension://app.test", false),
        ("http", "file://", false),
        ("http", "null", false),
    ] {
        let handshake = Handshake::to("/")
            .set("Host", "app.test")
            .set("X-Forwarded-Proto", scheme)
            .set("Origin", origin);
        let told = format!("{origin} by {scheme}");
        match is_own {
            true => drop(handshake.open(&gateway).await),
            false => assert_eq!(gateway.refused(&handshake).await.status(), 403, "{told}"),
        }
    }
}

#[tokio::test]
async fn own_origin_uses_the_host_reported_by_a_trusted_proxy() {
    let upstream = Upstream::echo().await;
    let trusting = Config::to(&upstream).top("trusted_proxies: [127.0.0.1]").start().await;
    let strict = Config::to(&upstream).start().await;
    let of_page = Handshake::to("/").set("Host", "inner").set("Origin", "https://shop.test:8443");
    for (name, value) in [
        ("X-Forwarded-Host", "shop.test:8443"),
        ("X-Forwarded-Host", "Shop.test:8443, middle.test"),
        ("Forwarded", "for=203.0.113.7;host=\"shop.test:8443\";proto=https"),
    ] {
        drop(of_page.clone().set(name, value).open(&trusting).await);
        let refused = strict.refused(&of_page.clone().set(name, value)).await;
        assert_eq!(refused.status(), 403, "a stranger's {name}: {value}");
    }
    let other = of_page.clone().set("X-Forwarded-Host", "other.test");
    assert_eq!(trusting.refused(&other).await.status(), 403);
    assert_eq!(trusting.refused(&of_page).await.status(), 403);
}

#[tokio::test]
async fn websocket_origins_override_cors() {
    let upstream = Upstream::echo().await;
    let page = "https://page.example";
    let config = |line: &str| Config::to(&upstream).cors(&[page], "").with(line);
    let status = async |config: &Config, origin: &str| {
        let handshake = Handshake::to("/").set("Origin", origin);
        let gateway = config.start().await;
        let mut wire = gateway.connect().await;
        wire.send(handshake.bytes()).await;
        wire.head().await.status()
    };
    let evil = "https://evil.example";
    for (line, origin, expected) in [
        ("websocket: on", page, 101),
        ("websocket: on", evil, 403),
        ("websocket: {origins: same}", page, 403),
        ("websocket: {origins: same}", "http://localhost", 101),
        ("websocket: {origins: any}", evil, 101),
        ("websocket: {origins: any}", "not an origin", 101),
        ("websocket: {origins: [\"https://*.other.example\"]}", page, 403),
        ("websocket: {origins: [\"https://*.other.example\"]}", "https://a.other.example", 101),
        ("websocket: {origins: [\"https://*.other.example\"]}", "http://localhost", 101),
        ("websocket: {origins: [\"*\"]}", evil, 101),
        ("websocket: {origins: [\"file://\"]}", "file://", 101),
        ("websocket: {origins: [\"file://\"]}", "qrc://", 403),
        ("websocket: {origins: []}", page, 403),
        // Without a policy there is no list to inherit.
        ("cors: off", page, 403),
        ("cors: off", "http://localhost", 101),
        ("cors: {allow_origins: [\"*\"]}", "qrc://", 101),
    ] {
        assert_eq!(status(&config(line), origin).await, Some(expected), "{line}: {origin}");
    }
    let plain = Config::to(&upstream);
    assert_eq!(status(&plain, "http://localhost").await, Some(101), "no cors: its own page");
    assert_eq!(status(&plain, evil).await, Some(403), "no cors: another page");
}

#[tokio::test]
async fn refused_origin_names_the_deciding_key_and_is_logged() {
    let upstream = Upstream::echo().await;
    let foreign = Handshake::to("/?userId=u-1").set("Origin", "https://evil.example");
    for (config, key) in [
        (Config::to(&upstream).cors(&["https://a.example"], ""), "see cors.allow_origins"),
        (Config::to(&upstream), "see websocket.origins"),
    ] {
        let config = config.top("identity: {user_id: [{query: userId}]}");
        let gateway = config.start().await;
        let refusal = gateway.refused(&foreign).await;
        assert!(refusal.text().contains(key), "{}", refusal.text());
        assert_eq!(gateway.access_of("/").await["user.id"], "u-1");
    }
    assert_eq!(upstream.connections(), 0, "the upstream is not asked");
}

#[tokio::test]
async fn rfc6455_4_2_1_malformed_handshake_is_answered_400() {
    let upstream = Upstream::echo().await;
    let gateway = Config::to(&upstream).start().await;
    let good = || Handshake::to("/");
    let bad = [
        ("a key for this hop", good().set("Connection", "Upgrade, Sec-WebSocket-Key")),
        ("a version for this hop", good().set("Connection", "sec-websocket-version, upgrade")),
        ("no key", good().without("Sec-WebSocket-Key")),
        ("an empty key", good().set("Sec-WebSocket-Key", "")),
        ("a short key", good().set("Sec-WebSocket-Key", "c2hvcnQ=")),
        ("no base64", good().set("Sec-WebSocket-Key", "!!!!!!!!!!!!!!!!!!!!!!==")),
        ("no Connection: Upgrade", good().set("Connection", "keep-alive")),
        ("no Connection", good().without("Connection")),
        ("HTTP/1.0", good().line("GET / HTTP/1.0")),
    ];
    for (what, handshake) in bad {
        let refusal = gateway.refused(&handshake).await;
        assert_eq!(refusal.status(), 400, "{what}");
        let _ = refusal.error();
    }
    assert_eq!(upstream.connections(), 0, "the upstream is not asked");
}

#[tokio::test]
async fn rfc6455_4_4_other_version_is_answered_426_with_the_supported_one() {
    let upstream = Upstream::echo().await;
    let gateway = Config::to(&upstream).start().await;
    for version in ["8", "0", "14", "13, 8", "x"] {
        let refusal =
            gateway.refused(&Handshake::to("/").set("Sec-WebSocket-Version", version)).await;
        assert_eq!(refusal.status(), 426, "{version}");
        assert_eq!(refusal.head.only("sec-websocket-version"), Some("13"), "{version}");
        let _ = refusal.error();
    }
    let refusal = gateway.refused(&Handshake::to("/").without("Sec-WebSocket-Version")).await;
    assert!([400, 426].contains(&refusal.status()));
    assert_eq!(upstream.connections(), 0, "the upstream is not asked");
}

#[tokio::test]
async fn handshake_with_another_method_is_refused() {
    let upstream = Upstream::echo().await;
    let gateway = Config::to(&upstream).start().await;
    for method in ["POST", "PUT", "DELETE"] {
        let handshake = Handshake::to("/").line(&format!("{method} / HTTP/1.1"));
        let refusal = gateway.refused(&handshake.set("Content-Length", "0")).await;
        assert!([400, 405].contains(&refusal.status()), "{method}: {}", refusal.status());
        if refusal.status() == 405 {
            assert!(refusal.head.list("allow").contains(&"get".to_owned()));
        }
    }
    assert_eq!(upstream.connections(), 0, "the upstream is not asked");
}

#[tokio::test]
async fn other_upgrades_are_not_forwarded() {
    let upstream = Upstream::saying("plain").await;
    let gateway = Config::to(&upstream).start().await;
    let answer = gateway
        .get(
            "/",
            &["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"],
        )
        .await;
    assert_eq!(answer.text(), "plain", "RFC 9110, 7.8: a server may ignore Upgrade");
    let passed = upstream.only_request().await.head;
    assert_eq!(passed.get("upgrade"), None);
    assert_eq!(passed.get("http2-settings"), None);
}

#[tokio::test]
async fn unreachable_upstream_is_answered_502() {
    let port = free_port();
    let gateway = Config::to_address(format!("127.0.0.1:{port}")).start().await;
    let refusal = gateway.refused(&Handshake::to("/")).await;
    assert_eq!(refusal.status(), 502);
    let _ = refusal.error();
    assert!(!refusal.text().contains(&port.to_string()), "no internal address: {}", refusal.text());
}

#[tokio::test]
async fn upstream_that_closes_without_a_response_is_answered_502() {
    let upstream = Upstream::scripted(|mut wire, _| async move {
        wire.head().await;
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let refusal = gateway.refused(&Handshake::to("/")).await;
    assert_eq!(refusal.status(), 502);
    let _ = refusal.error();
}

#[tokio::test]
async fn silent_upstream_is_answered_504() {
    let upstream = Upstream::scripted(|mut wire, _| async move {
        wire.read_to_end().await;
    })
    .await;
    let gateway = Config::to(&upstream).with("timeouts: {read: 300ms}").start().await;
    let refusal = gateway.refused(&Handshake::to("/")).await;
    assert_eq!(refusal.status(), 504);
    let _ = refusal.error();
}

#[tokio::test]
async fn read_timeout_does_not_end_an_open_session() {
    let upstream = Upstream::echo().await;
    let config = Config::to(&upstream).with("timeouts: {read: 200ms, write: 200ms}");
    let gateway = config.start().await;
    let mut socket = gateway.websocket("/").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    socket.send(Message::text("still")).await.expect("sent");
    assert_eq!(next(&mut socket).await, Some(Message::text("still")));
}

#[tokio::test]
async fn idle_timeout_ends_a_silent_session() {
    let upstream = Upstream::echo().await;
    let config = Config::to(&upstream).with("websocket: {idle_timeout: 300ms}");
    let gateway = config.start().await;
    let mut socket = gateway.websocket("/idle").await;
    while let Some(message) = next(&mut socket).await {
        assert!(matches!(message, Message::Close(_)), "{message:?}");
    }
    let line = gateway.access("a WebSocket's end", |line| line["event"] == "websocket.close").await;
    assert_eq!(line["websocket.close.initiator"], "idle");
}

#[tokio::test]
async fn idle_timeout_counts_messages_of_the_upstream_as_activity() {
    let upstream = Upstream::websocket(|mut socket, _| async move {
        for number in 0..15 {
            tokio::time::sleep(Duration::from_millis(150)).await;
            if socket.send(Message::text(number.to_string())).await.is_err() {
                return;
            }
        }
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await;
    let config = Config::to(&upstream).with("websocket: {idle_timeout: 1s}");
    let gateway = config.start().await;
    let mut socket = gateway.websocket("/").await;
    for number in 0..15 {
        assert_eq!(next(&mut socket).await, Some(Message::text(number.to_string())));
    }
}

#[tokio::test]
async fn idle_timeout_counts_messages_of_the_client_as_activity() {
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::websocket(move |mut socket, _| {
        let sender = sender.clone();
        async move {
            while let Some(Ok(message)) = socket.next().await {
                let _ = sender.send(message);
            }
        }
    })
    .await;
    let config = Config::to(&upstream).with("websocket: {idle_timeout: 1s}");
    let gateway = config.start().await;
    let mut socket = gateway.websocket("/").await;
    for number in 0..15 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        socket.send(Message::text(number.to_string())).await.expect("sent");
        let got = within("the message at the upstream", received.recv()).await;
        assert_eq!(got, Some(Message::text(number.to_string())));
    }
}
