//! The service works directly, and a proxy in between is at fault.

use crate::harness::{answering, examine, frame, plain_frame, switching, ws};
use std::net::SocketAddr;
use tidegate_testing::{Config, Upstream, Wire, respond};

/// A proxy that knows no upgrade: asks the service as if it were any request.
async fn without_upgrade(service: SocketAddr) -> Upstream {
    Upstream::scripted(move |mut wire, _| async move {
        let Some(head) = wire.try_head().await else { return };
        let mut behind = Wire::connect(service).await;
        let target = head.target();
        behind.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let response = behind.response().await;
        let mut bytes = response.head.text.into_bytes();
        bytes.extend(response.body);
        let _ = wire.try_send(bytes).await;
    })
    .await
}

/// A service of WebSockets that answers anything else in this way.
async fn or_else(answer: Vec<u8>) -> Upstream {
    Upstream::scripted(move |mut wire, _| {
        let answer = answer.clone();
        async move {
            let Some(head) = wire.try_head().await else { return };
            if head.get("upgrade").is_none() {
                let _ = wire.try_send(answer).await;
                return;
            }
            wire.send(switching(&head, "")).await;
            loop {
                match frame(&mut wire).await {
                    (9, payload) => wire.send(plain_frame(10, &payload)).await,
                    _ => return,
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn proxy_that_drops_the_upgrade_is_upgrade_lost() {
    for status in ["200 OK", "400 Bad Request", "404 Not Found", "426 Upgrade Required"] {
        let service = or_else(respond(status, &[], "")).await;
        let proxy = without_upgrade(service.address()).await;
        let upstream = service.address().to_string();
        let arguments = ["--upstream", &upstream, "--timeout", "1200ms"];
        let found = examine(ws(proxy.address()), &arguments).await;
        found.is("upgrade-lost").blames("between").saw(&status[..3]);
        assert_eq!(found.outcome("upstream"), "ok");
    }
}

#[tokio::test]
async fn proxy_before_the_gateway_that_drops_connection_is_upgrade_lost() {
    let service = Upstream::echo().await;
    let gateway = Config::to(&service).start().await;
    let address = gateway.address();
    let proxy = Upstream::scripted(move |mut wire, _| async move {
        let Some(head) = wire.try_head().await else { return };
        let mut behind = Wire::connect(address).await;
        behind.send(head.text.replacen("Connection: Upgrade\r\n", "", 1)).await;
        let response = behind.response().await;
        let bytes = [response.head.text.into_bytes(), response.body].concat();
        let _ = wire.try_send(bytes).await;
    })
    .await;
    let found = examine(ws(proxy.address()), &[]).await;
    found.is("upgrade-lost").blames("between").saw("bad_websocket_handshake");
}

#[tokio::test]
async fn proxy_that_holds_frames_back_is_proxy_buffering() {
    let service = Upstream::echo().await;
    let behind = service.address();
    let proxy = Upstream::scripted(move |mut wire, _| async move {
        let Some(head) = wire.try_head().await else { return };
        let mut behind = Wire::connect(behind).await;
        behind.send(&head.text).await;
        let answer = behind.head().await;
        wire.send(&answer.text).await;
        // Frames go to the service, and what it says is kept.
        let (opcode, _) = frame(&mut wire).await;
        assert_eq!(opcode, 9);
        let _ = wire.read_to_end().await;
    })
    .await;
    let upstream = behind.to_string();
    let arguments = ["--upstream", &upstream, "--timeout", "1200ms"];
    let found = examine(ws(proxy.address()), &arguments).await;
    found.is("proxy-buffering").blames("between");
}

const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

/// Sends the head of an event stream, then this, then nothing.
async fn streaming(first: &'static str) -> Upstream {
    Upstream::scripted(move |mut wire, _| async move {
        if wire.try_head().await.is_some() {
            wire.send(format!("{EVENTS}{first}")).await;
            let _ = wire.read_to_end().await;
        }
    })
    .await
}

#[tokio::test]
async fn proxy_that_holds_events_back_is_proxy_buffering() {
    let service = streaming("data: hello\n\n").await;
    let upstream = service.address().to_string();
    let arguments = ["--upstream", &upstream, "--timeout", "1200ms"];
    // It keeps the head as well, until the response is whole.
    let proxy = Upstream::scripted(|mut wire, _| async move {
        let _ = wire.read_to_end().await;
    })
    .await;
    let url = format!("http://{}/events", proxy.address());
    examine(url, &arguments).await.is("proxy-buffering").blames("between");
    let proxy = streaming("").await;
    let url = format!("http://{}/events", proxy.address());
    examine(&url, &arguments).await.is("proxy-buffering").blames("between");
    examine(&url, &["--timeout", "1200ms"]).await.is("body-withheld").blames("address");
}

#[tokio::test]
async fn proxy_that_cuts_idle_connections_is_idle_cut() {
    let service = Upstream::echo().await;
    let proxy = Upstream::scripted(|mut wire, _| async move {
        let Some(head) = wire.try_head().await else { return };
        wire.send(switching(&head, "")).await;
        let (_, payload) = frame(&mut wire).await;
        wire.send(plain_frame(10, &payload)).await;
    })
    .await;
    let upstream = service.address().to_string();
    let found = examine(ws(proxy.address()), &["--upstream", &upstream]).await;
    found.is("idle-cut").blames("between");
}

#[tokio::test]
async fn proxy_error_is_checked_against_the_upstream() {
    let proxy = answering(respond("502 Bad Gateway", &[], "<h1>nginx</h1>")).await;
    let nobody = format!("127.0.0.1:{}", tidegate_testing::free_port());
    let found = examine(ws(proxy.address()), &["--upstream", &nobody]).await;
    found.is("upstream-unreachable").blames("upstream").saw("502").saw(&nobody);
    // The service is well: it is the proxy's own affair.
    let service = Upstream::echo().await;
    let upstream = service.address().to_string();
    let found = examine(ws(proxy.address()), &["--upstream", &upstream]).await;
    found.is("bad-gateway").blames("between");
}

#[tokio::test]
async fn fault_seen_directly_at_the_service_blames_the_service() {
    let service = answering(respond("401 Unauthorized", &[], "")).await;
    let upstream = service.address().to_string();
    let found = examine(ws(service.address()), &["--upstream", &upstream]).await;
    found.is("unauthorized").blames("upstream");
    assert_eq!(found.outcome("upstream"), "failed");
}
