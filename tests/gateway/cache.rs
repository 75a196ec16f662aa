//! Responses are cached and shared as RFC 9111 allows a shared cache, and never served to the wrong client.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tidegate_testing::http2::{self, Frames, get_over_http2};
use tidegate_testing::{
    Config, Gateway, Https, Response, SITES, TOKEN, Upstream, Wire, cli, free_port, get, ok,
    respond, until,
};
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;

/// Answers each request with its number, from 1, and these fields.
async fn counting(fields: &'static [&'static str]) -> Upstream {
    let count = AtomicUsize::new(0);
    Upstream::answering(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        respond("200 OK", fields, &format!("answer {number}"))
    })
    .await
}

async fn gateway(upstream: &Upstream, setting: &str) -> Gateway {
    Config::to(upstream).with(&format!("cache: {setting}")).start().await
}

/// What the gateway's cache says of an answer.
fn told(answer: &Response) -> &str {
    answer.head.only("cache-status").unwrap_or_default()
}

fn is_hit(answer: &Response) -> bool {
    told(answer).starts_with("tidegate; hit; ttl=")
}

/// Asks twice; whether the second came from the cache.
async fn is_kept(fields: &'static [&'static str], setting: &str, request: &[&str]) -> bool {
    let upstream = counting(fields).await;
    let gateway = gateway(&upstream, setting).await;
    let first = gateway.get("/", request).await;
    let second = gateway.get("/", request).await;
    assert_eq!(first.text(), "answer 1", "{fields:?} {request:?}");
    assert!(!is_hit(&first), "{fields:?} {request:?}");
    assert_eq!(is_hit(&second), second.text() == "answer 1", "{fields:?}: {}", second.head.text);
    is_hit(&second)
}

#[tokio::test]
async fn fresh_response_is_served_without_the_upstream() {
    let upstream =
        counting(&["Cache-Control: max-age=60", "Age: 7", "ETag: \"v1\"", "X-Request-Id: theirs"])
            .await;
    let gateway = gateway(&upstream, "on").await;
    let first = gateway.get("/a?b=c", &[]).await;
    assert_eq!(told(&first), "tidegate; fwd=miss; stored");
    let second = gateway.get("/a?b=c", &[]).await;
    assert_eq!(second.text(), "answer 1");
    let ttl: i64 = told(&second).rsplit('=').next().unwrap().parse().unwrap();
    assert!((40..=53).contains(&ttl), "the upstream's own Age counts: {ttl}");
    let age: u64 = second.head.only("age").expect("an age").parse().unwrap();
    assert!((7..20).contains(&age), "{age}");
    assert_ne!(second.head.only("x-request-id"), first.head.only("x-request-id"));
    assert_ne!(second.head.only("x-request-id"), Some("theirs"));
    assert_eq!(upstream.requests().len(), 1);
    // A query, a path and a host of its own each.
    for (target, host) in [("/a?b=d", "localhost"), ("/a", "localhost"), ("/a?b=c", "other")] {
        let answer = gateway.get(target, &[&format!("Host: {host}")]).await;
        assert!(!is_hit(&answer), "{target} at {host}");
    }
    // Two ways to write the same.
    let same = gateway.get("/x/../a?b=c", &["Host: LOCALHOST:80"]).await;
    assert!(is_hit(&same), "{}", same.head.text);
    let line = gateway.access("a hit", |line| line["cache"] == "hit").await;
    assert_eq!(line["http.response.status_code"], 200);
    assert_eq!(line["http.response.body.size"], 8);
    assert_eq!(line["upstream.address"], serde_json::Value::Null);
    gateway.access("a miss", |line| line["cache"] == "miss").await;
}

#[tokio::test]
async fn rfc9111_3_only_responses_that_allow_it_are_stored() {
    for (fields, expected) in [
        (&["Cache-Control: max-age=60"][..], true),
        (&["Cache-Control: s-maxage=60, max-age=0"], true),
        (&["Cache-Control: max-age=60, s-maxage=0"], false),
        (&["Expires: Thu, 01 Jan 2099 00:00:00 GMT"], true),
        (&["Expires: Thu, 01 Jan 1970 00:00:00 GMT"], false),
        (&["Expires: 0"], false),
        (&["Cache-Control: max-age=x"], false),
        (&["Cache-Control: max-age=0, max-age=100"], false),
        (&["Cache-Control: s-maxage=0", "Cache-Control: s-maxage=100"], false),
        (&["Cache-Control: max-age=100, max-age=100"], true),
        (&["Cache-Control: max-age=60, no-store"], false),
        (&["Cache-Control: max-age=60", "Cache-Control: Private"], false),
        (&["Cache-Control: max-age=60, private=\"X-Secret\"", "X-Secret: 1"], true),
        (&["Cache-Control: max-age=60", "Set-Cookie: a=b"], false),
        (&["Cache-Control: max-age=60, public", "Set-Cookie: a=b"], true),
        (&["Cache-Control: max-age=60", "Vary: *"], false),
        (&["Cache-Control: max-age=60", "Vary: X-Forwarded-For"], false),
        (&["Cache-Control: max-age=60", "Content-Type: text/event-stream"], false),
        (&["Cache-Control: max-age=60", "Content-Range: bytes 0-7/8"], false),
        (&["Cache-Control: public"], false),
        (&["Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT"], false),
        (&["Cache-Control: max-age=60", "Age: 61"], false),
        (&[], false),
    ] {
        assert_eq!(is_kept(fields, "on", &[]).await, expected, "{fields:?}");
    }
}

#[tokio::test]
async fn private_header_is_not_served_to_others() {
    let fields = &["Cache-Control: max-age=60, private=\"X-Secret\"", "X-Secret: 1", "X-Open: 2"];
    let upstream = counting(fields).await;
    let gateway = gateway(&upstream, "on").await;
    gateway.get("/", &[]).await;
    let second = gateway.get("/", &[]).await;
    assert!(is_hit(&second));
    assert_eq!((second.head.get("x-secret"), second.head.get("x-open")), (None, Some("2")));
}

