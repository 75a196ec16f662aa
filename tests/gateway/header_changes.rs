//! Headers are set, added and removed as configured, and no variable can inject a header.

use std::path::Path;
use tidegate_testing::{Config, Handshake, Upstream, cli, respond};

#[tokio::test]
async fn request_headers_of_route_and_global_settings_are_applied() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream)
        .top("identity: {user_id: [{query: userId}]}")
        .top("headers: {request: {set: {X-Edge: tidegate, X-Tier: free}, remove: [X-Internal]}}")
        .with("headers:")
        .with("  request:")
        .with("    set:")
        .with("      X-Tier: \"{route}-paid\"")
        .with("      X-Real-IP: \"{client.address}\"")
        .with("      X-User: \"{user.id}\"")
        .with("      X-Was: \"{method} {scheme}://{authority}{target} {host} {path} {query}\"")
        .with("    add: {X-Seen: two}")
        .start()
        .await;
    let host = "Host: shop.example:8080";
    let sent = [
        host,
        "X-Tier: gold",
        "X-Internal: 1",
        "X-Seen: one",
        "X-Real-IP: 6.6.6.6",
        "X-User: root",
    ];
    assert_eq!(gateway.get("/a//b?userId=u1&x=%20", &sent).await.text(), "ok");
    let seen = upstream.request(0).await.head;
    assert!(seen.text.contains("\r\nX-Edge: tidegate\r\n"), "spelt as written: {}", seen.text);
    assert_eq!(seen.only("x-tier"), Some("all-paid"), "the route's word replaces the top's");
    assert_eq!(seen.only("x-real-ip"), Some("127.0.0.1"), "a stranger's word is replaced");
    assert_eq!(seen.only("x-user"), Some("u1"));
    assert_eq!(seen.get("x-internal"), None);
    assert_eq!(seen.all("x-seen"), ["one", "two"]);
    let was = "GET http://shop.example:8080/a/b?userId=u1&x=%20 shop.example /a/b userId=u1&x=%20";
    assert_eq!(seen.only("x-was"), Some(was));

    gateway.get("/", &["X-User: root"]).await;
    let seen = upstream.request(1).await.head;
    assert_eq!(seen.get("x-user"), None, "what comes out empty does not leave the client's word");
}

#[tokio::test]
async fn response_headers_are_applied_to_every_response() {
    let upstream = Upstream::answering(|_| {
        respond(
            "200 OK",
            &["Server: secret/1.2", "X-Powered-By: php", "Cache-Control: private"],
            "ok",
        )
    })
    .await;
    let gateway = Config::new()
        .upstream("service", &[upstream.address()])
        .route("api", "path_prefix: /api", "service")
        .with("headers: {response: {set: {cache-control: no-store}, add: {Vary: X-Tier}}}")
        .top("headers: {response: {set: {Strict-Transport-Security: max-age=31536000, Server: edge}, remove: [x-powered-by]}}")
        .cors(&["https://app.example"], "")
        .start()
        .await;
    let answer = gateway.get("/api", &[]).await;
    assert_eq!(answer.head.only("strict-transport-security"), Some("max-age=31536000"));
    assert_eq!(answer.head.only("server"), Some("edge"));
    assert_eq!(answer.head.only("cache-control"), Some("no-store"));
    assert_eq!(answer.head.get("x-powered-by"), None);
    assert_eq!(answer.head.list("vary"), ["origin", "x-tier"], "beside what CORS says");
    let missed = gateway.get("/nowhere", &[]).await;
    assert_eq!(missed.status(), 404);
    assert_eq!(missed.head.only("server"), Some("edge"), "the gateway's own answers as well");
}

#[tokio::test]
async fn header_changes_apply_to_websocket_handshakes() {
    let upstream = Upstream::echo().await;
    let gateway = Config::to(&upstream)
        .with("headers: {request: {set: {x-user: \"{client.address}\"}}, response: {set: {x-edge: a}}}")
        .start()
        .await;
    let (head, _socket) = Handshake::to("/ws").open(&gateway).await;
    assert_eq!(head.only("x-edge"), Some("a"));
    assert_eq!(upstream.only_request().await.head.only("x-user"), Some("127.0.0.1"));
}

