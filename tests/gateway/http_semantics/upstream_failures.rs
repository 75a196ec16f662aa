//! What a client gets when the upstream fails.

use std::sync::Arc;
use tidegate_testing::{Config, Upstream, free_port, get};
use tokio::sync::Notify;

#[tokio::test]
async fn unreachable_upstream_is_502_and_its_address_hidden() {
    let port = free_port();
    let gateway = Config::new()
        .upstream("hidden-pool", &[format!("127.0.0.1:{port}")])
        .route("all", "path_prefix: /", "hidden-pool")
        .start()
        .await;
    let answer = gateway.get("/", &[]).await;
    assert_eq!(answer.status(), 502);
    let _ = answer.error();
    let all = answer.head.text.clone() + &answer.text();
    for secret in [port.to_string().as_str(), "127.0.0.1", "hidden-pool", "pingora", "Pingora"] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}

#[tokio::test]
async fn malformed_upstream_response_is_answered_502() {
    for nonsense in ["SSH-2.0-OpenSSH_9.2\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", ""] {
        let upstream = Upstream::scripted(move |mut wire, _| async move {
            wire.head().await;
            wire.send(nonsense).await;
        })
        .await;
        let gateway = Config::to(&upstream).start().await;
        let answer = gateway.get("/", &[]).await;
        assert_eq!(answer.status(), 502, "{nonsense:?}");
        let _ = answer.error();
    }
}

#[tokio::test]
async fn silent_upstream_is_answered_504() {
    let upstream = Upstream::scripted(|mut wire, _| async move {
        wire.read_to_end().await;
    })
    .await;
    let gateway = Config::to(&upstream).with("timeouts: {read: 300ms}").start().await;
    let answer = gateway.get("/", &[]).await;
    assert_eq!(answer.status(), 504);
    let _ = answer.error();
}

#[tokio::test]
async fn connect_timeout_is_answered_504() {
    // A listener whose queue is full drops further SYNs.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
    let listener = socket.listen(1).expect("listening");
    let address = listener.local_addr().expect("its address");
    let mut waiting = Vec::new();
    let bound = std::time::Duration::from_millis(500);
    while let Ok(connection) =
        tokio::time::timeout(bound, tokio::net::TcpStream::connect(address)).await
    {
        waiting.push(connection);
    }
    let gateway = Config::to_address(address).with("timeouts: {connect: 300ms}").start().await;
    let answer = gateway.get("/", &[]).await;
    assert_eq!(answer.status(), 504);
    let _ = answer.error();
}

/// What a client is left with when the upstream breaks off in the midst of a body, by an end or
/// by a reset.
async fn broken_off(head: &str, by_reset: bool) -> Vec<u8> {
    let head = head.to_owned();
    let arrived = Arc::new(Notify::new());
    let go_on = Arc::clone(&arrived);
    let upstream = Upstream::scripted(move |mut wire, _| {
        let (arrived, head) = (Arc::clone(&go_on), head.clone());
        async move {
            wire.head().await;
            wire.send(head).await;
            arrived.notified().await;
            if by_reset {
                wire.reset();
            }
        }
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    wire.send(get("/", &[])).await;
    assert_eq!(wire.head().await.status(), Some(200));
    wire.until("half").await;
    arrived.notify_one();
    wire.read_to_end().await
}

#[tokio::test]
async fn truncated_response_is_not_completed() {
    for by_reset in [false, true] {
        // Pingora holds back the first 1,460 bytes of a body whose length is known, as there may
        // be more to send with them.
        let part = "x".repeat(2000);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{part}half");
        let rest = broken_off(&head, by_reset).await;
        assert_eq!(rest, b"", "nothing made up");
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
        let rest = broken_off(head, by_reset).await;
        let rest = String::from_utf8_lossy(&rest).into_owned();
        assert!(!rest.contains("0\r\n\r\n"), "no last chunk: {rest:?}");
    }
}
