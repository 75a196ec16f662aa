//! Routes with `redirect` or `respond` answer without an upstream, as configured.

use std::path::Path;
use tidegate_testing::{Config, Handshake, Upstream, cli};

#[tokio::test]
async fn redirect_fills_in_variables_of_the_request() {
    let gateway = Config::new()
        .top("identity: {user_id: [{query: userId}]}")
        .answer("plain", "path_prefix: /", "redirect: {to: \"https://new.example{target}\"}")
        .answer("moved", "path_prefix: /old", "redirect: {to: /new, status: 308}")
        .answer(
            "same-host",
            "path_prefix: /tls",
            "redirect: {to: \"https://{host}{path}?{query}\", status: 301}",
        )
        .answer("user", "path_prefix: /me", "redirect: {to: \"/users/{user.id}\", status: 303}")
        .start()
        .await;
    for (target, status, location) in [
        ("/a//b/../c?x=%20&y=/", 307, "https://new.example/a/c?x=%20&y=/"),
        ("//evil.example/%2e%2e/x", 307, "https://new.example/x"),
        ("/old/x?y=1", 308, "/new"),
        ("/tls/%C3%BC?a=b", 301, "https://localhost/tls/%C3%BC?a=b"),
        // An id that can't be shown ends with a hash of the whole.
        (
            "/me?userId=../%0D%0AX:%20y//e",
            303,
            "/users/..%2F%EF%BF%BD%EF%BF%BDX%3A%20y%2F%2Fe%E2%80%A6eaf8f2b2dee37ed4598c8c70b70010ec",
        ),
    ] {
        let answer = gateway.get(target, &[]).await;
        assert_eq!(
            (answer.status(), answer.head.only("location")),
            (status, Some(location)),
            "{target}"
        );
        assert_eq!(answer.head.only("content-length"), Some("0"));
        assert!(answer.head.only("x-request-id").is_some());
    }
    let line = gateway.access_of("/old/x").await;
    assert_eq!(line["http.route"], "moved");
    assert_eq!(line["http.response.status_code"], 308);
    let handshake = gateway.refused(&Handshake::to("/old")).await;
    assert_eq!(handshake.status(), 308);
}

#[tokio::test]
async fn request_cannot_change_the_host_or_path_of_a_redirect() {
    let gateway = Config::new()
        .top("identity: {user_id: [{query: u}]}")
        .answer("home", "path_prefix: /", "redirect: {to: \"/{user.id}{path}\"}")
        .answer("below", "path_prefix: /below", "redirect: {to: \"/a/{user.id}/b\"}")
        .answer("twice", "path_prefix: /twice", "redirect: {to: \"/{user.id}/{user.id}/x.test\"}")
        .answer("raw", "path_prefix: /raw", "redirect: {to: \"https://new.test/a{path}\"}")
        .with("path: raw")
        .start()
        .await;
    for (target, status, location) in [
        ("/evil.test/x", 307, Some("/evil.test/x")),
        ("/evil.test/x?u=me", 307, Some("/me/evil.test/x")),
        ("/twice", 307, Some("/x.test")),
        ("/below?u=me", 307, Some("/a/me/b")),
        ("/below?u=..", 400, None),
        ("/below?u=.", 400, None),
        ("/raw/x/../../raw/b//c", 307, Some("https://new.test/a/raw/b/c")),
        ("/raw/b//c", 307, Some("https://new.test/a/raw/b//c")),
    ] {
        let answer = gateway.get(target, &[]).await;
        let found = (answer.status(), answer.head.only("location"));
        assert_eq!(found, (status, location), "{target}");
    }
}

#[tokio::test]
async fn request_value_in_a_redirect_stays_in_its_parameter() {
    let gateway = Config::new()
        .answer(
            "target",
            "path_prefix: /a",
            "redirect: {to: \"https://id.test/login?next={target}&app=shop\"}",
        )
        .answer(
            "path",
            "path_prefix: /b",
            "redirect: {to: \"https://id.test/login?next={path}&app=shop\"}",
        )
        .answer("query", "path_prefix: /c", "redirect: {to: \"https://id.test/login?{query}\"}")
        .start()
        .await;
    for (asked, location) in [
        ("/a/x?p=1&q=2", "https://id.test/login?next=%2Fa%2Fx%3Fp%3D1%26q%3D2&app=shop"),
        ("/a/x?a+b#", "https://id.test/login?next=%2Fa%2Fx%3Fa%2Bb&app=shop"),
        (
            "/b/x&next=//evil.test",
            "https://id.test/login?next=%2Fb%2Fx%26next%3D%2Fevil.test&app=shop",
        ),
        ("/b/x;next=1", "https://id.test/login?next=%2Fb%2Fx%3Bnext%3D1&app=shop"),
        ("/c?p=1&q=%20", "https://id.test/login?p=1&q=%20"),
    ] {
        let answer = gateway.get(asked.trim_end_matches('#'), &[]).await;
        assert_eq!(answer.head.only("location"), Some(location), "{asked}");
    }
}

