//! Only pages of the listed origins may read responses (Fetch standard).

use tidegate_testing::{Config, Gateway, Head, Response, Upstream, free_port, ok, respond};

const PAGE: &str = "http://localhost:5173";

async fn gateway(origins: &[&str], more: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::saying("ok").await;
    (Config::to(&upstream).cors(origins, more).start().await, upstream)
}

/// A preflight for this method and these header fields.
async fn preflight(gateway: &Gateway, origin: &str, method: &str, headers: &str) -> Response {
    let mut text = format!(
        "OPTIONS /api HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\n\
         Access-Control-Request-Method: {method}\r\n"
    );
    if !headers.is_empty() {
        text += &format!("Access-Control-Request-Headers: {headers}\r\n");
    }
    gateway.send(text + "\r\n").await
}

/// Fetch, "CORS check": whether a browser lets a page of this origin read the response.
fn may_read(head: &Head, origin: &str, credentials: bool) -> bool {
    match head.only("access-control-allow-origin") {
        Some("*") => !credentials,
        Some(allowed) if allowed == origin => {
            !credentials || head.only("access-control-allow-credentials") == Some("true")
        }
        _ => false,
    }
}

/// Fetch, "CORS-preflight fetch": whether a browser goes on to send the request.
fn may_send(
    answer: &Response,
    origin: &str,
    method: &str,
    headers: &[&str],
    credentials: bool,
) -> bool {
    let methods = answer.head.list("access-control-allow-methods");
    let allowed = answer.head.list("access-control-allow-headers");
    let wildcard = |list: &[String]| !credentials && list.contains(&"*".to_owned());
    (200..300).contains(&answer.status())
        && may_read(&answer.head, origin, credentials)
        && (["GET", "HEAD", "POST"].contains(&method)
            || wildcard(&methods)
            || methods.contains(&method.to_ascii_lowercase()))
        && headers.iter().all(|name| wildcard(&allowed) || allowed.contains(&(*name).to_owned()))
}

#[tokio::test]
async fn preflight_is_answered_by_the_gateway() {
    let (gateway, upstream) = gateway(&[PAGE], ", allow_credentials: true, max_age: 5m").await;
    let answer = preflight(&gateway, PAGE, "PUT", "content-type,x-csrf").await;
    assert_eq!(answer.status(), 204);
    assert!(
        may_send(&answer, PAGE, "PUT", &["content-type", "x-csrf"], true),
        "{}",
        answer.head.text
    );
    assert_eq!(answer.head.only("access-control-allow-origin"), Some(PAGE));
    assert_eq!(answer.head.only("access-control-max-age"), Some("300"));
    assert_eq!(answer.head.get("content-length").unwrap_or("0"), "0");
    let vary = answer.head.list("vary");
    for name in ["origin", "access-control-request-method", "access-control-request-headers"] {
        assert!(vary.contains(&name.to_owned()), "{name} in {vary:?}");
    }
    assert_eq!(upstream.connections(), 0, "the upstream is not asked");
}

#[tokio::test]
async fn connection_stays_open_after_a_preflight() {
    let (gateway, _upstream) = gateway(&[PAGE], "").await;
    let mut wire = gateway.connect().await;
    for _ in 0..2 {
        wire.send(format!(
            "OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: {PAGE}\r\nAccess-Control-Request-Method: PUT\r\n\r\n"
        ))
        .await;
        assert_eq!(wire.response().await.status(), 204);
        wire.send(tidegate_testing::get("/", &[&format!("Origin: {PAGE}")])).await;
        assert_eq!(wire.response().await.text(), "ok");
    }
}

#[tokio::test]
async fn preflight_of_an_unlisted_origin_fails() {
    let (gateway, upstream) = gateway(&[PAGE], "").await;
    let answer = preflight(&gateway, "https://evil.example", "GET", "").await;
    assert!(!may_send(&answer, "https://evil.example", "GET", &[], false));
    assert_eq!(answer.head.get("access-control-allow-origin"), None);
    assert!(answer.head.list("vary").contains(&"origin".to_owned()));
    assert_eq!(upstream.connections(), 0, "the upstream is not asked");
}