#[tokio::test]
async fn rfc9111_3_5_with_credentials_only_public_responses_are_stored() {
    let with = &["Authorization: Basic eDp5"][..];
    for (fields, expected) in [
        (&["Cache-Control: max-age=60"][..], false),
        (&["Cache-Control: max-age=60, public"], true),
        (&["Cache-Control: s-maxage=60"], true),
        (&["Cache-Control: max-age=60, must-revalidate"], true),
    ] {
        assert_eq!(is_kept(fields, "on", with).await, expected, "{fields:?}");
    }
    // One who has credentials does not keep others from what is for them.
    let upstream = counting(&["Cache-Control: max-age=60"]).await;
    let gateway = gateway(&upstream, "on").await;
    assert_eq!(told(&gateway.get("/", with).await), "tidegate; fwd=miss");
    assert_eq!(told(&gateway.get("/", &[]).await), "tidegate; fwd=miss; stored");
    assert!(is_hit(&gateway.get("/", &[]).await));
}

#[tokio::test]
async fn response_without_freshness_is_stored_for_default_ttl() {
    assert!(!is_kept(&[], "on", &[]).await);
    assert!(is_kept(&[], "{default_ttl: 1m}", &[]).await);
    assert!(!is_kept(&[], "{default_ttl: 1m}", &["Cookie: a=b"]).await);
    assert!(!is_kept(&[], "{default_ttl: 1m}", &["Authorization: x"]).await);
    assert!(!is_kept(&["Set-Cookie: a=b"], "{default_ttl: 1m}", &[]).await);
    assert!(is_kept(&["Cache-Control: max-age=60"], "on", &["Cookie: a=b"]).await);
    assert!(!is_kept(&["Cache-Control: max-age=60"], "{max_ttl: 0s}", &[]).await);
    assert!(!is_kept(&["Cache-Control: max-age=60"], "off", &[]).await);
}

#[tokio::test]
async fn errors_and_unknown_statuses_are_not_stored() {
    let count = AtomicUsize::new(0);
    let upstream = Upstream::answering(move |request| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let status = request.head.target().trim_start_matches('/').to_owned();
        respond(&format!("{status} X"), &["Cache-Control: max-age=60"], &format!("{number}"))
    })
    .await;
    let gateway = gateway(&upstream, "{default_ttl: 1m}").await;
    for (status, expected) in [
        (200, true),
        (404, true),
        (301, true),
        (410, true),
        (206, false),
        (299, false),
        (500, false),
        (503, false),
    ] {
        let first = gateway.get(&format!("/{status}"), &[]).await;
        let second = gateway.get(&format!("/{status}"), &[]).await;
        assert_eq!(first.status(), status);
        assert_eq!(is_hit(&second), expected, "{status}");
        assert_eq!(first.text() == second.text(), expected, "{status}");
    }
}

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
        assert_eq!(told(&poison), "tidegate; fwd=bypass", "{field}");
    }
    let body = "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nevil";
    assert_eq!(told(&gateway.send(body).await), "tidegate; fwd=bypass");
    // What a stranger says of the host is not believed, by the upstream neither.
    let stranger = gateway.get("/", &["X-Forwarded-Host: evil"]).await;
    assert_eq!(told(&stranger), "tidegate; fwd=miss; stored");
    let request = upstream.request(4).await;
    assert_eq!(request.head.only("x-forwarded-host"), Some("localhost"));
}

#[tokio::test]
async fn rfc9111_5_2_1_request_directives_are_obeyed() {
    let upstream = counting(&["Cache-Control: max-age=60", "Age: 20"]).await;
    let gateway = gateway(&upstream, "on").await;
    let none = gateway.get("/", &["Cache-Control: only-if-cached"]).await;
    assert_eq!((none.status(), none.error()["error"].as_str()), (504, Some("not_cached")));
    assert_eq!(upstream.requests().len(), 0);
    let unkept = gateway.get("/", &["Cache-Control: no-store"]).await;
    assert_eq!((unkept.text().as_str(), told(&unkept)), ("answer 1", "tidegate; fwd=bypass"));
    assert_eq!(gateway.get("/", &[]).await.text(), "answer 2");
    let kept = gateway.get("/", &["Cache-Control: only-if-cached, max-age=50, min-fresh=10"]).await;
    assert!(is_hit(&kept));
    for (wish, number) in [("max-age=10", 3), ("min-fresh=50", 4), ("no-cache", 5)] {
        let fresh = gateway.get("/", &[&format!("Cache-Control: {wish}")]).await;
        assert_eq!(fresh.text(), format!("answer {number}"), "{wish}");
        assert_eq!(told(&fresh), "tidegate; fwd=request; fwd-status=200; stored");
    }
    assert_eq!(gateway.get("/", &["Pragma: no-cache"]).await.text(), "answer 5");
    let not_fresh = gateway.get("/", &["Cache-Control: only-if-cached, max-age=0"]).await;
    assert_eq!(not_fresh.status(), 504);
}

#[tokio::test]
async fn stale_response_is_revalidated_and_updated_by_a_304() {
    let upstream = Upstream::answering(|request| {
        match (request.head.get("if-none-match"), request.head.get("if-modified-since")) {
            (None, None) => respond(
                "200 OK",
                &[
                    "Cache-Control: no-cache",
                    "ETag: \"v1\"",
                    "Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT",
                    "X-Version: 1",
                    "Age: 5",
                ],
                "body",
            ),
            (Some("\"v1\""), Some("Thu, 01 Jan 1970 00:00:00 GMT")) => {
                b"HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\nX-Version: 2\r\n\
                  Cache-Control: max-age=60\r\n\r\n"
                    .to_vec()
            }
            other => respond("500 X", &[], &format!("{other:?}")),
        }
    })
    .await;
    let gateway = gateway(&upstream, "on").await;
    assert_eq!(told(&gateway.get("/", &[]).await), "tidegate; fwd=miss; stored");
    let second = gateway.get("/", &[]).await;
    assert_eq!((second.status(), second.text().as_str()), (200, "body"));
    assert_eq!(told(&second), "tidegate; fwd=stale; fwd-status=304; stored");
    assert_eq!(second.head.only("x-version"), Some("2"), "RFC 9111, section 3.2");
    assert_eq!(second.head.only("age"), Some("0"), "of the 304, not of what was kept");
    let third = gateway.get("/", &[]).await;
    assert!(is_hit(&third));
    assert_eq!((third.text().as_str(), third.head.only("x-version")), ("body", Some("2")));
    assert_eq!(upstream.requests().len(), 2);
    gateway.access("a revalidation", |line| line["cache"] == "revalidated").await;
}

