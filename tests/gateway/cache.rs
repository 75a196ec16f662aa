//! Responses are cached and shared as RFC 9111 allows a shared cache, and never served to the wrong client.

mod concurrency;
mod eviction;
mod freshness;
mod http2;
mod keys;
mod storing;
mod users;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tidegate_testing::{Config, Gateway, Response, Upstream, cli, free_port, respond};
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
fn cache_status(answer: &Response) -> &str {
    answer.head.only("cache-status").unwrap_or_default()
}

fn is_hit(answer: &Response) -> bool {
    cache_status(answer).starts_with("tidegate; hit; ttl=")
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