#[tokio::test]
async fn preflight_fails_for_unlisted_methods_and_headers() {
    let more = ", allow_methods: [GET, PUT], allow_headers: [x-one, Content-Type]";
    let (gateway, upstream) = gateway(&[PAGE], more).await;
    for (method, headers, allowed) in [
        ("PUT", &["x-one"][..], true),
        ("PUT", &["content-type", "x-one"], true),
        ("PUT", &[], true),
        ("DELETE", &[], false),
        ("put", &[], false),
        ("PUT", &["x-two"], false),
        ("PUT", &["x-one", "x-two"], false),
    ] {
        let answer = preflight(&gateway, PAGE, method, &headers.join(", ")).await;
        let verdict = method != "put" && may_send(&answer, PAGE, method, headers, false);
        assert_eq!(verdict, allowed, "{method} {headers:?}:\n{}", answer.head.text);
    }
    assert_eq!(upstream.connections(), 0, "the upstream is not asked");
}

#[tokio::test]
async fn preflight_uses_the_route_of_the_announced_method() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::new()
        .upstream("service", &[upstream.address()])
        .route("write", "path_prefix: /api, methods: [PUT]", "service")
        .with("cors: {allow_origins: [\"https://writer.example\"]}")
        .cors(&[PAGE], "")
        .start()
        .await;
    let answer = preflight(&gateway, "https://writer.example", "PUT", "").await;
    assert!(may_send(&answer, "https://writer.example", "PUT", &[], false), "{}", answer.head.text);
    assert_eq!(answer.status(), 204);
}

