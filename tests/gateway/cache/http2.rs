//! The cache between clients and upstreams over HTTP/2.

use super::{aging, cache_status, is_hit};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tidegate_testing::{Config, get, http2, until};
use tokio::sync::Semaphore;

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

/// Answers each request over HTTP/2 with its number; resets the stream of `/broken` in the middle.
async fn http2_upstream() -> std::net::SocketAddr {
    let count = Arc::new(AtomicUsize::new(0));
    http2::serve(move |request, mut respond| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
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
    })
    .await
}

#[tokio::test]
async fn responses_of_http2_upstreams_are_stored() {
    let address = http2_upstream().await;
    let gateway =
        Config::to_address(address).speaking("protocols: [h2c]").with("cache: on").start().await;
    for target in ["/length", "/none"] {
        let first = gateway.get(target, &[]).await;
        assert_eq!(cache_status(&first), "tidegate; fwd=miss; stored", "{target}");
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
}