#[tokio::test]
async fn redirect_uses_the_scheme_reported_by_a_trusted_proxy() {
    let gateway = Config::new()
        .top("trusted_proxies: [127.0.0.1]")
        .answer("all", "path_prefix: /", "redirect: {to: \"{scheme}://www.{authority}{target}\"}")
        .start()
        .await;
    for (told, expected) in
        [("https", "https://www.a.example:8/"), ("ftp", "http://www.a.example:8/")]
    {
        let fields = [&*format!("X-Forwarded-Proto: {told}"), "Host: a.example:8"];
        let answer = gateway.get("/", &fields).await;
        assert_eq!(answer.head.only("location"), Some(expected));
    }
}

#[tokio::test]
async fn fixed_response_has_its_status_body_and_headers() {
    let gateway = Config::new()
        .top("headers: {response: {set: {x-top: \"1\"}}}")
        .cors(&["https://app.example"], "")
        .answer("json", "path: /status", "respond:")
        .with("  status: 418")
        .with("  body: '{\"ok\": true}'")
        .with("  content_type: application/json")
        .with("  headers: {Cache-Control: no-store, X-For: \"{client.address}\"}")
        .answer("text", "path: /text", "respond: {body: hello}")
        .answer("nothing", "path: /nothing", "respond: {}")
        .answer("gone", "path_prefix: /gone", "respond: {status: 410}")
        .start()
        .await;
    let mut wire = gateway.connect().await;
    wire.send("POST /status HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\nContent-Length: 3\r\n\r\nabc").await;
    let answer = wire.response().await;
    assert_eq!((answer.status(), answer.text().as_str()), (418, "{\"ok\": true}"));
    for (name, value) in [
        ("content-type", "application/json"),
        ("content-length", "12"),
        ("cache-control", "no-store"),
        ("x-for", "127.0.0.1"),
        ("x-top", "1"),
        ("access-control-allow-origin", "https://app.example"),
    ] {
        assert_eq!(answer.head.only(name), Some(value), "{}", answer.head.text);
    }
    let text = gateway.get("/text", &[]).await;
    assert_eq!((text.status(), text.text().as_str()), (200, "hello"));
    assert_eq!(text.head.only("content-type"), Some("text/plain; charset=utf-8"));
    let mut wire = gateway.connect().await;
    wire.send("HEAD /text HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let head = wire.head().await;
    assert_eq!((head.status(), head.only("content-length")), (Some(200), Some("5")));
    wire.send(tidegate_testing::get("/nothing", &[])).await;
    let nothing = wire.response().await;
    assert_eq!((nothing.status(), nothing.head.get("content-length")), (204, None));
    assert_eq!(gateway.get("/gone/x", &[]).await.status(), 410);
}

#[tokio::test]
async fn route_with_two_actions_is_refused() {
    let upstream = Upstream::saying("ok").await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tidegate.yaml");
    let yaml = Config::to(&upstream)
        .with("redirect: {to: /x}")
        .answer("nowhere", "path: /1", "rewrite: {host: a}")
        .answer("both", "path: /2", "redirect: {to: //evil.example}")
        .with("respond: {status: 204, body: x, content_type: text}")
        .answer("socket", "path: /3", "respond: {content_type: text/plain}")
        .with("websocket: {idle_timeout: 1h}")
        .answer("status", "path: /4", "redirect: {to: \"/{path}\", status: 304}")
        .answer("stranger", "path: /5", "redirect: {to: \"https://{user.id}/\"}")
        .answer("high", "path: /6", "respond: {status: 600, headers: {Connection: close}}")
        .answer("misspelt", "path: /7", "upstraem: x")
        .yaml(3000);
    std::fs::write(&file, yaml).expect("the file");
    let run =
        cli(Path::new("."), &["check", "--config", file.to_str().expect("a path")], &[]).await;
    assert_eq!(run.code, Some(78), "{}", run.all());
    for told in [
        "routes[0].redirect: a route has `upstream` or `redirect`, not both",
        "routes[1]: the route needs one of `upstream`, `redirect`, `respond`",
        "routes[2].respond: a route has `redirect` or `respond`, not both",
        "routes[2].redirect.to: must be a path that begins with `/`, or",
        "routes[2].respond.content_type: must be a media type",
        "routes[3].respond.content_type: `content_type` needs a `body`",
        "routes[3].websocket: this setting needs an `upstream`",
        "routes[4].redirect.status: must be 301, 302, 303, 307 or 308, not `304`",
        "routes[5].redirect.to: `{user.id}` is not allowed in the host, because clients choose its value",
        "routes[6].respond.status: `600`: must be at most 599",
        "routes[7].upstraem: unknown key",
    ] {
        assert!(run.stderr.contains(told), "{told} in:\n{}", run.stderr);
    }
    let once = !run.stderr.contains("routes[7]: the route needs one of");
    assert!(once, "a slip of the hand is told once:\n{}", run.stderr);
}