#[tokio::test]
async fn stored_response_answers_conditions_ranges_and_head() {
    let fields = &["Cache-Control: max-age=60", "ETag: \"v1\""];
    let upstream = Upstream::answering(|_| respond("200 OK", fields, "0123456789")).await;
    let gateway = gateway(&upstream, "on").await;
    // A part is not fetched as the whole, where nothing is kept yet.
    gateway.get("/", &["Range: bytes=2-3"]).await;
    assert_eq!(upstream.request(0).await.head.only("range"), Some("bytes=2-3"));
    let mut wire = gateway.connect().await;
    wire.send("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let head = wire.head().await;
    assert_eq!(head.only("cache-status"), Some("tidegate; fwd=miss; stored"));
    assert_eq!(head.only("content-length"), Some("10"));
    // The connection goes on behind it.
    wire.send(get("/", &[])).await;
    let whole = wire.response().await;
    assert!(is_hit(&whole));
    assert_eq!(whole.text(), "0123456789");
    wire.send("HEAD / HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-1\r\n\r\n").await;
    let head = wire.head().await;
    assert_eq!((head.status(), head.only("content-length")), (Some(200), Some("10")));
    for (fields, status, body) in [
        (&["If-None-Match: \"v1\""][..], 304, ""),
        (&["If-None-Match: \"v2\""], 200, "0123456789"),
        (&["Range: bytes=2-3"], 206, "23"),
        (&["Range: bytes=-2"], 206, "89"),
        (&["Range: bytes=20-"], 416, ""),
        (&["Range: bytes=2-3", "If-Range: \"v1\""], 206, "23"),
        (&["Range: bytes=2-3", "If-Range: \"v2\""], 200, "0123456789"),
        (&["Range: bytes=2-3", "If-Range: W/\"v1\""], 200, "0123456789"),
    ] {
        let answer = gateway.get("/", fields).await;
        assert_eq!((answer.status(), answer.text().as_str()), (status, body), "{fields:?}");
        assert!(is_hit(&answer), "{fields:?}");
    }
    assert_eq!(upstream.requests().len(), 2);
    // For who has the resource itself.
    let answer = gateway.get("/", &["If-Match: \"v1\""]).await;
    assert_eq!(told(&answer), "tidegate; fwd=bypass");
}

#[tokio::test]
async fn hundred_concurrent_requests_reach_the_upstream_once() {
    let gate = Arc::new(Semaphore::new(0));
    let closed = Arc::clone(&gate);
    let upstream = Upstream::scripted(move |mut wire, recorder| {
        let gate = Arc::clone(&closed);
        async move {
            while let Some(head) = wire.try_head().await {
                recorder.record(&head);
                gate.acquire().await.expect("open").forget();
                let fields = &["Cache-Control: max-age=60"];
                let _ = wire.try_send(respond("200 OK", fields, "once")).await;
            }
        }
    })
    .await;
    let gateway = gateway(&upstream, "on").await;
    let mut wires = Vec::new();
    for _ in 0..100 {
        let mut wire = gateway.connect().await;
        wire.send(get("/", &[])).await;
        wires.push(wire);
    }
    upstream.request(0).await;
    gate.add_permits(100);
    for wire in &mut wires {
        assert_eq!(wire.response().await.text(), "once");
    }
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn uncacheable_requests_do_not_queue_for_each_other() {
    let gate = Arc::new(Semaphore::new(1));
    let closed = Arc::clone(&gate);
    let upstream = Upstream::scripted(move |mut wire, recorder| {
        let gate = Arc::clone(&closed);
        async move {
            while let Some(head) = wire.try_head().await {
                recorder.record(&head);
                gate.acquire().await.expect("open").forget();
                let _ = wire.try_send(respond("200 OK", &["Cache-Control: no-store"], "x")).await;
            }
        }
    })
    .await;
    let gateway = gateway(&upstream, "on").await;
    gateway.get("/", &[]).await;
    let mut wires = Vec::new();
    for _ in 0..20 {
        let mut wire = gateway.connect().await;
        wire.send(get("/", &[])).await;
        wires.push(wire);
    }
    // All are there before any is answered.
    upstream.request(20).await;
    gate.add_permits(20);
    for wire in &mut wires {
        assert_eq!(wire.response().await.text(), "x");
    }
}

/// Answers what is stale at once and then, when it is let, what is fresh.
async fn aging(first: &'static str, gate: Arc<Semaphore>) -> Upstream {
    let count = Arc::new(AtomicUsize::new(0));
    Upstream::scripted(move |mut wire, recorder| {
        let (gate, count) = (Arc::clone(&gate), Arc::clone(&count));
        async move {
            while let Some(head) = wire.try_head().await {
                recorder.record(&head);
                let answer = if count.fetch_add(1, Ordering::SeqCst) == 0 {
                    respond("200 OK", &[first, "Age: 100"], "old")
                } else {
                    gate.acquire().await.expect("open").forget();
                    respond("200 OK", &["Cache-Control: max-age=60"], "new")
                };
                let _ = wire.try_send(answer).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn rfc5861_stale_response_is_served_while_one_request_revalidates() {
    for (first, setting) in [
        ("Cache-Control: max-age=10, stale-while-revalidate=600", "on"),
        ("Cache-Control: s-maxage=10, stale-while-revalidate=600", "on"),
        ("Cache-Control: max-age=10", "{stale_while_revalidate: 10m}"),
    ] {
        let gate = Arc::new(Semaphore::new(0));
        let upstream = aging(first, Arc::clone(&gate)).await;
        let gateway = gateway(&upstream, setting).await;
        assert_eq!(gateway.get("/a", &[]).await.text(), "old");
        for _ in 0..5 {
            let stale = gateway.get("/a", &[]).await;
            assert_eq!(stale.text(), "old", "{first}");
            assert!(told(&stale).starts_with("tidegate; hit; ttl=-"), "{}", told(&stale));
        }
        upstream.request(1).await;
        assert_eq!(upstream.requests().len(), 2, "{first}");
        gate.add_permits(10);
        until("the new answer", async || gateway.get("/a", &[]).await.text() == "new").await;
        assert_eq!(upstream.requests().len(), 2, "{first}");
        gateway.access("a stale answer", |line| line["cache"] == "stale").await;
        let refresh = gateway.access("the refresh", |line| line["cache.background"] == true).await;
        assert_eq!(refresh["url.path"], "/a");
        assert_eq!(refresh["client.address"], "127.0.0.1");
    }
}

#[tokio::test]
async fn response_that_must_be_revalidated_is_never_served_stale() {
    for first in [
        "Cache-Control: max-age=10, must-revalidate, stale-while-revalidate=600",
        "Cache-Control: max-age=10, proxy-revalidate",
        "Cache-Control: s-maxage=10",
        "Cache-Control: no-cache, stale-while-revalidate=600",
    ] {
        let gate = Arc::new(Semaphore::new(10));
        let count = Arc::clone(&gate);
        let fields = format!("{first}\r\nETag: \"v1\"");
        let upstream = aging(fields.leak(), gate).await;
        let gateway =
            gateway(&upstream, "{stale_while_revalidate: 10m, stale_if_error: 10m}").await;
        assert_eq!(gateway.get("/", &[]).await.text(), "old");
        assert_eq!(gateway.get("/", &[]).await.text(), "new", "{first}");
        assert_eq!(count.available_permits(), 9);
    }
}

#[tokio::test]
async fn rfc5861_stale_response_is_served_instead_of_an_error() {
    for (cc, setting, is_given) in [
        ("Cache-Control: max-age=10, stale-if-error=600", "on", true),
        ("Cache-Control: max-age=10", "{stale_if_error: 10m}", true),
        ("Cache-Control: max-age=10, must-revalidate", "{stale_if_error: 10m}", false),
        ("Cache-Control: max-age=10", "on", false),
    ] {
        let count = AtomicUsize::new(0);
        let upstream = Upstream::answering(move |_| match count.fetch_add(1, Ordering::SeqCst) {
            0 => respond("200 OK", &[cc, "Age: 100", "ETag: \"v1\""], "old"),
            _ => respond("503 X", &[], "broken"),
        })
        .await;
        let gateway = gateway(&upstream, setting).await;
        assert_eq!(gateway.get("/a", &[]).await.text(), "old");
        let answer = gateway.get("/a", &[]).await;
        let expected = if is_given { (200, "old") } else { (503, "broken") };
        assert_eq!((answer.status(), answer.text().as_str()), expected, "{cc} 5xx");
        drop(upstream);
        let gone = gateway.get("/a", &[]).await;
        let status = if is_given { 200 } else { 502 };
        assert_eq!(gone.status(), status, "{cc} down: {}", gone.text());
        if is_given {
            assert_eq!(gone.text(), "old");
            gateway
                .access("the reason", |line| {
                    line["cache"] == "stale"
                        && line["error.message"].as_str().is_some_and(|it| it.contains("refused"))
                })
                .await;
        }
    }
}

#[tokio::test]
async fn rfc9111_4_4_successful_unsafe_request_purges_its_url() {
    let count = AtomicUsize::new(0);
    let upstream = Upstream::answering(move |request| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        let status = if request.head.target() == "/refused" { "409 X" } else { "200 OK" };
        match request.head.line.split(' ').next() {
            Some("GET") => respond("200 OK", &["Cache-Control: max-age=60"], &format!("{number}")),
            _ => respond(status, &[], ""),
        }
    })
    .await;
    // The one who writes takes another route.
    let gateway = Config::new()
        .upstream("service", &[upstream.address()])
        .route("read", "path_prefix: /, methods: [GET]", "service")
        .with("cache: on")
        .route("write", "path_prefix: /", "service")
        .start()
        .await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "FROB"] {
        gateway.get("/a?q", &[]).await;
        assert!(is_hit(&gateway.get("/a?q", &[]).await), "{method}");
        let write =
            format!("{method} /a?q HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        gateway.send(write).await;
        assert!(!is_hit(&gateway.get("/a?q", &[]).await), "{method}");
    }
    gateway.get("/refused", &[]).await;
    gateway.send("POST /refused HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").await;
    assert!(is_hit(&gateway.get("/refused", &[]).await), "nothing was changed");
}

#[tokio::test]
async fn response_requested_before_a_write_is_not_stored_after_it() {
    let gate = Arc::new(Semaphore::new(0));
    let closed = Arc::clone(&gate);
    let upstream = Upstream::scripted(move |mut wire, recorder| {
        let gate = Arc::clone(&closed);
        async move {
            while let Some(head) = wire.try_head().await {
                recorder.record(&head);
                if head.line.starts_with("GET") {
                    gate.acquire().await.expect("open").forget();
                }
                let _ = wire.try_send(respond("200 OK", &["Cache-Control: max-age=60"], "x")).await;
            }
        }
    })
    .await;
    let gateway = gateway(&upstream, "on").await;
    let mut early = gateway.connect().await;
    early.send(get("/", &[])).await;
    upstream.request(0).await;
    gateway.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").await;
    gate.add_permits(3);
    assert_eq!(early.response().await.text(), "x");
    assert!(!is_hit(&gateway.get("/", &[]).await), "what was read before the write");
    assert!(is_hit(&gateway.get("/", &[]).await));
}

#[tokio::test]
async fn purge_removes_by_url_by_prefix_or_all() {
    let upstream = Upstream::answering(|request| {
        let fields = &["Cache-Control: max-age=60", "Vary: Accept"];
        respond("200 OK", fields, request.head.target())
    })
    .await;
    let port = free_port();
    let gateway = Config::to(&upstream)
        .with("cache: on")
        .top(&format!("admin: {{address: 127.0.0.1:{port}, token: {TOKEN}}}"))
        .start()
        .await;
    let paths = ["/a/1", "/a/1?x", "/a/2", "/b"];
    let fill = async || {
        for path in paths {
            gateway.get(path, &[]).await;
            gateway.get(path, &["Accept: x"]).await;
        }
    };
    let kept = async || {
        let mut kept = Vec::new();
        for path in paths {
            let wish = &["Cache-Control: only-if-cached"];
            if gateway.get(path, wish).await.status() == 200 {
                kept.push(path);
            }
        }
        kept
    };
    let admin = format!("127.0.0.1:{port}");
    let purge = async |arguments: &[&str]| {
        let all: Vec<&str> =
            [&["cache", "purge", "--admin", &admin, "--token", TOKEN], arguments].concat();
        let done = cli(gateway.folder(), &all, &[]).await;
        assert_eq!(done.code, Some(0), "{}", done.all());
        done.stdout.trim().to_owned()
    };
    fill().await;
    assert_eq!(kept().await, paths);
    let said = purge(&["--url", "http://LOCALHOST/x/../a/1"]).await;
    assert_eq!(said, "purged 2 responses");
    assert_eq!(kept().await, ["/a/1?x", "/a/2", "/b"]);
    assert_eq!(purge(&["--prefix", "http://localhost/a/"]).await, "purged 4 responses");
    assert_eq!(kept().await, ["/b"]);
    fill().await;
    assert_eq!(purge(&["--all"]).await, "purged 8 responses");
    assert_eq!(kept().await, [""; 0]);
    for wrong in [&["--url", "/a"][..], &["--url", "ftp://localhost/"]] {
        let all = [&["cache", "purge", "--admin", &admin, "--token", TOKEN], wrong].concat();
        assert_eq!(cli(gateway.folder(), &all, &[]).await.code, Some(1), "{wrong:?}");
    }
}

#[tokio::test]
async fn cache_memory_is_bounded_and_counted() {
    let upstream = Upstream::answering(|request| {
        let body = request.head.target().repeat(4096 / request.head.target().len());
        respond("200 OK", &["Cache-Control: max-age=60"], &body)
    })
    .await;
    let port = free_port();
    let gateway = Config::to(&upstream)
        .with("cache: on")
        .top("cache: {max_size: 128KiB}")
        .top(&format!("admin: {{address: 127.0.0.1:{port}}}"))
        .start()
        .await;
    for number in 0..200 {
        gateway.get(&format!("/{number:04}"), &[]).await;
    }
    let metrics = async || {
        let mut wire = tidegate_testing::Wire::connect(([127, 0, 0, 1], port).into()).await;
        wire.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
        wire.response().await.text()
    };
    let value = |text: &str, name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} in {text}")).trim().parse().expect("a number")
    };
    // The last is counted when its client has it already.
    until("all are counted", async || {
        let text = metrics().await;
        let entries = value(&text, "tidegate_cache_entries ");
        entries + value(&text, "tidegate_cache_evictions_total ") == 200
            && value(&text, "tidegate_cache_filling_bytes ") == 0
    })
    .await;
    let text = metrics().await;
    let value = |name| value(&text, name);
    let bytes = value("tidegate_cache_bytes ");
    assert!((10_000..=128 * 1024).contains(&bytes), "{bytes}");
    let entries = value("tidegate_cache_entries ");
    assert!((2..=32).contains(&entries), "{entries}");
    assert_eq!(value("tidegate_cache_requests_total{route=\"all\",status=\"miss\"} "), 200);
    assert!(!is_hit(&gateway.get("/0000", &[]).await), "the oldest made room");
    // Its client has it before the cache has.
    until("it is kept", async || is_hit(&gateway.get("/0000", &[]).await)).await;
}

#[tokio::test]
async fn response_over_max_entry_passes_whole_and_is_not_stored() {
    let body = "x".repeat(300_000);
    for chunked in [false, true] {
        let body = body.clone();
        let upstream = Upstream::answering(move |request| {
            let size = if request.head.target() == "/small" { 1000 } else { body.len() };
            let body = &body[..size];
            if chunked {
                let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\
                            Transfer-Encoding: chunked\r\n\r\n";
                let mut text = head.to_owned();
                for piece in body.as_bytes().chunks(10_000) {
                    text += &format!("{:x}\r\n{}\r\n", piece.len(), "x".repeat(piece.len()));
                }
                (text + "0\r\n\r\n").into_bytes()
            } else {
                respond("200 OK", &["Cache-Control: max-age=60"], body)
            }
        })
        .await;
        let gateway = Config::to(&upstream)
            .with("cache: on")
            .top("cache: {max_size: 1MiB, max_entry: 100KiB}")
            .start()
            .await;
        for _ in 0..3 {
            let answer = gateway.get("/", &[]).await;
            assert_eq!(answer.body.len(), 300_000, "chunked: {chunked}");
            assert!(!is_hit(&answer));
        }
        assert_eq!(gateway.get("/small", &[]).await.body.len(), 1000);
        let small = gateway.get("/small", &[]).await;
        assert!(is_hit(&small), "chunked: {chunked}");
        assert_eq!(small.body.len(), 1000);
    }
}

#[tokio::test]
async fn truncated_body_is_not_stored() {
    let half = "half".repeat(1024);
    let cc = "Cache-Control: max-age=60";
    let length = format!("HTTP/1.1 200 OK\r\n{cc}\r\nContent-Length: 10000\r\n\r\n{half}");
    let chunks =
        format!("HTTP/1.1 200 OK\r\n{cc}\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n{half}\r\n");
    // Its end is that of the connection, which a break is as well.
    let close = format!("HTTP/1.1 200 OK\r\n{cc}\r\nConnection: close\r\n\r\n{half}");
    for broken in [length, chunks, close] {
        let (count, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (closed, first) = (Arc::clone(&gate), broken.clone());
        let upstream = Upstream::scripted(move |mut wire, recorder| {
            let (first, count, gate) = (first.clone(), Arc::clone(&count), Arc::clone(&closed));
            async move {
                while let Some(head) = wire.try_head().await {
                    recorder.record(&head);
                    if count.fetch_add(1, Ordering::SeqCst) == 0 {
                        let _ = wire.try_send(&first).await;
                        gate.acquire().await.expect("open").forget();
                        return;
                    }
                    let _ = wire.try_send(ok("whole")).await;
                }
            }
        })
        .await;
        let gateway = gateway(&upstream, "on").await;
        let mut wire = gateway.connect().await;
        wire.send(get("/", &["Connection: close"])).await;
        wire.until("half").await;
        gate.add_permits(1);
        let rest = wire.read_to_end().await;
        assert!(!rest.ends_with(b"\r\n0\r\n\r\n") || broken.contains("Connection"));
        let next = gateway.get("/", &[]).await;
        assert_eq!(next.text(), "whole", "{broken}");
    }
}

#[tokio::test]
async fn client_that_disconnects_midway_does_not_corrupt_the_entry() {
    let gate = Arc::new(Semaphore::new(0));
    let closed = Arc::clone(&gate);
    let upstream = Upstream::scripted(move |mut wire, recorder| {
        let gate = Arc::clone(&closed);
        async move {
            while let Some(head) = wire.try_head().await {
                recorder.record(&head);
                let head =
                    "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 8000\r\n\r\n";
                let _ = wire.try_send(format!("{head}{}", "a".repeat(4000))).await;
                gate.acquire().await.expect("open").forget();
                let _ = wire.try_send("b".repeat(4000)).await;
            }
        }
    })
    .await;
    let gateway = gateway(&upstream, "on").await;
    let mut leaver = gateway.connect().await;
    leaver.send(get("/", &[])).await;
    leaver.until("a".repeat(1000)).await;
    // Others read what has come, while more is to come.
    let mut follower = gateway.connect().await;
    follower.send(get("/", &[])).await;
    let head = follower.head().await;
    assert!(head.only("cache-status").is_some_and(|it| it.contains("hit")), "{}", head.text);
    assert_eq!(follower.exactly(1000).await, [b'a'; 1000]);
    leaver.reset();
    gate.add_permits(10);
    let rest = follower.exactly(7000).await;
    assert!(rest.starts_with(&[b'a'; 3000]) && rest.ends_with(&[b'b'; 4000]));
    until("it is kept", async || {
        let answer = gateway.get("/", &[]).await;
        assert_eq!(answer.text(), "a".repeat(4000) + &"b".repeat(4000));
        is_hit(&answer)
    })
    .await;
    assert_eq!(upstream.requests().len(), 1);
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
async fn cors_and_header_changes_apply_per_response_and_are_not_stored() {
    let upstream = counting(&["Cache-Control: max-age=60", "Content-Type: text/plain"]).await;
    let gateway = Config::to(&upstream)
        .with("cache: on")
        .with("compression: {min_size: 1B}")
        .with("headers: {response: {set: {x-id: \"{request.id}\"}}}")
        .cors(&["https://a.example", "https://b.example"], "")
        .start()
        .await;
    for origin in ["https://a.example", "https://b.example", "https://a.example"] {
        let answer = gateway.get("/", &[&format!("Origin: {origin}")]).await;
        assert_eq!(answer.head.only("access-control-allow-origin"), Some(origin));
        assert_eq!(answer.head.only("x-id"), answer.head.only("x-request-id"));
        assert_eq!(answer.text(), "answer 1");
    }
    let none = gateway.get("/", &[]).await;
    assert_eq!(none.head.get("access-control-allow-origin"), None);
    // What is kept is as the upstream sent it; each gets the coding that it likes.
    let zipped = gateway.get("/", &["Accept-Encoding: gzip"]).await;
    assert_eq!(zipped.head.only("content-encoding"), Some("gzip"));
    assert!(is_hit(&zipped));
    assert_eq!(gateway.get("/", &[]).await.text(), "answer 1");
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn http2_clients_share_entries_with_http1_clients() {
    let gate = Arc::new(Semaphore::new(0));
    let upstream =
        aging("Cache-Control: max-age=10, stale-while-revalidate=600", Arc::clone(&gate)).await;
    let gateway =
        Config::to(&upstream).with("cache: on").listening("protocols: [h1, h2c]").start().await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let url = format!("http://{}/a", gateway.address());
    let ask = async || {
        let answer = client.get(&url).send().await.expect("an answer");
        assert_eq!(answer.headers().get_all("cache-status").iter().count(), 1);
        answer.text().await.expect("a body")
    };
    assert_eq!(ask().await, "old");
    assert_eq!(ask().await, "old");
    upstream.request(1).await;
    gate.add_permits(10);
    until("the new answer", async || ask().await == "new").await;
    assert_eq!(upstream.requests().len(), 2);
    // The same by HTTP/1.1.
    let host = format!("Host: {}", gateway.address());
    assert_eq!(gateway.get("/a", &[&host]).await.text(), "new");
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn route_without_a_cache_sends_no_cache_status() {
    let upstream = counting(&["Cache-Control: max-age=60"]).await;
    let gateway = Config::to(&upstream).start().await;
    for number in 1..3 {
        let answer = gateway.get("/", &[]).await;
        assert_eq!(answer.text(), format!("answer {number}"));
        assert_eq!(answer.head.get("cache-status"), None);
    }
    assert_eq!(gateway.access_of("/").await["cache"], serde_json::Value::Null);
}

#[tokio::test]
async fn forced_revalidation_that_fails_keeps_the_stored_response() {
    let count = AtomicUsize::new(0);
    let upstream = Upstream::answering(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => respond("200 OK", &["Cache-Control: max-age=60"], "good"),
        _ => respond("500 X", &[], "broken"),
    })
    .await;
    let gateway = gateway(&upstream, "on").await;
    gateway.get("/", &[]).await;
    let forced = gateway.get("/", &["Cache-Control: no-cache"]).await;
    assert_eq!(forced.status(), 500, "it wanted what the upstream says");
    assert!(is_hit(&gateway.get("/", &[]).await));
}

#[tokio::test]
async fn error_replaced_by_an_error_page_is_not_stored() {
    let upstream =
        Upstream::answering(|_| respond("404 Not Found", &["Cache-Control: max-age=60"], "theirs"))
            .await;
    let config = Config::to(&upstream).with("cache: on");
    let gateway = config.start().await;
    let browser = &["Accept: text/html"];
    gateway.get("/", browser).await;
    assert!(is_hit(&gateway.get("/", browser).await));
    // What was kept before stays what it was; nothing of it breaks.
    std::fs::write(gateway.folder().join("404.html"), "ours").expect("a page");
    let mark = gateway.mark();
    let page = gateway.folder().join("404.html").display().to_string();
    gateway.rewrite(
        &config.top(&format!("error_pages: {{pages: {{\"404\": \"{page}\"}}, intercept: true}}")),
    );
    gateway.says(mark, "no routes changed").await;
    assert_eq!(gateway.get("/", browser).await.text(), "theirs");
    for _ in 0..2 {
        let answer = gateway.get("/other", browser).await;
        assert_eq!((answer.status(), answer.text().as_str()), (404, "ours"));
        assert_eq!(gateway.get("/other", &[]).await.text(), "theirs");
    }
}

#[tokio::test]
async fn check_refuses_unsafe_cache_settings() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("tidegate.yaml");
    let config = Config::to_address("127.0.0.1:9")
        .top("cache: {max_size: 1MiB, max_entry: 1MiB}")
        .with("headers: {request: {set: {x-user: \"{user.id}\"}}}")
        .with("cache: {default_ttl: 1s, key_headers: [x-forwarded-for]}")
        .answer("ours", "path_prefix: /ours", "respond: {status: 200}")
        .with("cache: on");
    std::fs::write(&file, config.yaml(free_port())).expect("a file");
    let file = file.display().to_string();
    let checked = cli(folder.path(), &["check", "--config", &file], &[]).await;
    assert_eq!(checked.code, Some(78), "{}", checked.all());
    for problem in [
        "cache.max_entry: must be at most an eighth of `max_size`",
        "routes[0].cache: a request header of this route contains `{user.id}`",
        "routes[0].cache.key_headers[0]: this header cannot be part of the cache key",
        "routes[1].cache: `cache` needs an `upstream`",
    ] {
        assert!(checked.all().contains(problem), "{problem} in {}", checked.all());
    }
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

/// Answers each request by HTTP/2 with its number; resets the stream of `/broken` in the middle.
async fn http2_upstream() -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let count = Arc::new(AtomicUsize::new(0));
    let task = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(socket).await.expect("HTTP/2");
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                    let head = http::Response::builder().header("cache-control", "max-age=60");
                    let head = match request.uri().path() {
                        "/length" => head.header("content-length", 8),
                        _ => head,
                    };
                    let head = head.body(()).expect("a head");
                    let mut stream = respond.send_response(head, false).expect("sent");
                    let is_broken = request.uri().path() == "/broken";
                    let body = format!("answer {number}");
                    stream.send_data(body.into(), !is_broken).expect("sent");
                    if is_broken {
                        stream.send_reset(h2::Reason::INTERNAL_ERROR);
                    }
                }
            });
        }
    });
    (address, task)
}

