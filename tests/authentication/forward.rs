//! Forward authentication: another service decides about each request, and learns the truth about it.

use futures_util::SinkExt;
use tidegate_testing::http2::get_over_http2;
use tidegate_testing::{Config, Handshake, Upstream, next, ok, respond};
use tokio_tungstenite::tungstenite::Message;

/// A service that admits everybody as `ann`, of two groups.
pub(crate) async fn admitting() -> Upstream {
    let fields =
        ["X-User-Id: ann", "X_Groups: a", "X_Groups: b", "X-Secret: s", "Connection: x-secret"];
    Upstream::answering(move |_| respond("200 OK", &fields, "welcome")).await
}

/// A gateway's configuration that asks this service about all requests; `more` are further keys.
pub(crate) fn asking(service: impl std::fmt::Display, upstream: &Upstream, more: &str) -> Config {
    Config::to(upstream).listening("protocols: [h1, h2c]").with("require: legacy").top(&format!(
        "authentication: {{legacy: {{forward: {{url: \"http://{service}/check?from=gateway\", \
         take: [x-user-id, x_groups], user: x-user-id{more}}}}}}}\nidentity: {{user_id: [{{claim: sub}}]}}"
    ))
}

#[tokio::test]
async fn admitted_request_reaches_the_upstream_with_the_taken_headers_alone() {
    let (service, upstream) = (admitting().await, Upstream::saying("ok").await);
    let gateway = asking(service.address(), &upstream, "").start().await;
    let request = "POST /a/../b?c=%20d HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 7\r\nCookie: s=1\r\n\
                   Authorization: Bearer t\r\nX-Other: o\r\nX-User-Id: root\r\nX-Groups: root\r\nX_User_Id: root\r\n\
                   X_Groups: root\r\nX-Forwarded-Method: PUT\r\nX-Forwarded-Uri: /public\r\n\
                   X-Original-Uri: /public\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\n\
                   X-Request-Id: 7\r\n\r\npayload";
    assert_eq!(gateway.send(request).await.text(), "ok");

    let asked = service.only_request().await;
    assert_eq!(asked.head.line, "GET /check?from=gateway HTTP/1.1");
    assert!(asked.body.is_empty(), "the body is the upstream's alone");
    for (name, value) in [
        ("host", service.address().to_string().as_str()),
        ("authorization", "Bearer t"),
        ("cookie", "s=1"),
        ("x-forwarded-method", "POST"),
        ("x-original-method", "POST"),
        ("x-forwarded-uri", "/b?c=%20d"),
        ("x-original-uri", "/b?c=%20d"),
        ("x-forwarded-host", "shop.test"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-for", "127.0.0.1"),
    ] {
        assert_eq!(asked.head.only(name), Some(value), "{name}");
    }
    for name in ["x-other", "x-user-id", "content-length", "traceparent"] {
        assert_eq!(asked.head.get(name), None, "{name}");
    }

    let sent = upstream.only_request().await;
    assert_eq!(sent.body, b"payload");
    assert_eq!(sent.head.only("x-user-id"), Some("ann"));
    assert_eq!(sent.head.all("x_groups"), ["a", "b"]);
    for name in ["x-groups", "x_user_id", "x-secret"] {
        assert_eq!(sent.head.get(name), None, "{name}");
    }
    assert_eq!(sent.head.only("authorization"), Some("Bearer t"), "as with nginx");
    assert_eq!(sent.head.only("x-request-id"), asked.head.only("x-request-id"));
    let line = gateway.access_of("/b").await;
    assert_eq!(
        (&line["auth.scheme"], &line["auth.result"]),
        (&"legacy".into(), &"verified".into())
    );
    assert_eq!((&line["user.id"], &line["user.id.source"]), (&"ann".into(), &"claim".into()));
}

#[tokio::test]
async fn denial_reaches_the_client_whole() {
    let denials: [(&str, &[&str], &str); 4] = [
        (
            "401 Unauthorized",
            &["WWW-Authenticate: Bearer realm=\"id\"", "WWW-Authenticate: Basic"],
            "{\"why\":\"expired\"}",
        ),
        (
            "302 Found",
            &[
                "Location: https://id.test/login?state=1",
                "Set-Cookie: a=1; Path=/",
                "Set-Cookie: b=2",
            ],
            "",
        ),
        ("403 Forbidden", &["Content-Type: text/html", "Cache-Control: no-cache"], "<h1>No</h1>"),
        ("500 Internal Server Error", &["Retry-After: 7"], "broken"),
    ];
    for (status, fields, body) in denials {
        let of_connection = ["X-Hop: 1", "Connection: x-hop", "Keep-Alive: timeout=5"];
        let all = [fields, &of_connection].concat();
        let answer = respond(status, &all, body);
        let service = Upstream::answering(move |_| answer.clone()).await;
        let upstream = Upstream::echo().await;
        // An answer is no outage: nobody is admitted because of it.
        let gateway =
            asking(service.address(), &upstream, ", on_error: allow, cache: 1h").start().await;
        let answers = [
            gateway.get("/page", &["X-User-Id: root"]).await,
            gateway.refused(&Handshake::to("/ws")).await,
            gateway.send("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx").await,
        ];
        for answer in answers {
            assert_eq!(answer.head.line, format!("HTTP/1.1 {status}"));
            assert_eq!(answer.text(), body, "{status}");
            for field in fields {
                let (name, _) = field.split_once(": ").unwrap();
                let sent = fields.iter().filter_map(|it| it.split_once(": "));
                let sent: Vec<&str> =
                    sent.filter(|(other, _)| *other == name).map(|(_, value)| value).collect();
                assert_eq!(answer.head.all(name), sent, "{status} {name}");
            }
            for name in ["x-hop", "keep-alive"] {
                assert_eq!(answer.head.get(name), None, "{status} {name}");
            }
        }
        let parts = get_over_http2(&gateway, "/h2", &[]).await;
        assert_eq!(parts.status.as_str(), &status[..3]);
        let line = gateway.access_of("/ws").await;
        assert_eq!(
            (&line["auth.result"], &line["auth.reason"]),
            (&"refused".into(), &"answered".into())
        );
        assert_eq!(service.requests().len(), 4, "a denial is not cached");
        assert_eq!(upstream.connections(), 0);
    }
}

#[tokio::test]
async fn service_learns_what_trusted_proxies_report() {
    let (service, upstream) = (admitting().await, Upstream::saying("ok").await);
    let gateway =
        asking(service.address(), &upstream, "").top("trusted_proxies: [127.0.0.1]").start().await;
    let fields = [
        "Host: inner.test",
        "X-Forwarded-For: 192.0.2.9",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: shop.test",
        "X-Forwarded-Method: PUT",
        "X-Forwarded-Uri: /public",
    ];
    assert_eq!(gateway.get("/x", &fields).await.status(), 200);
    let asked = service.only_request().await.head;
    for (name, value) in [
        ("x-forwarded-for", "192.0.2.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop.test"),
        ("x-forwarded-method", "GET"),
        ("x-forwarded-uri", "/x"),
    ] {
        assert_eq!(asked.only(name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn client_over_http2_is_described_like_any_other() {
    let (service, upstream) = (admitting().await, Upstream::saying("ok").await);
    let gateway = asking(service.address(), &upstream, "").start().await;
    let fields = [("x-user-id", "root"), ("cookie", "a=1"), ("cookie", "b=2")];
    assert_eq!(get_over_http2(&gateway, "/h2?q=1", &fields).await.status, 200);
    let asked = service.only_request().await.head;
    assert_eq!(asked.only("x-forwarded-uri"), Some("/h2?q=1"));
    assert_eq!(asked.only("x-forwarded-host"), Some("localhost"));
    let cookies = asked.all("cookie").join("; ");
    assert_eq!(cookies, "a=1; b=2");
    assert_eq!(upstream.only_request().await.head.only("x-user-id"), Some("ann"));
}

#[tokio::test]
async fn websocket_is_opened_by_an_admission_and_outlives_its_cache() {
    let (service, upstream) = (admitting().await, Upstream::echo().await);
    let gateway = asking(
        service.address(),
        &upstream,
        ", send: [sec-websocket-protocol, cookie], cache: 1ms",
    )
    .start()
    .await;
    let handshake = Handshake::to("/ws?room=1").set("Cookie", "s=1").set("X-User-Id", "root");
    let (_, mut socket) = handshake.open(&gateway).await;
    let asked = service.only_request().await.head;
    assert_eq!(asked.only("x-forwarded-uri"), Some("/ws?room=1"));
    assert_eq!((asked.only("cookie"), asked.get("upgrade")), (Some("s=1"), None));
    assert_eq!(upstream.only_request().await.head.only("x-user-id"), Some("ann"));
    // The admission is stale: the next handshake asks anew, and this session goes on.
    drop(handshake.open(&gateway).await);
    assert_eq!(service.requests().len(), 2);
    socket.send(Message::text("still here")).await.unwrap();
    assert_eq!(next(&mut socket).await, Some(Message::text("still here")));
}

#[tokio::test]
async fn claims_and_the_named_user_are_checked_against_the_taken_headers() {
    let (service, upstream) = (admitting().await, Upstream::saying("ok").await);
    let require =
        "require: {any: [legacy], claims: {x_groups: {contains: b}}, user_matches: {query: user}}";
    let gateway = asking(service.address(), &upstream, "")
        .route("groups", "path_prefix: /groups", "service")
        .with("require: {any: [legacy], claims: {x_groups: {contains: c}}}")
        .route("own", "path_prefix: /own", "service")
        .with(require)
        .start()
        .await;
    for (target, status) in
        [("/own?user=ann", 200), ("/own?user=bob", 403), ("/own", 403), ("/groups", 403)]
    {
        assert_eq!(gateway.get(target, &[]).await.status(), status, "{target}");
    }
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn forged_header_is_removed_whichever_scheme_admits() {
    // The first service takes nothing, so it is the second whose headers a client might forge.
    let service = Upstream::answering(|_| ok("")).await;
    let (other, upstream) = (admitting().await, Upstream::saying("ok").await);
    let gateway = Config::to(&upstream)
        .with("require: {any: [plain, legacy]}")
        .top(&format!(
            "authentication:\n  plain: {{forward: {{url: \"http://{}/\"}}}}\n  \
             legacy: {{forward: {{url: \"http://{}/\", take: [x-user-id]}}}}",
            service.address(),
            other.address()
        ))
        .start()
        .await;
    assert_eq!(gateway.get("/", &["X-User-Id: root", "X_User_Id: root"]).await.status(), 200);
    let sent = upstream.only_request().await.head;
    assert_eq!((sent.get("x-user-id"), sent.get("x_user_id")), (None, None));
    assert!(other.requests().is_empty(), "the first has decided");
}
