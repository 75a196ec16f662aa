//! How long a stored response is served, and how it is revalidated.

use super::{aging, cache_status, counting, gateway, is_hit};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tidegate_testing::{Upstream, get, respond, until};
use tokio::sync::Semaphore;

#[tokio::test]
async fn rfc9111_5_2_1_request_directives_are_obeyed() {
    let upstream = counting(&["Cache-Control: max-age=60", "Age: 20"]).await;
    let gateway = gateway(&upstream, "on").await;
    let none = gateway.get("/", &["Cache-Control: only-if-cached"]).await;
    assert_eq!((none.status(), none.error()["error"].as_str()), (504, Some("not_cached")));
    assert_eq!(upstream.requests().len(), 0);
    let unkept = gateway.get("/", &["Cache-Control: no-store"]).await;
    assert_eq!(
        (unkept.text().as_str(), cache_status(&unkept)),
        ("answer 1", "tidegate; fwd=bypass")
    );
    assert_eq!(gateway.get("/", &[]).await.text(), "answer 2");
    let kept = gateway.get("/", &["Cache-Control: only-if-cached, max-age=50, min-fresh=10"]).await;
    assert!(is_hit(&kept));
    for (wish, number) in [("max-age=10", 3), ("min-fresh=50", 4), ("no-cache", 5)] {
        let fresh = gateway.get("/", &[&format!("Cache-Control: {wish}")]).await;
        assert_eq!(fresh.text(), format!("answer {number}"), "{wish}");
        assert_eq!(cache_status(&fresh), "tidegate; fwd=request; fwd-status=200; stored");
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
    assert_eq!(cache_status(&gateway.get("/", &[]).await), "tidegate; fwd=miss; stored");
    let second = gateway.get("/", &[]).await;
    assert_eq!((second.status(), second.text().as_str()), (200, "body"));
    assert_eq!(cache_status(&second), "tidegate; fwd=stale; fwd-status=304; stored");
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
    // These conditions are for the server that has the resource itself.
    let answer = gateway.get("/", &["If-Match: \"v1\""]).await;
    assert_eq!(cache_status(&answer), "tidegate; fwd=bypass");
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
            assert!(
                cache_status(&stale).starts_with("tidegate; hit; ttl=-"),
                "{}",
                cache_status(&stale)
            );
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
