//! A request goes to the most specific route, in any spelling of its path.

use tidegate_testing::{Config, Gateway, Upstream, free_port, ok};

/// A gateway whose routes lead to one upstream that answers with the request's target, and the
/// name of the route that a request took, as the access log has it.
struct Routed {
    gateway: Gateway,
    upstream: Upstream,
}

impl Routed {
    async fn new(build: impl FnOnce(Config) -> Config) -> Self {
        let upstream = Upstream::answering(|request| ok(request.head.target())).await;
        let config = Config::new().upstream("service", &[upstream.address()]);
        Self { gateway: build(config).start().await, upstream }
    }

    /// The route's name, or the status when there is none.
    async fn route(&self, target: &str, fields: &[&str]) -> Result<String, u16> {
        let answer = self.gateway.get(target, fields).await;
        if answer.status() != 200 {
            return Err(answer.status());
        }
        let id = answer.head.only("x-request-id").expect("an id").to_owned();
        let line = self.gateway.access("the request", |line| line["http.request.id"] == *id).await;
        Ok(line["http.route"].as_str().expect("a route").to_owned())
    }

    async fn takes(&self, cases: &[(&str, &str)]) {
        for &(target, route) in cases {
            assert_eq!(self.route(target, &[]).await.as_deref(), Ok(route), "{target}");
        }
    }

    /// What the upstream saw as the target.
    async fn forwarded(&self, target: &str) -> String {
        let answer = self.gateway.get(target, &[]).await;
        assert_eq!(answer.status(), 200, "{target}");
        answer.text()
    }
}

#[tokio::test]
async fn prefix_matches_whole_segments_only() {
    let routed = Routed::new(|config| {
        config.route("notification", "path_prefix: /api/notification", "service")
    })
    .await;
    routed
        .takes(&[
            ("/api/notification", "notification"),
            ("/api/notification/", "notification"),
            ("/api/notification/x", "notification"),
            ("/api/notification?x", "notification"),
        ])
        .await;
    for target in [
        "/api/notifications",
        "/api/notifications/ws",
        "/api",
        "/",
        "/api/notificatio",
        "/API/notification",
    ] {
        let answer = routed.gateway.get(target, &[]).await;
        assert_eq!(answer.status(), 404, "{target}");
        let _ = answer.error();
    }
}

#[tokio::test]
async fn longest_prefix_wins_in_any_order() {
    let prefixes = [
        ("root", "/"),
        ("api", "/api"),
        ("ws", "/api/notifications/ws"),
        ("all", "/api/notifications"),
    ];
    for reverse in [false, true] {
        let mut order = prefixes;
        if reverse {
            order.reverse();
        }
        let routed = Routed::new(|mut config| {
            for (name, prefix) in order {
                config = config.route(name, &format!("path_prefix: {prefix}"), "service");
            }
            config
        })
        .await;
        routed
            .takes(&[
                ("/", "root"),
                ("/apix", "root"),
                ("/api", "api"),
                ("/api/notification", "api"),
                ("/api/notifications", "all"),
                ("/api/notifications/wsx", "all"),
                ("/api/notifications/ws", "ws"),
                ("/api/notifications/ws/1", "ws"),
            ])
            .await;
    }
}

#[tokio::test]
async fn exact_path_precedes_a_prefix_and_matches_only_itself() {
    let routed = Routed::new(|config| {
        config.route("prefix", "path_prefix: /a/b", "service").route(
            "exact",
            "path: /a/b",
            "service",
        )
    })
    .await;
    routed
        .takes(&[("/a/b", "exact"), ("/a/b?q", "exact"), ("/a/b/", "prefix"), ("/a/b/c", "prefix")])
        .await;
}

