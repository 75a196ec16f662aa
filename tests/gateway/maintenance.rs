//! In maintenance, all clients except exempt ones get 503 with `Retry-After`.

use futures_util::SinkExt;
use tidegate_testing::{Config, Handshake, Upstream, next, until};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn maintenance_answers_503_to_all_but_exempt_clients() {
    let upstream = Upstream::saying("ok").await;
    let address = [upstream.address()];
    let gateway = Config::new()
        .top("maintenance: {retry_after: 90500ms, allow: [192.0.2.0/24, \"2001:db8::/32\"], message: back at noon}")
        .top("trusted_proxies: [127.0.0.1]")
        .cors(&["https://app.example"], "")
        .upstream("service", &address)
        .route("all", "path_prefix: /", "service")
        .route("status", "path_prefix: /status", "service")
        .with("maintenance: off")
        .route("other", "path_prefix: /other", "service")
        .with("maintenance: {enabled: false}")
        .start()
        .await;
    let refused = gateway.get("/x", &["Origin: https://app.example"]).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.head.only("retry-after"), Some("91"));
    assert_eq!(refused.error()["error"], "maintenance");
    assert_eq!(refused.error()["message"], "back at noon");
    assert_eq!(refused.head.only("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(gateway.refused(&Handshake::to("/ws")).await.status(), 503);
    assert_eq!(upstream.connections(), 0, "the upstream is not asked");
    for (target, client, status) in [
        ("/x", "192.0.2.9", 200),
        ("/x", "2001:db8::7", 200),
        ("/x", "198.51.100.1", 503),
        ("/status", "198.51.100.1", 200),
        ("/other", "198.51.100.1", 200),
    ] {
        let answer = gateway.get(target, &[&format!("X-Forwarded-For: {client}")]).await;
        assert_eq!(answer.status(), status, "{target} {client}");
    }
}

#[tokio::test]
async fn maintenance_by_a_reload_keeps_open_sockets() {
    let upstream = Upstream::echo().await;
    let config = Config::to(&upstream);
    let gateway = config.start().await;
    let mut socket = gateway.websocket("/ws").await;
    gateway.rewrite(&config.clone().with("maintenance: on"));
    until("maintenance", || async { gateway.get("/", &[]).await.status() == 503 }).await;
    assert_eq!(gateway.get("/", &[]).await.head.only("retry-after"), Some("300"));
    socket.send(Message::text("still here")).await.expect("sent");
    assert_eq!(next(&mut socket).await, Some(Message::text("still here")));
    gateway.rewrite(&config);
    until("the end of maintenance", || async { gateway.get("/", &[]).await.status() == 200 }).await;
}