#[tokio::test]
async fn responses_of_http2_upstreams_are_stored() {
    let (address, upstream) = http2_upstream().await;
    let gateway =
        Config::to_address(address).speaking("protocols: [h2c]").with("cache: on").start().await;
    for target in ["/length", "/none"] {
        let first = gateway.get(target, &[]).await;
        assert_eq!(told(&first), "tidegate; fwd=miss; stored", "{target}");
        let second = gateway.get(target, &[]).await;
        assert!(is_hit(&second), "{target}");
        assert_eq!(first.text(), second.text(), "{target}");
    }
    for _ in 0..2 {
        let mut wire = gateway.connect().await;
        wire.send(get("/broken", &["Connection: close"])).await;
        let answer = String::from_utf8_lossy(&wire.read_to_end().await).into_owned();
        assert!(!answer.contains("hit; ttl"), "{answer}");
    }
    upstream.abort();
}

/// The `Date` of so many seconds ago.
fn seconds_ago(seconds: u64) -> String {
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(seconds);
    httpdate::fmt_http_date(then)
}

#[tokio::test]
async fn rfc9111_4_2_3_age_includes_the_time_since_date() {
    let upstream = Upstream::answering(|request| {
        let (old, new) = (seconds_ago(3600), seconds_ago(0));
        let fields = match request.head.target() {
            "/old" => [format!("Date: {old}"), "Cache-Control: max-age=60".to_owned()],
            "/expires" => [format!("Date: {old}"), format!("Expires: {}", seconds_ago(3540))],
            "/long" => [format!("Date: {old}"), "Cache-Control: max-age=7200".to_owned()],
            _ => [format!("Date: {new}"), "Cache-Control: max-age=60".to_owned()],
        };
        respond("200 OK", &[&*fields[0], &*fields[1]], "x")
    })
    .await;
    let gateway = gateway(&upstream, "on").await;
    for (target, is_fresh) in
        [("/old", false), ("/expires", false), ("/new", true), ("/long", true)]
    {
        gateway.get(target, &[]).await;
        let second = gateway.get(target, &[]).await;
        assert_eq!(is_hit(&second), is_fresh, "{target}: {}", second.head.text);
        if target == "/long" {
            let age: u64 = second.head.only("age").expect("an age").parse().expect("a number");
            assert!((3600..3700).contains(&age), "{age}");
        }
    }
}