#[tokio::test]
async fn exact_host_precedes_wildcard_precedes_any_host() {
    let routed = Routed::new(|config| {
        config
            .route("any", "path_prefix: /", "service")
            .route("wild", "hosts: [\"*.example.com\"]", "service")
            .route("deeper", "hosts: [\"*.b.example.com\"]", "service")
            .route("exact", "hosts: [a.example.com]", "service")
    })
    .await;
    for (host, route) in [
        ("a.example.com", "exact"),
        ("A.EXAMPLE.com", "exact"),
        ("a.example.com:8080", "exact"),
        ("c.example.com", "wild"),
        ("x.a.example.com", "wild"),
        ("x.b.example.com", "deeper"),
        ("example.com", "any"),
        ("evilexample.com", "any"),
        ("a.example.com.evil.test", "any"),
        ("[::1]:3000", "any"),
    ] {
        let got = routed.route("/", &[&format!("Host: {host}")]).await;
        assert_eq!(got.as_deref(), Ok(route), "{host}");
    }
}

#[tokio::test]
async fn longer_prefix_precedes_a_host() {
    let routed = Routed::new(|config| {
        config.route("host", "path_prefix: /, hosts: [a.test]", "service").route(
            "path",
            "path_prefix: /deep",
            "service",
        )
    })
    .await;
    assert_eq!(routed.route("/deep/x", &["Host: a.test"]).await.as_deref(), Ok("path"));
    assert_eq!(routed.route("/x", &["Host: a.test"]).await.as_deref(), Ok("host"));
    assert_eq!(routed.route("/x", &["Host: b.test"]).await, Err(404));
}

#[tokio::test]
async fn methods_select_a_route_and_others_are_answered_405() {
    let routed = Routed::new(|config| {
        config.route("read", "path_prefix: /x, methods: [GET, HEAD]", "service").route(
            "write",
            "path_prefix: /x, methods: [POST]",
            "service",
        )
    })
    .await;
    assert_eq!(routed.route("/x", &[]).await.as_deref(), Ok("read"));
    let posted = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(routed.gateway.send(posted).await.status(), 200);
    let refused = routed.gateway.send(posted.replace("POST", "DELETE")).await;
    assert_eq!(refused.status(), 405);
    assert_eq!(refused.head.only("allow").map(|_| ()), Some(()));
    let mut allowed = refused.head.list("allow");
    allowed.sort();
    assert_eq!(allowed, ["get", "head", "post"]);
    let _ = refused.error();
    assert_eq!(routed.gateway.send(posted.replace("/x", "/y")).await.status(), 404);
}