#[tokio::test]
async fn options_without_preflight_headers_reaches_the_upstream() {
    let (gateway, upstream) = gateway(&[PAGE], "").await;
    let answer = gateway.send("OPTIONS /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
    assert!(upstream.only_request().await.head.line.starts_with("OPTIONS /x"));
}

#[tokio::test]
async fn listed_origin_may_read_and_others_may_not() {
    let (gateway, _upstream) = gateway(&[PAGE, "https://app.example"], "").await;
    for origin in [PAGE, "https://app.example"] {
        let answer = gateway.get("/", &[&format!("Origin: {origin}")]).await;
        assert_eq!(answer.status(), 200);
        assert!(may_read(&answer.head, origin, false), "{}", answer.head.text);
        assert_eq!(answer.head.get("access-control-allow-credentials"), None);
        assert_eq!(answer.head.list("vary"), ["origin"]);
    }
    for fields in [&["Origin: https://evil.example"][..], &[]] {
        let answer = gateway.get("/", fields).await;
        assert_eq!(answer.status(), 200, "CORS is the browser's to enforce");
        assert_eq!(answer.head.get("access-control-allow-origin"), None);
        assert_eq!(answer.head.list("vary"), ["origin"], "a cache must know");
    }
}

#[tokio::test]
async fn origins_are_compared_in_full() {
    let listed = ["https://example.com", "https://*.apps.example.com", "http://localhost:3000"];
    let (gateway, _upstream) = gateway(&listed, "").await;
    for (origin, allowed) in [
        ("https://example.com", true),
        ("https://example.com:443", true),
        ("http://localhost:3000", true),
        ("https://a.apps.example.com", true),
        ("https://a.b.apps.example.com", true),
        ("https://evilexample.com", false),
        ("https://example.com.evil.com", false),
        ("https://example.com.", false),
        ("https://example.com:8443", false),
        ("http://example.com", false),
        ("https://sub.example.com", false),
        ("https://apps.example.com", false),
        ("https://evilapps.example.com", false),
        ("https://a.apps.example.com.evil.com", false),
        ("https://evil.com/.apps.example.com", false),
        ("https://evil.com?.apps.example.com", false),
        ("https://evil.com#.apps.example.com", false),
        ("https://evil.com@a.apps.example.com", false),
        ("https://evil.com:.apps.example.com", false),
        ("https://.apps.example.com", false),
        ("http://localhost:30000", false),
        ("http://localhost", false),
        ("null", false),
        ("*", false),
        ("", false),
    ] {
        let answer = gateway.get("/", &[&format!("Origin: {origin}")]).await;
        let read = may_read(&answer.head, origin, false);
        assert_eq!(read, allowed, "{origin}:\n{}", answer.head.text);
        assert_ne!(answer.head.get("access-control-allow-origin"), Some("*"));
    }
}

#[tokio::test]
async fn null_origin_is_allowed_only_when_listed() {
    for (listed, allowed) in [(&[PAGE][..], false), (&[PAGE, "null"], true)] {
        let (gateway, _upstream) = gateway(listed, "").await;
        let answer = gateway.get("/", &["Origin: null"]).await;
        assert_eq!(may_read(&answer.head, "null", false), allowed, "{listed:?}");
    }
}

#[tokio::test]
async fn wildcard_allows_every_origin_without_credentials() {
    let (gateway, _upstream) = gateway(&["*"], "").await;
    let answer = gateway.get("/", &["Origin: https://any.example"]).await;
    assert!(may_read(&answer.head, "https://any.example", false));
    assert!(!may_read(&answer.head, "https://any.example", true));
}

#[tokio::test]
async fn allow_credentials_permits_credentials() {
    let (gateway, _upstream) = gateway(&[PAGE], ", allow_credentials: true").await;
    let answer = gateway.get("/", &[&format!("Origin: {PAGE}")]).await;
    assert!(may_read(&answer.head, PAGE, true), "{}", answer.head.text);
}

#[tokio::test]
async fn exposed_headers_are_listed() {
    let (gateway, _upstream) = gateway(&[PAGE], ", expose_headers: [x-total, etag]").await;
    let answer = gateway.get("/", &[&format!("Origin: {PAGE}")]).await;
    let mut exposed = answer.head.list("access-control-expose-headers");
    exposed.sort();
    assert_eq!(exposed, ["etag", "x-total"]);
}

#[tokio::test]
async fn cors_headers_of_the_upstream_are_replaced() {
    let upstream = Upstream::answering(|_| {
        respond(
            "200 OK",
            &[
                "Access-Control-Allow-Origin: *",
                "access-control-allow-origin: https://evil.example",
                "Access-Control-Allow-Credentials: true",
                "Access-Control-Allow-Methods: PURGE",
                "Access-Control-Expose-Headers: x-theirs",
                "Vary: Accept-Encoding, Origin",
            ],
            "ok",
        )
    })
    .await;
    let gateway = Config::to(&upstream).cors(&[PAGE], "").start().await;
    let answer = gateway.get("/", &[&format!("Origin: {PAGE}")]).await;
    assert_eq!(answer.head.only("access-control-allow-origin"), Some(PAGE));
    assert_eq!(answer.head.only("access-control-allow-credentials"), None);
    assert_eq!(answer.head.only("access-control-allow-methods"), None);
    assert!(!answer.head.text.contains("x-theirs"));
    let vary = answer.head.list("vary");
    assert_eq!(vary.iter().filter(|name| *name == "origin").count(), 1, "{vary:?}");
    assert!(vary.contains(&"accept-encoding".to_owned()), "{vary:?}");
    let answer = gateway.get("/", &["Origin: https://evil.example"]).await;
    assert!(!answer.head.text.to_lowercase().contains("access-control-"), "{}", answer.head.text);
}

#[tokio::test]
async fn gateway_errors_are_readable_by_listed_origins() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::new()
        .upstream("down", &[format!("127.0.0.1:{}", free_port())])
        .upstream("service", &[upstream.address()])
        .route("down", "path_prefix: /down", "down")
        .route("read", "path_prefix: /read, methods: [GET]", "service")
        .route("small", "path_prefix: /small", "service")
        .with("max_body_size: 1B")
        .cors(&[PAGE], ", allow_credentials: true")
        .start()
        .await;
    for (request, status) in [
        ("GET /none", 404),
        ("GET /down", 502),
        ("DELETE /read", 405),
        ("GET /a%2fb", 400),
        ("POST /small", 413),
    ] {
        let length = if status == 413 { 9 } else { 0 };
        let text = format!(
            "{request} HTTP/1.1\r\nHost: a\r\nOrigin: {PAGE}\r\nContent-Length: {length}\r\n\r\n"
        );
        let answer = gateway.send(text).await;
        assert_eq!(answer.status(), status, "{request}");
        assert!(may_read(&answer.head, PAGE, true), "{request}:\n{}", answer.head.text);
        assert!(answer.head.list("vary").contains(&"origin".to_owned()), "{request}");
        let _ = answer.error();
    }
}

