//! Which responses the cache stores, and that it stores them whole.

use super::{cache_status, counting, gateway, is_hit, is_kept};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tidegate_testing::{Config, Upstream, get, ok, respond, until};
use tokio::sync::Semaphore;

#[tokio::test]
async fn fresh_response_is_served_without_the_upstream() {
    let upstream =
        counting(&["Cache-Control: max-age=60", "Age: 7", "ETag: \"v1\"", "X-Request-Id: theirs"])
            .await;
    let gateway = gateway(&upstream, "on").await;
    let first = gateway.get("/a?b=c", &[]).await;
    assert_eq!(cache_status(&first), "tidegate; fwd=miss; stored");
    let second = gateway.get("/a?b=c", &[]).await;
    assert_eq!(second.text(), "answer 1");
    let ttl: i64 = cache_status(&second).rsplit('=').next().unwrap().parse().unwrap();
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
    assert_eq!(cache_status(&gateway.get("/", with).await), "tidegate; fwd=miss");
    assert_eq!(cache_status(&gateway.get("/", &[]).await), "tidegate; fwd=miss; stored");
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