#[tokio::test]
async fn variable_cannot_inject_a_header() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream)
        .top("identity: {user_id: [{query: userId}]}")
        .with("headers: {request: {set: {x-user: \"<{user.id}>\"}}, response: {set: {x-user: \"<{user.id}>\", x-query: \"{query}\"}}}")
        .start()
        .await;
    let answer = gateway.get("/?userId=a%0D%0AX-Admin:%201%0A%00b", &[]).await;
    assert_eq!(answer.text(), "ok");
    for head in [&answer.head, &upstream.only_request().await.head] {
        assert_eq!(head.get("x-admin"), None, "{}", head.text);
        // An id that can't be shown ends with a hash of the whole.
        let user = head.only("x-user").unwrap_or_default();
        assert!(user.starts_with("<a\u{fffd}\u{fffd}X-Admin: 1\u{fffd}\u{fffd}b…"), "{user}");
    }
}

#[tokio::test]
async fn invalid_header_changes_are_refused_by_check() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tidegate.yaml");
    let yaml = Config::to_address("127.0.0.1:1")
        .with("headers:")
        .with("  request: {set: {Connection: close, Host: a, X-A: \"{user.di}\"}}")
        .with("  response: {remove: [Content-Length, transfer-encoding], add: {Sec-WebSocket-Accept: x}}")
        .with("  respons: {}")
        .top("headers: {request: {set: {X-Request-Id: a, x-b: \"a\\nb\", X-C: \"{\", x-e: {client.address}, bad name: a, x-d: 1, X-D: 2}}}")
        .yaml(3000);
    std::fs::write(&file, yaml).expect("the file");
    let run =
        cli(Path::new("."), &["check", "--config", file.to_str().expect("a path")], &[]).await;
    assert_eq!(run.code, Some(78));
    for told in [
        "routes[0].headers.request.set.X-A: `{user.di}`: unknown variable `{user.di}`; did you mean \
         `{user.id}`?",
        "routes[0].headers.request.set.Connection: the header `Connection` cannot be changed: it applies to a single connection",
        "routes[0].headers.request.set.Host: the header `Host` cannot be changed: use `rewrite.host`",
        "routes[0].headers.response.remove[0]: the header `Content-Length` cannot be changed: it defines where the body ends",
        "routes[0].headers.response.remove[1]: the header `transfer-encoding` cannot be changed",
        "routes[0].headers.response.add.Sec-WebSocket-Accept: the header `Sec-WebSocket-Accept` cannot be changed: it belongs to",
        "routes[0].headers.respons: unknown key",
        "help: did you mean `response`?",
        "help: put it in quotes: \"{client.address}\"",
        "headers.request.set.X-Request-Id: the header `X-Request-Id` cannot be changed: the gateway sets it",
        "headers.request.set.x-b: a header value must not contain line breaks",
        "headers.request.set.bad name: not a valid header name; write it like `X-User-Id`",
        "headers.request.set.X-C: `{`: unbalanced brace",
        "the same header is listed twice",
    ] {
        assert!(run.stderr.contains(told), "{told} in:\n{}", run.stderr);
    }
}

#[tokio::test]
async fn path_in_a_location_cannot_change_the_host() {
    let gateway = Config::new()
        .answer(
            "all",
            "path_prefix: /",
            "respond: {status: 302, headers: {Location: \"{path}\", Refresh: \"0; url={target}\"}}\n    \
             path: raw",
        )
        .start()
        .await;
    let answer = gateway.send("GET /\\evil.test/x?q HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(answer.head.only("location"), Some("/%5Cevil.test/x"));
    assert_eq!(answer.head.only("refresh"), Some("0; url=/%5Cevil.test/x?q"));
}

#[tokio::test]
async fn changing_via_is_refused() {
    for change in ["remove: [Via]", "set: {Via: 1.1 me}"] {
        let folder = tempfile::TempDir::new().expect("a folder");
        let config =
            Config::to_address("127.0.0.1:1").with(&format!("headers: {{request: {{{change}}}}}"));
        std::fs::write(folder.path().join("t.yaml"), config.yaml(1)).expect("a file");
        let run = cli(folder.path(), &["check", "--config", "t.yaml"], &[]).await;
        assert!(
            run.code == Some(78) && run.all().contains("detect forwarding loops"),
            "{}",
            run.all()
        );
    }
}
