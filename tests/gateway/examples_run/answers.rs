//! Examples of what the gateway does with a request, and of its own responses.

use crate::example::Example;
use std::collections::BTreeSet;
use tidegate_testing::{Handshake, Upstream, get, ok, respond, until};

async fn echoing() -> Upstream {
    Upstream::answering(|request| ok(request.head.target())).await
}

#[tokio::test]
async fn demo_configuration() {
    let service = Upstream::echo().await;
    let example = Example::from_file("tidegate.yaml").with("127.0.0.1:4009", service.address());
    let port = example.port();
    let gateway = example.run_with(&[("GATEWAY_ADDRESS", &format!("127.0.0.1:{port}"))]).await;
    let fields = ["Origin: http://localhost:5173"];
    let answer = gateway.get("/api/notification/7?userId=u", &fields).await;
    assert_eq!(answer.text(), "polled");
    let allowed = answer.head.only("access-control-allow-origin");
    assert_eq!(allowed, Some("http://localhost:5173"));
    let _socket = gateway.websocket("/api/notifications/ws?userId=u").await;
    let seen: Vec<_> = service.requests().iter().map(|it| it.head.target().to_owned()).collect();
    assert_eq!(seen, ["/api/notification/7?userId=u", "/?userId=u"]);
}

#[tokio::test]
async fn routing() {
    let [web, api, next, reports] = ["web", "api", "next", "reports"].map(Upstream::saying);
    let (web, api, next, reports) = tokio::join!(web, api, next, reports);
    let gateway = Example::from_file("examples/routing.yaml")
        .at("127.0.0.1:3000")
        .with("127.0.0.1:8000", web.address())
        .with("127.0.0.1:8080", api.address())
        .with("127.0.0.1:8081", api.address())
        .with("localhost:8090", next.address())
        .with("127.0.0.1:8100", reports.address())
        .run()
        .await;
    let key = "X-Api-Key: k";
    for (target, fields, said) in [
        ("/else", &[][..], "web"),
        ("/api/v1/users", &[key], "api"),
        ("/api/v1/users", &[], "a key, please\n"),
        ("/api/v1/users", &[key, "X-Version: next"], "next"),
        ("/api/v1/status", &[], "api"),
        ("/", &["Host: a.reports.example.com"], "reports"),
        ("/?preview", &[], "next"),
    ] {
        assert_eq!(gateway.get(target, fields).await.text(), said, "{target} {fields:?}");
    }
    assert_eq!(api.requests()[0].head.target(), "/users");
    for (target, passed) in [
        ("/packages/@scope%2fname//x", "/packages/@scope%2fname//x"),
        ("/projects/group%2Fname//x", "/projects/group%2Fname/x"),
    ] {
        assert_eq!(gateway.get(target, &[]).await.text(), "web");
        assert_eq!(web.requests().last().expect("a request").head.target(), passed);
    }
}

#[tokio::test]
async fn cors() {
    let api = Upstream::saying("api").await;
    let gateway = Example::from_file("examples/cors.yaml")
        .at("127.0.0.1:3000")
        .with("127.0.0.1:8080", api.address())
        .run()
        .await;
    for (target, origin, allowed, credentials) in [
        ("/api/x", "https://app.example.com", Some("https://app.example.com"), Some("true")),
        ("/api/x", "https://evil.example", None, None),
        ("/api/public/x", "https://evil.example", Some("*"), None),
        (
            "/api/partner/x",
            "https://partner.example",
            Some("https://partner.example"),
            Some("true"),
        ),
        ("/api/partner/x", "https://app.example.com", None, None),
        ("/api/legacy/x", "https://app.example.com", None, None),
    ] {
        let answer = gateway.get(target, &[&format!("Origin: {origin}")]).await;
        let only = |name| answer.head.only(name);
        assert_eq!(only("access-control-allow-origin"), allowed, "{target} {origin}");
        assert_eq!(only("access-control-allow-credentials"), credentials, "{target} {origin}");
    }
    for (target, origin, age, private) in [
        ("/api/x", "https://app.example.com", "3600", Some("true")),
        ("/api/partner/x", "https://partner.example", "300", None),
    ] {
        let preflight = gateway
            .send(format!(
                "OPTIONS {target} HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\n\
                 Access-Control-Request-Method: POST\r\n\
                 Access-Control-Request-Private-Network: true\r\n\r\n"
            ))
            .await;
        assert_eq!(preflight.head.only("access-control-max-age"), Some(age));
        assert_eq!(preflight.head.only("access-control-allow-private-network"), private);
    }
}

