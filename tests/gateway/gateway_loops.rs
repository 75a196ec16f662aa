//! A gateway detects a request that loops back to it (RFC 9110, section 7.6.3).

use tempfile::TempDir;
use tidegate_testing::{Config, Gateway, Handshake, Upstream, free_port, get};

/// A gateway whose upstream is itself.
async fn looped(more: &[&str]) -> Gateway {
    let folder = TempDir::new().expect("a folder");
    let port = free_port();
    let mut config = Config::to_address(format!("127.0.0.1:{port}"));
    for line in more {
        config = config.with(line);
    }
    let file = folder.path().join("tidegate.yaml");
    std::fs::write(&file, config.yaml(port)).expect("a file");
    Gateway::run(folder, file, port).await
}

#[tokio::test]
async fn loop_is_answered_508_on_its_second_pass() {
    let gateway = looped(&[]).await;
    let answer = gateway.get("/x", &[]).await;
    assert_eq!(answer.status(), 508);
    assert!(answer.text().contains("loop_detected"), "{}", answer.text());
    let line = gateway.access("a line", |line| line["http.response.status_code"] == 508).await;
    assert_eq!(line["url.path"], "/x");
    let handshake = gateway.refused(&Handshake::to("/ws")).await;
    assert_eq!(handshake.status(), 508);
    gateway.access("the first line of the handshake", |line| line["url.path"] == "/ws").await;
    let lines = gateway.access_lines();
    assert!(lines.len() <= 4, "two for each: {lines:#?}");
}

#[tokio::test]
async fn via_lists_the_gateways_of_a_request() {
    let upstream = Upstream::saying("ok").await;
    let inner = Config::to(&upstream).start().await;
    let outer = Config::to_address(inner.address()).start().await;
    assert_eq!(outer.get("/", &["Via: 1.0 fred"]).await.text(), "ok", "two gateways are no loop");
    let head = upstream.only_request().await.head;
    let via = head.list("via");
    assert_eq!(via.len(), 3, "{via:?}");
    assert_eq!(via[0], "1.0 fred");
    assert!(via[1..].iter().all(|one| one.starts_with("1.1 tidegate-")), "{via:?}");
    assert_ne!(via[1], via[2]);
    inner.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
    let head = upstream.request(1).await.head;
    assert!(head.only("via").is_some_and(|via| via.starts_with("1.0 tidegate-")));
    // A gateway keeps its name when it reloads: the request that comes back may be older.
    let before = via[2].clone();
    let mark = inner.mark();
    inner.rewrite(&Config::to(&upstream).with("max_body_size: 1MiB"));
    inner.says(mark, "reloaded").await;
    inner.send(get("/", &[])).await;
    let requests = upstream.requests();
    assert_eq!(requests[2].head.list("via"), [before]);
}