#[tokio::test]
async fn route_policy_replaces_or_disables_the_global_policy() {
    let upstream = Upstream::answering(|request| match request.head.target() {
        "/off" => respond("200 OK", &["Access-Control-Allow-Origin: https://theirs.example"], ""),
        _ => ok("ok"),
    })
    .await;
    let gateway = Config::to(&upstream)
        .cors(&[PAGE], ", allow_credentials: true")
        .route("own", "path_prefix: /own", "service")
        .with("cors: {allow_origins: [\"https://own.example\"]}")
        .route("off", "path_prefix: /off", "service")
        .with("cors: off")
        .start()
        .await;
    let allowed = async |target: &str, origin: &str| {
        let answer = gateway.get(target, &[&format!("Origin: {origin}")]).await;
        answer.head.only("access-control-allow-origin").map(str::to_owned)
    };
    assert_eq!(
        allowed("/own", "https://own.example").await.as_deref(),
        Some("https://own.example")
    );
    assert_eq!(allowed("/own", PAGE).await, None);
    assert_eq!(allowed("/", PAGE).await.as_deref(), Some(PAGE));
    assert_eq!(allowed("/", "https://own.example").await, None);
    let theirs = Some("https://theirs.example".to_owned());
    assert_eq!(allowed("/off", PAGE).await, theirs, "`cors: off` touches nothing");
    let before = upstream.requests().len();
    let preflight = format!(
        "OPTIONS /off HTTP/1.1\r\nHost: a\r\nOrigin: {PAGE}\r\nAccess-Control-Request-Method: PUT\r\n\r\n"
    );
    gateway.send(preflight).await;
    assert_eq!(upstream.requests().len(), before + 1, "a preflight is the upstream's to answer");
}

#[tokio::test]
async fn without_a_policy_cors_headers_of_the_service_pass() {
    const THEIRS: [&str; 4] = [
        "Access-Control-Allow-Origin: https://app.test",
        "Access-Control-Allow-Credentials: true",
        "Access-Control-Expose-Headers: x-theirs",
        "Access-Control-Allow-Methods: PUT",
    ];
    let upstream = Upstream::answering(|request| match request.head.line.split(' ').next() {
        Some("OPTIONS") => respond("204 No Content", &THEIRS, ""),
        _ => respond("200 OK", &[&THEIRS[..], &["Vary: X-Their-Own"]].concat(), ""),
    })
    .await;
    for config in [Config::to(&upstream), Config::to(&upstream).top("cors: off")] {
        let gateway = config.start().await;
        let before = upstream.requests().len();
        for fields in [&["Origin: https://app.test"][..], &["Origin: https://evil.example"], &[]] {
            let answer = gateway.get("/", fields).await;
            for line in THEIRS {
                let (name, value) = line.split_once(": ").expect("a header");
                assert_eq!(answer.head.only(&name.to_lowercase()), Some(value), "{fields:?}");
            }
            assert_eq!(answer.head.list("vary"), ["x-their-own"], "{fields:?}");
        }
        let answer = preflight(&gateway, "https://app.test", "PUT", "").await;
        assert_eq!(answer.status(), 204);
        assert_eq!(answer.head.only("access-control-allow-methods"), Some("PUT"));
        assert_eq!(upstream.requests().len(), before + 4, "the service answers preflights");
        let none = gateway.get("/a%00", &["Origin: https://app.test"]).await;
        assert_eq!(none.status(), 400);
        assert!(!none.head.text.to_lowercase().contains("access-control"), "{}", none.head.text);
    }
}

#[tokio::test]
async fn wildcard_allows_origins_without_a_host() {
    let (gateway, _upstream) = gateway(&["*"], "").await;
    for origin in ["file://", "qrc://", "content://", "local://", "null", "https://a.example"] {
        let answer = gateway.get("/", &[&format!("Origin: {origin}")]).await;
        assert!(may_read(&answer.head, origin, false), "{origin}: {}", answer.head.text);
        assert_eq!(preflight(&gateway, origin, "PUT", "").await.status(), 204, "{origin}");
    }
}

#[tokio::test]
async fn origin_without_a_host_can_be_listed() {
    let (gateway, _upstream) = gateway(&["file://"], "").await;
    for (origin, allowed) in [("file://", true), ("qrc://", false), ("file://host", false)] {
        let answer = gateway.get("/", &[&format!("Origin: {origin}")]).await;
        assert_eq!(may_read(&answer.head, origin, false), allowed, "{origin}");
    }
}
