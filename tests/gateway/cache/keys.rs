//! Which requests share a stored response.

use super::{cache_status, counting, gateway, is_hit};
use tidegate_testing::{Config, Upstream, respond};

#[tokio::test]
async fn vary_separates_stored_responses() {
    let upstream = Upstream::answering(|request| {
        let language = request.head.get("accept-language").unwrap_or("none").to_owned();
        let fields = &["Cache-Control: max-age=60", "Vary: Accept-Language, X-Other"];
        respond("200 OK", fields, &language)
    })
    .await;
    let gateway = gateway(&upstream, "on").await;
    for _ in 0..2 {
        for language in ["de", "en", "fr"] {
            let answer = gateway.get("/", &[&format!("Accept-Language: {language}")]).await;
            assert_eq!(answer.text(), language);
        }
        assert_eq!(gateway.get("/", &[]).await.text(), "none");
    }
    assert_eq!(upstream.requests().len(), 4);
    let both = gateway.get("/", &["Accept-Language: de", "X-Other: 1"]).await;
    assert!(!is_hit(&both));
}

#[tokio::test]
async fn encoded_response_is_served_only_to_clients_that_accept_it() {
    let upstream = Upstream::answering(|request| {
        let fields = &["Cache-Control: max-age=60", "Content-Encoding: gzip"];
        match request.head.get("accept-encoding") {
            Some("gzip") => respond("200 OK", fields, "zipped"),
            _ => respond("200 OK", &fields[..1], "plain"),
        }
    })
    .await;
    let gateway = gateway(&upstream, "on").await;
    let zip = &["Accept-Encoding: gzip"];
    assert_eq!(gateway.get("/", zip).await.text(), "zipped");
    assert_eq!(gateway.get("/", &[]).await.text(), "plain");
}

#[tokio::test]
async fn key_headers_separate_responses_without_vary() {
    let upstream = Upstream::answering(|request| {
        let tenant = request.head.all("x-tenant").join("+");
        respond("200 OK", &["Cache-Control: max-age=60"], &tenant)
    })
    .await;
    let gateway = gateway(&upstream, "{key_headers: [x-tenant]}").await;
    for _ in 0..2 {
        assert_eq!(gateway.get("/", &["X-Tenant: a"]).await.text(), "a");
        assert_eq!(gateway.get("/", &["X-Tenant: b"]).await.text(), "b");
        assert_eq!(gateway.get("/", &["X-Tenant: a", "X-Tenant: b"]).await.text(), "a+b");
    }
    assert_eq!(upstream.requests().len(), 3);
}

#[tokio::test]
async fn request_that_overrides_its_target_bypasses_the_cache() {
    let upstream = counting(&["Cache-Control: max-age=60"]).await;
    let gateway = gateway(&upstream, "on").await;
    for field in ["X-Original-URL: /admin", "X-HTTP-Method-Override: DELETE", "X-Host: evil"] {
        let poison = gateway.get("/", &[field]).await;
        assert_eq!(cache_status(&poison), "tidegate; fwd=bypass", "{field}");
    }
    let body = "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nevil";
    assert_eq!(cache_status(&gateway.send(body).await), "tidegate; fwd=bypass");
    // What a stranger says of the host is not believed, by the upstream neither.
    let stranger = gateway.get("/", &["X-Forwarded-Host: evil"]).await;
    assert_eq!(cache_status(&stranger), "tidegate; fwd=miss; stored");
    let request = upstream.request(4).await;
    assert_eq!(request.head.only("x-forwarded-host"), Some("localhost"));
}