/// Headers in which clients and proxies name a user.
const USERS: [&str; 9] = [
    "x-user-id",
    "x-api-key",
    "x-forwarded-user",
    "x-goog-iap-jwt-assertion",
    "x-amzn-oidc-identity",
    "x-ms-client-principal",
    "tailscale-user-login",
    "remote-name",
    "dpop",
];

#[tokio::test]
async fn default_ttl_does_not_share_responses_between_users() {
    let upstream = Upstream::answering(|request| {
        ok(USERS.iter().find_map(|name| request.head.get(name)).unwrap_or("nobody"))
    })
    .await;
    for (number, name) in USERS.into_iter().enumerate() {
        let gateway = Config::to(&upstream)
            .with("cache: {default_ttl: 1m}")
            .top("identity: {user_id: [{query: u}, {header: x-user-id}]}")
            .start()
            .await;
        let target = format!("/{number}?u=same");
        for user in ["alice", "bob", "alice"] {
            let answer = gateway.get(&target, &[&format!("{name}: {user}")]).await;
            assert_eq!(answer.text(), user, "{name}");
        }
        // What is kept for nobody is nobody's alone.
        gateway.get(&target, &[]).await;
        assert!(is_hit(&gateway.get(&target, &[]).await), "{name}");
        let answer = gateway.get(&target, &[&format!("{name}: carol")]).await;
        assert_eq!(answer.text(), "carol", "{name}");
        assert_eq!(gateway.get(&target, &[]).await.text(), "nobody", "{name}");
    }
    // Where the header is a part of the key, each user has what is his.
    let gateway = gateway(&upstream, "{default_ttl: 1m, key_headers: [x-user-id]}").await;
    for user in ["alice", "bob"] {
        let field = format!("X-User-Id: {user}");
        assert_eq!(gateway.get("/", &[&field]).await.text(), user);
        let second = gateway.get("/", &[&field]).await;
        assert_eq!((second.text().as_str(), is_hit(&second)), (user, true));
    }
}

