//! The limits of an upstream bound its requests, sessions and connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tidegate_testing::{Handshake, Response, Upstream, get, ok, pool, until};
use tokio::sync::Notify;

#[tokio::test]
async fn requests_over_the_upstream_limit_are_refused_at_once() {
    let (release, is_let_go) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
    let (gate, flag) = (Arc::clone(&release), Arc::clone(&is_let_go));
    let slow = Upstream::scripted(move |mut wire, recorder| {
        let (gate, flag) = (Arc::clone(&gate), Arc::clone(&flag));
        async move {
            while let Some(head) = wire.try_head().await {
                recorder.record(&head);
                if !flag.load(Ordering::Relaxed) {
                    gate.notified().await;
                }
                wire.send(ok("done")).await;
            }
        }
    })
    .await;
    let gateway = pool(&[&slow], &["limits: {requests: 1}"]).start().await;
    let mut first = gateway.connect().await;
    first.send(get("/first", &[])).await;
    slow.request(0).await;
    let refused: Response = gateway.get("/second", &[]).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.error()["error"], "upstream_busy");
    assert_eq!(refused.head.only("retry-after"), Some("1"));
    is_let_go.store(true, Ordering::Relaxed);
    release.notify_one();
    assert_eq!(first.response().await.status(), 200);
    until("its place to be free", || async { gateway.get("/third", &[]).await.status() == 200 })
        .await;
}

#[tokio::test]
async fn request_timeout_bounds_the_whole_request() {
    let dribbling = Upstream::scripted(|mut wire, _| async move {
        let _ = wire.try_head().await;
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        while wire.try_send("1\r\nx\r\n").await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let gateway = pool(&[&dribbling], &[]).with("timeouts: {request: 300ms}").start().await;
    let mut wire = gateway.connect().await;
    wire.send(get("/dribble", &[])).await;
    let all = wire.read_to_end().await;
    assert!(!all.ends_with(b"0\r\n\r\n"), "it is not whole, and says so");
    let line = gateway.access_of("/dribble").await;
    assert!(
        line["error.message"].as_str().is_some_and(|it| it.contains("timeouts.request")),
        "{line}"
    );

    let silent = Upstream::scripted(|mut wire, _| async move {
        let _ = wire.try_head().await;
        std::future::pending::<()>().await;
    })
    .await;
    let gateway = pool(&[&silent], &[]).with("timeouts: {request: 100ms}").start().await;
    assert_eq!(gateway.get("/", &[]).await.status(), 504);
}

#[tokio::test]
async fn sessions_and_requests_share_the_connection_limit() {
    let echo = Upstream::echo().await;
    let gateway = pool(&[&echo], &["limits: {connections: 1}"]).start().await;
    let mut socket = gateway.websocket("/ws").await;
    for refused in [gateway.get("/", &[]).await, gateway.refused(&Handshake::to("/ws")).await] {
        assert_eq!(refused.status(), 503);
        assert_eq!(refused.error()["error"], "upstream_busy");
    }
    assert_eq!(echo.connections(), 1, "it has seen nothing of them");
    socket.close(None).await.expect("closed");
    until("the place to be free", async || gateway.get("/", &[]).await.status() == 200).await;
}

#[tokio::test]
async fn pending_connections_have_their_own_limit() {
    let release = Arc::new(Notify::new());
    let gate = Arc::clone(&release);
    // Accepts, and says nothing to the TLS handshake.
    let silent = Upstream::scripted(move |wire, _| {
        let gate = Arc::clone(&gate);
        async move {
            gate.notified().await;
            wire.reset();
        }
    })
    .await;
    let lines = ["tls: {insecure_skip_verify: true}", "limits: {pending: 1}"];
    let gateway = pool(&[&silent], &lines).with("retry: off").start().await;
    let mut first = gateway.connect().await;
    first.send(get("/first", &[])).await;
    until("the handshake to begin", async || silent.connections() == 1).await;
    let refused = gateway.get("/second", &[]).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.error()["error"], "upstream_busy");
    assert_eq!(silent.connections(), 1);
    release.notify_one();
    assert_eq!(first.response().await.status(), 502);
    let mut third = gateway.connect().await;
    third.send(get("/third", &[])).await;
    until("the place to be free", async || silent.connections() == 2).await;
}