#[tokio::test]
async fn reload_with_another_upstream_does_not_serve_old_responses() {
    let old =
        Upstream::answering(|_| respond("200 OK", &["Cache-Control: max-age=60"], "old")).await;
    let new =
        Upstream::answering(|_| respond("200 OK", &["Cache-Control: max-age=60"], "new")).await;
    let gateway = gateway(&old, "on").await;
    gateway.get("/", &[]).await;
    assert_eq!(gateway.get("/", &[]).await.text(), "old");
    // The same names, other addresses.
    let mark = gateway.mark();
    gateway.rewrite(&Config::to(&new).with("cache: on"));
    gateway.says(mark, "routes: changed").await;
    assert_eq!(gateway.get("/", &[]).await.text(), "new");
    assert!(is_hit(&gateway.get("/", &[]).await));
    // What changes nothing of the route leaves it what it has.
    let mark = gateway.mark();
    gateway.rewrite(&Config::to(&new).with("cache: on").top("cache: {max_size: 1MiB}"));
    gateway.says(mark, "no routes changed").await;
    assert!(is_hit(&gateway.get("/", &[]).await));
}

#[tokio::test]
async fn each_upstream_of_a_split_has_its_own_entries() {
    let fields = &["Cache-Control: max-age=60"];
    let stable = Upstream::answering(|_| respond("200 OK", fields, "stable")).await;
    let canary = Upstream::answering(|_| respond("200 OK", fields, "canary")).await;
    let gateway = Config::new()
        .upstream("stable", &[stable.address()])
        .upstream("canary", &[canary.address()])
        .route("all", "path_prefix: /", "stable")
        .with("split: [{upstream: canary, headers: {x-canary: \"1\"}}]")
        .with("cache: on")
        .start()
        .await;
    for _ in 0..2 {
        assert_eq!(gateway.get("/", &[]).await.text(), "stable");
        assert_eq!(gateway.get("/", &["X-Canary: 1"]).await.text(), "canary");
    }
    assert_eq!((stable.requests().len(), canary.requests().len()), (1, 1));
}

#[tokio::test]
async fn forwarded_host_of_a_trusted_proxy_is_part_of_the_key() {
    let upstream = counting(&["Cache-Control: max-age=60"]).await;
    let gateway =
        Config::to(&upstream).with("cache: on").top("trusted_proxies: [127.0.0.0/8]").start().await;
    let first = gateway.get("/", &["Forwarded: for=192.0.2.1;host=a;proto=https"]).await;
    for (field, expected) in [
        ("Forwarded: for=192.0.2.2;host=a;proto=https", true),
        ("Forwarded: for=192.0.2.1;host=b;proto=https", false),
        ("Forwarded: for=\"x;host=b\";host=a;proto=https", false),
        ("X-Forwarded-Host: a", false),
        ("X-Forwarded-Host: b", false),
        ("X-Forwarded-Proto: https", false),
        ("X-Forwarded-For: 192.0.2.9", false),
    ] {
        let answer = gateway.get("/", &[field]).await;
        assert_eq!(answer.text() == first.text(), expected, "{field}");
    }
    assert!(is_hit(&gateway.get("/", &["X-Forwarded-For: 192.0.2.10"]).await));
}

#[tokio::test]
async fn cached_route_forwards_the_host_of_its_key() {
    let upstream = counting(&["Cache-Control: max-age=60"]).await;
    let gateway = gateway(&upstream, "on").await;
    for host in ["Shop.TEST:80", "shop.test", "SHOP.test", "shop.test:"] {
        gateway.get("/", &[&format!("Host: {host}")]).await;
    }
    let head = upstream.only_request().await.head;
    assert_eq!(head.only("host"), Some("shop.test"));
    assert_eq!(head.only("x-forwarded-host"), Some("shop.test"));
    let forwarded = head.only("forwarded").expect("one Forwarded header");
    assert!(forwarded.contains("host=\"shop.test\""), "{forwarded}");
    // Without a cache it goes on as it came.
    let plain = Config::to(&upstream).start().await;
    plain.get("/plain", &["Host: Shop.TEST:80"]).await;
    assert_eq!(upstream.request(1).await.head.only("host"), Some("Shop.TEST:80"));
}