#[tokio::test]
async fn default_ttl_does_not_apply_with_a_cookie_or_credentials() {
    let upstream = counting(&[]).await;
    let gateway = Config::to(&upstream)
        .listening("protocols: [h1, h2c]")
        .with("cache: {default_ttl: 1m}")
        .start()
        .await;
    gateway.get("/", &[]).await;
    for field in [("cookie", "s=1"), ("authorization", "Basic x"), ("x-scope-orgid", "a")] {
        let answer = gateway.get("/", &[&format!("{}: {}", field.0, field.1)]).await;
        assert_eq!(told(&answer), "tidegate; fwd=miss", "{field:?}");
        let head = get_over_http2(&gateway, "/", &[field]).await;
        assert_eq!(head.headers["cache-status"], "tidegate; fwd=miss", "{field:?}");
    }
    assert_eq!(gateway.get("/", &[]).await.text(), "answer 1");
}

/// Answers when it is let, with these fields; the gate lets as many as it has permits.
async fn gated(
    status: &'static str,
    fields: &'static [&'static str],
) -> (Upstream, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let closed = Arc::clone(&gate);
    let upstream = Upstream::scripted(move |mut wire, recorder| {
        let gate = Arc::clone(&closed);
        async move {
            while let Some(head) = wire.try_head().await {
                recorder.record(&head);
                gate.acquire().await.expect("open").forget();
                let _ = wire.try_send(respond(status, fields, "x")).await;
            }
        }
    })
    .await;
    (upstream, gate)
}