#[tokio::test]
async fn get_route_takes_head_and_methods_are_case_sensitive() {
    let routed = Routed::new(|config| {
        config.answer("get", "path_prefix: /, methods: [GET]", "respond: {body: hi}").answer(
            "delete",
            "path_prefix: /api, methods: [DELETE]",
            "respond: {status: 403}",
        )
    })
    .await;
    let mut wire = routed.gateway.connect().await;
    wire.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let head = wire.head().await;
    assert_eq!((head.status(), head.only("content-length")), (Some(200), Some("2")));
    let post = routed.gateway.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!((post.status(), post.head.only("allow")), (405, Some("GET, HEAD")));
    for method in ["delete", "Delete", "get", "trace", "connect", "Patch"] {
        let answer =
            routed.gateway.send(format!("{method} /api/1 HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!(answer.status(), 400, "{method}");
    }
}

#[tokio::test]
async fn headers_and_query_parameters_select_a_route() {
    let routed = Routed::new(|config| {
        config
            .route("plain", "path_prefix: /", "service")
            .route("beta", "path_prefix: /, headers: {x-stage: beta}", "service")
            .route(
                "beta-v2",
                "path_prefix: /, headers: {x-stage: beta}, query: {v: \"2\"}",
                "service",
            )
            .route("debug", "path_prefix: /, query: {debug: {present: true}}", "service")
    })
    .await;
    let cases: [(&str, &[&str], &str); 8] = [
        ("/", &[], "plain"),
        ("/", &["X-Stage: beta"], "beta"),
        ("/", &["X-Stage: Beta"], "plain"),
        ("/?v=2", &["X-Stage: beta"], "beta-v2"),
        ("/?v=%32", &["X-Stage: beta"], "beta-v2"),
        ("/?v=3", &["X-Stage: beta"], "beta"),
        ("/?debug", &[], "debug"),
        ("/?a=1&debug=0", &[], "debug"),
    ];
    for (target, fields, route) in cases {
        assert_eq!(routed.route(target, fields).await.as_deref(), Ok(route), "{target} {fields:?}");
    }
}

#[tokio::test]
async fn unmatched_path_is_answered_404_in_json() {
    let routed = Routed::new(|config| config.route("a", "path_prefix: /a", "service")).await;
    let answer = routed.gateway.get("/b", &[]).await;
    assert_eq!(answer.status(), 404);
    let _ = answer.error();
    assert_eq!(routed.upstream.connections(), 0);
}

#[tokio::test]
async fn rewrite_prefix_replaces_the_matched_prefix() {
    let routed = Routed::new(|config| {
        config
            .route("strip", "path_prefix: /api/v1", "service")
            .with("rewrite: {prefix: /}")
            .route("move", "path_prefix: /old", "service")
            .with("rewrite: {prefix: /new/place}")
            .route("grow", "path_prefix: /", "service")
            .with("rewrite: {prefix: /all}")
    })
    .await;
    for (target, forwarded) in [
        ("/api/v1", "/"),
        ("/api/v1/", "/"),
        ("/api/v1/users", "/users"),
        ("/api/v1/users/?a=//b", "/users/?a=//b"),
        ("/api/v1?x=1", "/?x=1"),
        ("/old", "/new/place"),
        ("/old/x", "/new/place/x"),
        ("/other", "/all/other"),
    ] {
        assert_eq!(routed.forwarded(target).await, forwarded, "{target}");
    }
}

#[tokio::test]
async fn rewrite_host_sets_the_host_for_the_upstream() {
    let routed = Routed::new(|config| {
        config
            .route("keep", "path_prefix: /", "service")
            .route("say", "path_prefix: /preserve", "service")
            .with("rewrite: {host: preserve}")
            .route("own", "path_prefix: /upstream", "service")
            .with("rewrite: {host: upstream}")
            .route("name", "path_prefix: /name", "service")
            .with("rewrite: {host: internal.test}")
    })
    .await;
    let address = routed.upstream.address().to_string();
    for (number, (target, host)) in [
        ("/", "shop.test:81"),
        ("/preserve", "shop.test:81"),
        ("/upstream", address.as_str()),
        ("/name", "internal.test"),
    ]
    .into_iter()
    .enumerate()
    {
        routed.gateway.get(target, &["Host: shop.test:81"]).await;
        assert_eq!(routed.upstream.request(number).await.head.only("host"), Some(host), "{target}");
    }
}

#[tokio::test]
async fn rfc9112_3_2_2_absolute_target_sets_the_host() {
    let routed = Routed::new(|config| {
        config.route("shop", "path_prefix: /, hosts: [shop.test]", "service").route(
            "other",
            "path_prefix: /, hosts: [other.test]",
            "service",
        )
    })
    .await;
    let taken = routed.route("http://shop.test/x/../y?q=1", &["Host: shop.test"]).await;
    assert_eq!(taken.as_deref(), Ok("shop"));
    let head = routed.upstream.only_request().await.head;
    assert_eq!(head.target(), "/y?q=1");
    assert_eq!(head.only("host"), Some("shop.test"));
    assert_eq!(head.only("x-forwarded-host"), Some("shop.test"));
    // A `Host` that says another thing is a lie (RFC 9112, 3.2.2: a client must send the same).
    let lie = routed.route("http://shop.test/", &["Host: other.test"]).await;
    assert!(lie == Err(400) || lie.as_deref() == Ok("shop"), "{lie:?}");
}

#[tokio::test]
async fn no_spelling_bypasses_a_prefix() {
    let routed = Routed::new(|config| {
        config.route("public", "path_prefix: /", "service").route(
            "admin",
            "path_prefix: /admin",
            "service",
        )
    })
    .await;
    for target in [
        "/admin",
        "//admin",
        "/./admin/x",
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/%2E./admin/",
        "/%61dmin",
        "/../../admin//x",
        "/a/b/../..//admin/./x",
    ] {
        assert_eq!(routed.route(target, &[]).await.as_deref(), Ok("admin"), "{target}");
    }
    assert_eq!(routed.route("/admin/../public", &[]).await.as_deref(), Ok("public"));
    for request in routed.upstream.requests() {
        let target = request.head.target();
        assert!(target.starts_with("/admin") || target == "/public", "{target}");
        assert!(!target.contains("//") && !target.contains("/."), "{target}");
    }
}

#[tokio::test]
async fn ambiguous_path_is_answered_400() {
    let routed = Routed::new(|config| config.route("all", "path_prefix: /", "service")).await;
    for target in [
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/a\\b",
        "/a%00b",
        "/a%0d%0ab",
        "/a%7f",
        "/%",
        "/%zz",
        "/a/..;/b",
    ] {
        let answer = routed.gateway.get(target, &[]).await;
        assert_eq!(answer.status(), 400, "{target}");
    }
    assert_eq!(routed.upstream.connections(), 0, "the upstream is not asked");
}

#[tokio::test]
async fn query_is_forwarded_byte_for_byte() {
    let routed = Routed::new(|config| config.route("all", "path_prefix: /", "service")).await;
    for target in [
        "/?",
        "/?a=1&a=2&&=&b",
        "/x?p=/../..//%2e%2e%2F%00%zz",
        "/x?a+b%20c=%c3%a9&u=http://h/p?q=1",
        "/x?q=[1]{2}|3^`'\\",
    ] {
        assert_eq!(routed.forwarded(target).await, target);
    }
}

#[tokio::test]
async fn endpoints_are_used_in_turn() {
    let (a, b) = (Upstream::saying("a").await, Upstream::saying("b").await);
    let gateway = Config::new()
        .upstream("both", &[a.address(), b.address()])
        .route("all", "path_prefix: /", "both")
        .start()
        .await;
    let mut turns = String::new();
    for _ in 0..6 {
        turns += &gateway.get("/", &[]).await.text();
    }
    assert!(["ababab", "bababa"].contains(&turns.as_str()), "{turns}");
}

/// The turn is shared by all requests: a second attempt that merely took the next turn would
/// meet the dead endpoint again when many come at once.
#[tokio::test]
async fn dead_endpoint_fails_no_concurrent_request() {
    let alive = Upstream::saying("alive").await;
    let dead = format!("127.0.0.1:{}", free_port());
    let gateway = Config::new()
        .upstream("both", &[dead, alive.address().to_string()])
        .route("all", "path_prefix: /", "both")
        .start()
        .await;
    for _ in 0..5 {
        let requests = (0..20).map(|_| gateway.get("/", &[]));
        for answer in futures_util::future::join_all(requests).await {
            assert_eq!((answer.status(), answer.text().as_str()), (200, "alive"));
        }
    }
}

#[tokio::test]
async fn weights_set_the_share_of_each_endpoint() {
    let (a, b) = (Upstream::saying("a").await, Upstream::saying("b").await);
    let gateway = Config::new()
        .weighted("both", &[(&a, 3), (&b, 1)])
        .route("all", "path_prefix: /", "both")
        .start()
        .await;
    let mut turns = String::new();
    for _ in 0..16 {
        turns += &gateway.get("/", &[]).await.text();
    }
    assert_eq!(turns.matches('a').count(), 12, "{turns}");
    assert!(!turns.contains("aaaa"), "spread evenly: {turns}");
}

#[tokio::test]
async fn endpoint_name_is_resolved() {
    let upstream = Upstream::saying("by name").await;
    let port = upstream.address().port();
    let gateway = Config::to_address(format!("localhost:{port}")).start().await;
    assert_eq!(gateway.get("/", &[]).await.text(), "by name");
    drop(gateway.get("/", &[]).await);
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn unresolvable_endpoint_is_answered_502_or_503() {
    let gateway = Config::to_address("no-such-host.invalid:80").start().await;
    let answer = gateway.get("/", &[]).await;
    assert!([502, 503].contains(&answer.status()), "{}", answer.status());
    let _ = answer.error();
    assert!(!answer.text().contains("no-such-host"), "{}", answer.text());
}
