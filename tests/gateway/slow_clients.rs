//! Slow or silent clients do not hold a connection forever.

use tidegate_testing::{Config, Upstream, get};

#[tokio::test]
async fn idle_connection_is_closed() {
    let upstream = Upstream::saying("hello").await;
    let gateway = Config::to(&upstream).top("limits: {idle_timeout: 1s}").start().await;
    let mut silent = gateway.connect().await;
    assert_eq!(silent.read_to_end().await, b"", "one that never said anything");
    let mut served = gateway.connect().await;
    for _ in 0..2 {
        served.send(get("/", &[])).await;
        assert_eq!(served.response().await.status(), 200);
    }
    assert_eq!(served.read_to_end().await, b"", "one that has been served");
}

#[tokio::test]
async fn slow_head_is_answered_408() {
    let upstream = Upstream::saying("hello").await;
    let gateway = Config::to(&upstream).top("limits: {header_timeout: 300ms}").start().await;
    let mut slow = gateway.connect().await;
    slow.send("GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").await;
    let mut prompt = gateway.connect().await;
    for part in get("/", &[]).as_bytes().chunks(7) {
        prompt.send(part).await;
    }
    assert_eq!(prompt.response().await.status(), 200);
    let answer = slow.response().await;
    assert_eq!(answer.status(), 408);
    assert!(answer.text().contains("request_timeout"), "{}", answer.text());
    assert_eq!(slow.read_to_end().await, b"");
    assert_eq!(upstream.requests().len(), 1, "the one that was whole");
}