#[tokio::test]
async fn headers() {
    let fields = ["X-Powered-By: php", "X-Runtime: 3", "Vary: Accept"];
    let api = Upstream::answering(move |_| respond("200 OK", &fields, "api")).await;
    let gateway = Example::from_file("examples/headers.yaml")
        .at("127.0.0.1:3000")
        .with("127.0.0.1:8080", api.address())
        .run()
        .await;
    let sent = ["Host: shop.example", "X-Debug: 1", "X-Internal: 1", "X-User-Id: u-7"];
    let answer = gateway.get("/api/x?y=1", &sent).await;
    let seen = api.only_request().await.head;
    assert_eq!(seen.only("x-request-host"), Some("shop.example"));
    assert_eq!(seen.only("x-claimed-user"), Some("u-7"));
    assert_eq!(seen.only("x-original"), Some("http://shop.example/api/x?y=1"));
    assert_eq!(seen.only("x-real-ip"), Some("127.0.0.1"));
    assert_eq!((seen.only("x-debug"), seen.only("x-internal")), (None, None));
    assert_eq!(seen.all("via-edge"), ["api"], "what the route says of a field counts");
    assert_eq!(answer.head.list("vary"), ["accept", "x-user-id"]);
    assert_eq!(answer.head.only("strict-transport-security"), Some("max-age=31536000"));
    for gone in ["x-powered-by", "x-runtime", "x-content-type-options"] {
        assert_eq!(answer.head.only(gone), None, "{gone}");
    }
    assert!(answer.head.only("link").is_some_and(|it| it.contains("preload")));
}

#[tokio::test]
async fn own_answers() {
    let api = echoing().await;
    let gateway = Example::from_file("examples/own-answers.yaml")
        .at("127.0.0.1:3000")
        .with("127.0.0.1:8080", api.address())
        .run()
        .await;
    assert_eq!(gateway.get("/api/v1", &[]).await.text(), "/api/v1");
    let old = gateway.get("/api/v0/x", &[]).await;
    assert_eq!((old.status(), old.head.only("retry-after")), (503, Some("3600")));
    assert!(old.text().contains("version 0 is being moved"), "{}", old.text());
    let www = gateway.get("/a?b=c", &["Host: www.example.com"]).await;
    assert_eq!(www.status(), 308);
    assert_eq!(www.head.only("location"), Some("https://example.com/a?b=c"));
    assert_eq!(gateway.get("/login", &[]).await.status(), 303);
    assert!(gateway.get("/robots.txt", &[]).await.text().contains("Disallow: /api"));
    let alive = gateway.get("/alive", &[]).await;
    assert_eq!(alive.head.only("content-type"), Some("application/json"));
    let rest = gateway.get("/else", &[]).await;
    assert_eq!((rest.status(), &*rest.text()), (404, "nothing here\n"));
}

#[tokio::test]
async fn error_pages() {
    let web = Upstream::answering(|_| respond("500 Oh", &[], "a stack trace")).await;
    let gateway = Example::from_file("examples/error-pages.yaml")
        .at("127.0.0.1:3000")
        .with("127.0.0.1:8080", web.address())
        .run()
        .await;
    for (target, title) in [("/nowhere", "404 Not Found"), ("/shop", "500 Internal Server Error")] {
        let answer = gateway.get(target, &["Accept: text/html"]).await.text();
        assert!(answer.contains(&format!("<title>{title}</title>")), "{target}: {answer}");
    }
    let json = gateway.get("/nowhere", &["Accept: application/json"]).await;
    let problem: serde_json::Value = serde_json::from_str(&json.text()).expect("JSON");
    assert_eq!((&problem["code"], &problem["status"]), (&"no_route".into(), &404.into()));
}