#[tokio::test]
async fn requests_that_name_a_user_do_not_queue_for_each_other() {
    for (setting, fields, header) in [
        ("{default_ttl: 1m}", &[][..], "Cookie: s"),
        ("{default_ttl: 1m}", &[], "X-User: s"),
        ("{default_ttl: 1m}", &[], "Authorization: s"),
        ("on", &["Cache-Control: max-age=60"], "Authorization: s"),
    ] {
        let (upstream, gate) = gated("200 OK", fields).await;
        let gateway = gateway(&upstream, setting).await;
        let mut wires = Vec::new();
        for number in 0..9 {
            let mut wire = gateway.connect().await;
            let named = format!("{header}{number}");
            // One of them names nobody, and waits for none of the others.
            let fields: &[&str] = if number == 4 { &[] } else { &[&named] };
            wire.send(get("/", fields)).await;
            wires.push(wire);
        }
        // All are there before any is answered.
        upstream.request(8).await;
        gate.add_permits(9);
        for wire in &mut wires {
            assert_eq!(wire.response().await.text(), "x", "{setting} {header}");
        }
    }
}

#[tokio::test]
async fn queued_requests_proceed_at_once_after_an_error() {
    let (upstream, gate) = gated("500 Internal Server Error", &[]).await;
    let gateway = gateway(&upstream, "{default_ttl: 1m}").await;
    let mut wires = Vec::new();
    for _ in 0..8 {
        let mut wire = gateway.connect().await;
        wire.send(get("/", &[])).await;
        wires.push(wire);
    }
    upstream.request(0).await;
    gate.add_permits(1);
    // The other seven are there before the second is answered.
    upstream.request(7).await;
    gate.add_permits(7);
    for wire in &mut wires {
        assert_eq!(wire.response().await.status(), 500);
    }
}

