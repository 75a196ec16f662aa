//! Clients over their rate get 429 with `Retry-After`, and others are not affected.

use tidegate_testing::{Config, Gateway, Handshake, Metrics, Upstream, cli, free_port, until};

/// How many of these requests, one after the other, are answered with 200.
async fn admitted(gateway: &Gateway, target: &str, fields: &[&str], count: usize) -> usize {
    let mut admitted = 0;
    for _ in 0..count {
        match gateway.get(target, fields).await.status() {
            200 => admitted += 1,
            status => assert_eq!(status, 429),
        }
    }
    admitted
}

#[tokio::test]
async fn rfc6585_4_limited_request_is_429_with_retry_after() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream)
        .with("rate_limits: [{requests: 6, per: 1h, burst: 3}]")
        .cors(&["https://app.example"], "")
        .start()
        .await;
    assert_eq!(admitted(&gateway, "/", &[], 3).await, 3);
    let refused = gateway.get("/", &["Origin: https://app.example"]).await;
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.head.only("retry-after").expect("a time").parse().expect("seconds");
    assert!((500..=600).contains(&wait), "one in ten minutes: {wait}");
    assert_eq!(refused.error()["error"], "rate_limited");
    let message = refused.error()["message"].as_str().expect("text").to_owned();
    assert!(message.contains("6 per 1h by client_address, burst 3"), "{message}");
    assert_eq!(refused.head.only("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(gateway.refused(&Handshake::to("/ws")).await.status(), 429);
    assert_eq!(upstream.requests().len(), 3, "the upstream is not asked");
}

#[tokio::test]
async fn each_user_client_key_and_cookie_has_its_own_limit() {
    let upstream = Upstream::saying("ok").await;
    let address = [upstream.address()];
    let limits = |by: &str| format!("rate_limits: [{{requests: 2, per: 1h, by: {by}}}]");
    let gateway = Config::new()
        .top("trusted_proxies: [127.0.0.1]")
        .top("identity: {user_id: [{query: userId}]}")
        .upstream("service", &address)
        .route("client", "path_prefix: /client", "service")
        .with(&limits("client_address"))
        .route("user", "path_prefix: /user", "service")
        .with(&limits("user_id"))
        .route("key", "path_prefix: /key", "service")
        .with(&limits("{header: x-api-key}"))
        .route("cookie", "path_prefix: /cookie", "service")
        .with(&limits("{cookie: sid}"))
        .route("all", "path_prefix: /all", "service")
        .with(&limits("all"))
        .start()
        .await;
    let from = |address: &str| format!("X-Forwarded-For: {address}");
    for (target, field, count) in [
        ("/client", from("192.0.2.1"), 2),
        ("/client", from("192.0.2.2"), 2),
        ("/client", from("192.0.2.1"), 0),
        // RFC 6177: each client has a /64 at least.
        ("/client", from("2001:db8::1"), 2),
        ("/client", from("2001:db8::ffff"), 0),
        ("/client", from("2001:db8:0:1::1"), 2),
        ("/user?userId=a", from("192.0.2.1"), 2),
        ("/user?userId=a", from("192.0.2.2"), 0),
        ("/user?userId=b", from("192.0.2.1"), 2),
        // Without a name, by the address: nobody does without a limit so.
        ("/user", from("192.0.2.1"), 2),
        ("/user", from("192.0.2.1"), 0),
        ("/user", from("192.0.2.2"), 2),
        ("/key", "X-Api-Key: one".to_owned(), 2),
        ("/key", "X-Api-Key: two".to_owned(), 2),
        ("/key", "X-Api-Key: one".to_owned(), 0),
        ("/cookie", "Cookie: sid=one".to_owned(), 2),
        ("/cookie", "Cookie: a=b; sid=two".to_owned(), 2),
        ("/cookie", "Cookie: sid=two".to_owned(), 0),
        ("/all", from("192.0.2.1"), 2),
        ("/all", from("192.0.2.2"), 0),
    ] {
        assert_eq!(admitted(&gateway, target, &[&field], 3).await, count, "{target} {field}");
    }
}

#[tokio::test]
async fn all_limits_apply_and_a_route_replaces_global_ones() {
    let upstream = Upstream::saying("ok").await;
    let address = [upstream.address()];
    let admin = free_port();
    let gateway = Config::new()
        .top("rate_limits: [{requests: 5, per: 1h, by: all}, {requests: 3, per: 1h, by: {header: x-key}}]")
        .top(&format!("admin: {{address: \"127.0.0.1:{admin}\"}}"))
        .cors(&["https://app.example"], "")
        .upstream("service", &address)
        .route("a", "path_prefix: /a", "service")
        .route("b", "path_prefix: /b", "service")
        .route("own", "path_prefix: /own", "service")
        .with("rate_limits: [{requests: 1, per: 1h}]")
        .route("free", "path_prefix: /free", "service")
        .with("rate_limits: []")
        .start()
        .await;
    assert_eq!(admitted(&gateway, "/a", &["X-Key: 1"], 4).await, 3, "those of one key");
    assert_eq!(admitted(&gateway, "/b", &["X-Key: 2"], 4).await, 1, "and all, of both routes");
    assert_eq!(admitted(&gateway, "/own", &[], 3).await, 1);
    assert_eq!(admitted(&gateway, "/free", &[], 20).await, 20);
    let preflight = "OPTIONS /own HTTP/1.1\r\nHost: x\r\nOrigin: https://app.example\r\n\
                     Access-Control-Request-Method: PUT\r\n\r\n";
    assert_eq!(gateway.send(preflight).await.status(), 204, "the gateway's own answer");
    let text = reqwest::get(format!("http://127.0.0.1:{admin}/metrics")).await.expect("an answer");
    let metrics = Metrics::parse(&text.text().await.expect("text"));
    let name = "tidegate_rate_limited_requests_total";
    let own = [
        ("route", "own"),
        ("by", "client_address"),
        ("limit", "1 per 1h by client_address, burst 1"),
    ];
    assert!((metrics.value(name, &own) - 2.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn reload_keeps_unchanged_limits_and_explain_counts_nothing() {
    let upstream = Upstream::saying("ok").await;
    let config = Config::to(&upstream).with("rate_limits: [{requests: 2, per: 1h}]");
    let gateway = config.start().await;
    let url = format!("http://127.0.0.1:{}/", gateway.port());
    for _ in 0..3 {
        let told = cli(gateway.folder(), &["explain", &url], &[]).await;
        assert!(told.stdout.contains("2 per 1h by client_address"), "{}", told.all());
    }
    assert_eq!(admitted(&gateway, "/", &[], 2).await, 2);
    let mark = gateway.mark();
    gateway.rewrite(&config.clone().with("max_body_size: 1MiB"));
    gateway.says(mark, "reloaded").await;
    assert_eq!(admitted(&gateway, "/", &[], 2).await, 0);
    let looser = Config::to(&upstream).with("rate_limits: [{requests: 3, per: 1h}]");
    gateway.rewrite(&looser);
    until("the new limit", async || gateway.get("/", &[]).await.status() == 200).await;
}

#[tokio::test]
async fn invalid_rate_limits_are_refused_with_positions() {
    let upstream = Upstream::saying("ok").await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tidegate.yaml");
    let yaml = Config::to(&upstream)
        .top("rate_limits: [{requests: 1, per: 0s}, {requests: 0}, {requests: 1, by: {heder: x}}]")
        .top("shared_counters: {url: \"redis://:secret@localhost\", timeout: 0ms, lease: 10ms}")
        .with("rate_limits: [{requests: 1, per: 48h}]")
        .yaml(3000);
    std::fs::write(&file, yaml).expect("the file");
    let run = cli(folder.path(), &["check", "--config", "tidegate.yaml"], &[]).await;
    assert_eq!(run.code, Some(78), "{}", run.all());
    for told in [
        "rate_limits[1].requests: `0`: must be at least 1",
        "rate_limits[0].per: must be more than 0s",
        "rate_limits[2].by.heder: unknown key",
        "shared_counters.url: the URL must not contain a password",
        "shared_counters.timeout: must be more than 0s",
        "shared_counters.lease: must be at least 1s",
        "routes[0].rate_limits[0].per: must be more than 0s and at most a day",
    ] {
        assert!(run.stderr.contains(told), "{told} in:\n{}", run.stderr);
    }
}