#[tokio::test]
async fn front_end() {
    let api = echoing().await;
    let site = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(site.path().join("assets")).expect("a folder");
    std::fs::write(site.path().join("index.html"), "<p>the page").expect("a file");
    std::fs::write(site.path().join("assets/a-1f.js"), "script").expect("a file");
    let gateway = Example::from_file("examples/front-end.yaml")
        .at("127.0.0.1:3000")
        .with("127.0.0.1:8080", api.address())
        .run_with(&[("FRONT_END", site.path().to_str().expect("a path"))])
        .await;
    for target in ["/", "/users/7"] {
        let page = gateway.get(target, &[]).await;
        assert_eq!(page.text(), "<p>the page", "{target}");
        assert_eq!(page.head.only("cache-control"), Some("no-cache"));
    }
    let script = gateway.get("/assets/a-1f.js", &[]).await;
    assert!(script.head.only("cache-control").is_some_and(|it| it.contains("immutable")));
    assert_eq!(gateway.get("/api/x", &[]).await.text(), "/api/x");
}

#[tokio::test]
async fn compression() {
    let web = Upstream::answering(|request| {
        let (kind, lines) = match request.head.target() {
            "/reports/large" => ("Content-Type: text/csv", 8_000),
            "/reports/small" => ("Content-Type: text/csv", 400),
            _ => ("Content-Type: text/html", 400),
        };
        respond("200 OK", &[kind], &"one,two,three\n".repeat(lines))
    })
    .await;
    let gateway = Example::from_file("examples/compression.yaml")
        .at("127.0.0.1:3000")
        .with("127.0.0.1:8080", web.address())
        .run()
        .await;
    for (target, accepts, coding) in [
        ("/", "gzip, br", Some("br")),
        ("/account", "gzip, br", None),
        ("/reports/large", "gzip, br", Some("gzip")),
        ("/reports/small", "gzip, br", None),
    ] {
        let answer = gateway.get(target, &[&format!("Accept-Encoding: {accepts}")]).await;
        assert_eq!(answer.head.only("content-encoding"), coding, "{target}");
    }
}

#[tokio::test]
async fn cache() {
    let catalogue =
        Upstream::answering(|_| respond("200 OK", &["Cache-Control: max-age=60"], "c")).await;
    let pages = Upstream::saying("p").await;
    let gateway = Example::from_file("examples/cache.yaml")
        .at("127.0.0.1:3000")
        .with("127.0.0.1:8080", catalogue.address())
        .with("127.0.0.1:8081", pages.address())
        .with("127.0.0.1:9901", format!("127.0.0.1:{}", tidegate_testing::free_port()))
        .run()
        .await;
    for target in ["/api/catalogue/1", "/page"] {
        let _ = gateway.get(target, &[]).await;
        until("it is kept", async || gateway.get(target, &[]).await.head.only("age").is_some())
            .await;
    }
    let (asked, before) = (catalogue.requests().len(), pages.requests().len());
    let _ = gateway.get("/api/catalogue/1", &[]).await;
    let _ = gateway.get("/page", &["Accept-Language: de"]).await;
    assert_eq!(catalogue.requests().len(), asked, "out of the cache");
    assert_eq!(pages.requests().len(), before + 1, "another language is another response");
}