/// A body that no kernel keeps for a client that reads nothing.
const LARGE: usize = 7 << 20;

/// Sends a large body to each, with its length or in chunks.
async fn large(has_length: bool) -> Upstream {
    Upstream::scripted(move |mut wire, recorder| async move {
        while let Some(head) = wire.try_head().await {
            recorder.record(&head);
            let piece = vec![b'x'; 1 << 16];
            let framing = match has_length {
                true => format!("Content-Length: {LARGE}"),
                false => "Transfer-Encoding: chunked".to_owned(),
            };
            let head = format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n{framing}\r\n\r\n");
            let _ = wire.try_send(head).await;
            for _ in 0..LARGE / piece.len() {
                if !has_length {
                    let _ = wire.try_send("10000\r\n").await;
                }
                if wire.try_send(&piece).await.is_err() {
                    return;
                }
                if !has_length {
                    let _ = wire.try_send("\r\n").await;
                }
            }
            if !has_length {
                let _ = wire.try_send("0\r\n\r\n").await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn client_that_reads_nothing_does_not_delay_others() {
    for has_length in [true, false] {
        let upstream = large(has_length).await;
        let gateway =
            Config::to(&upstream).listening("protocols: [h1, h2c]").with("cache: on").start().await;
        for over_http2 in [false, true] {
            let target = if over_http2 { "/h2" } else { "/h1" };
            let asked = upstream.requests().len();
            let mut idle = (None, None);
            if over_http2 {
                // Its window takes nothing.
                let mut frames = Frames::connect(&gateway).await;
                frames.send(http2::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).await.expect("sent");
                let head = [
                    http2::field(b":method", b"GET"),
                    http2::field(b":scheme", b"http"),
                    http2::field(b":authority", b"localhost"),
                    http2::field(b":path", target.as_bytes()),
                ]
                .concat();
                let flags = http2::END_HEADERS | http2::END_STREAM;
                frames.send(http2::HEADERS, flags, 1, &head).await.expect("sent");
                frames.next_of(http2::HEADERS).await;
                idle.0 = Some(frames);
            } else {
                let socket = TcpSocket::new_v4().expect("a socket");
                socket.set_recv_buffer_size(4096).expect("a small buffer");
                let mut wire =
                    Wire::new(socket.connect(gateway.address()).await.expect("a connection"));
                wire.send(get(target, &[])).await;
                wire.head().await;
                idle.1 = Some(wire);
            }
            for _ in 0..2 {
                let answer = gateway.get(target, &[]).await;
                assert_eq!(answer.body.len(), LARGE, "{target} {has_length}");
            }
            // The others are given what the first one has made the cache fetch, where its length is
            // known; else the next one fetches it for all.
            let fetched = upstream.requests().len() - asked;
            assert_eq!(fetched, if has_length { 1 } else { 2 }, "{target} {has_length}");
            until("it is kept", async || is_hit(&gateway.get(target, &[]).await)).await;
            drop(idle);
        }
    }
}

#[tokio::test]
async fn response_with_explicit_freshness_is_shared_between_users() {
    let upstream = counting(&["Cache-Control: public, max-age=60"]).await;
    let gateway = gateway(&upstream, "{default_ttl: 1m}").await;
    gateway.get("/", &["X-Api-Key: one"]).await;
    assert!(is_hit(&gateway.get("/", &["X-Api-Key: two"]).await));
}

#[tokio::test]
async fn default_ttl_does_not_apply_to_clients_with_a_certificate() {
    let tls = format!("{SITES}, client_auth: {{ca: ca.pem, mode: request}}");
    let https = Https::with(&tls, |config| config.with("cache: {default_ttl: 1m}")).await;
    let folder = https.gateway.folder().to_owned();
    https.authority.issue_client(&folder, "billing");
    let nobody = https.authority.client();
    let billing = nobody.clone().showing(folder.join("billing"));
    let get = async |client: &tidegate_testing::Client| {
        told(&client.get(&https.gateway, "site.test", "/").await).to_owned()
    };
    assert_eq!(get(&billing).await, "tidegate; fwd=miss");
    assert_eq!(get(&nobody).await, "tidegate; fwd=miss; stored");
    assert!(!get(&billing).await.contains("hit"));
    assert!(get(&nobody).await.contains("hit"));
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
    let forwarded = head.only("forwarded").expect("it is told");
    assert!(forwarded.contains("host=\"shop.test\""), "{forwarded}");
    // Without a cache it goes on as it came.
    let plain = Config::to(&upstream).start().await;
    plain.get("/plain", &["Host: Shop.TEST:80"]).await;
    assert_eq!(upstream.request(1).await.head.only("host"), Some("Shop.TEST:80"));
}