#[tokio::test]
async fn limits() {
    let service = Upstream::saying("taken").await;
    let gateway = Example::from_file("examples/limits.yaml")
        .at("127.0.0.1:3000")
        .with("127.0.0.1:4000", service.address())
        .run()
        .await;
    let long = "x".repeat(20 * 1024);
    assert_eq!(gateway.get(&format!("/{long}"), &[]).await.status(), 414);
    let many: Vec<_> = (0..120).map(|number| format!("X-{number}: 1")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert_eq!(gateway.get("/", &many).await.status(), 431);
    let size = 11 * 1024 * 1024;
    let head = |path| format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
    assert_eq!(gateway.send(head("/x")).await.status(), 413);
    let upload = [head("/uploads").into_bytes(), vec![b'x'; size]].concat();
    assert_eq!(gateway.send(upload).await.text(), "taken");
}

#[tokio::test]
async fn sessions() {
    let service = Upstream::echo().await;
    let admin = tidegate_testing::Admin::new();
    let gateway = Example::from_file("examples/sessions.yaml")
        .at("127.0.0.1:3000")
        .with("127.0.0.1:4009", service.address())
        .with("127.0.0.1:9901", admin.address())
        .run()
        .await;
    let target = "/api/notifications/ws?userId=u-1";
    let mut sockets = Vec::new();
    for _ in 0..5 {
        sockets.push(gateway.websocket(target).await);
    }
    let sixth = gateway.refused(&Handshake::to(target)).await;
    assert_eq!(sixth.status(), 429, "five of a user");
    let listed = admin.get("/sessions").await;
    assert_eq!(listed["sessions"].as_array().map(Vec::len), Some(5), "{listed:#}");
}

#[tokio::test]
async fn websocket() {
    let service = Upstream::echo().await;
    let gateway = Example::from_file("examples/websocket.yaml")
        .at("127.0.0.1:3000")
        .with("127.0.0.1:4009", service.address())
        .run()
        .await;
    let handshake = Handshake::to("/api/notifications/ws?userId=u");
    let own = handshake.clone().set("Origin", "http://localhost:5173");
    let (_head, _socket) = own.open(&gateway).await;
    let strange = handshake.set("Origin", "https://evil.example");
    assert_eq!(gateway.refused(&strange).await.status(), 403);
    let polling = gateway.refused(&Handshake::to("/api/notification")).await;
    assert_eq!(polling.error()["error"], "websocket_off");
}

#[tokio::test]
async fn access_log() {
    let api = Upstream::answering(|request| match request.head.target() {
        "/moved" => respond("301 Moved", &["Location: /"], ""),
        _ => respond("404 Not Found", &["X-Cache: MISS"], ""),
    })
    .await;
    let gateway = Example::from_file("examples/access-log.yaml")
        .at("127.0.0.1:3000")
        .with("127.0.0.1:8080", api.address())
        .run()
        .await;
    let mut wire = gateway.connect().await;
    wire.send(get("/moved", &[])).await;
    wire.response().await;
    wire.send(get("/missing?invite=hush&code=7", &["User-Agent: probe"])).await;
    wire.response().await;
    let line = gateway.access_of("/missing").await;
    assert_eq!(line["http.request.header.user-agent"], "probe", "{line:#}");
    assert_eq!(line["http.response.header.x-cache"], "MISS", "{line:#}");
    assert_eq!(line["url.query"], "invite=REDACTED&code=7");
    let all = gateway.access_lines();
    assert!(!all.iter().any(|line| line.contains("/moved")), "of 3xx none: {all:?}");
}

#[tokio::test]
async fn tests() {
    let (users, orders) = tokio::join!(echoing(), echoing());
    let example = Example::from_file("examples/tests.yaml")
        .at("127.0.0.1:3000")
        .with("127.0.0.1:4001", users.address())
        .with("127.0.0.1:4002", orders.address());
    let text = example.text().to_owned();
    let gateway = example.run().await;
    assert_eq!(gateway.get("/api/v1/users/7", &[]).await.text(), "/people/7");
    let mark = gateway.mark();
    let edit = text.replace("prefix: /people", "prefix: /persons");
    tidegate_testing::replace_file(gateway.file(), &edit);
    gateway.says(mark, "not reloaded").await;
    assert_eq!(gateway.get("/api/v1/users/7", &[]).await.text(), "/people/7");
}

#[tokio::test]
async fn canary() {
    let [api, next, shadow] = ["api", "next", "shadow"].map(Upstream::saying);
    let (api, next, shadow) = tokio::join!(api, next, shadow);
    let gateway = Example::from_file("examples/canary.yaml")
        .at("0.0.0.0:3000")
        .with("127.0.0.1:8080", api.address())
        .with("127.0.0.1:8081", next.address())
        .with("127.0.0.1:8082", shadow.address())
        .run()
        .await;
    assert_eq!(gateway.get("/api", &["X-Canary: 1"]).await.text(), "next");
    assert_eq!(gateway.get("/api", &["Cookie: a=b; canary=1"]).await.text(), "next");
    let mut said = BTreeSet::new();
    for user in 0..200 {
        said.insert(gateway.get(&format!("/api?userId={user}"), &[]).await.text());
    }
    assert_eq!(said, ["api", "next"].map(str::to_owned).into(), "a few users of many");
    until("a copy comes to the shadow", async || {
        let _ = gateway.get("/api", &[]).await;
        !shadow.requests().is_empty()
    })
    .await;
}
