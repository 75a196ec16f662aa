//! Clients whose addresses are not admitted get 403: by the lists of the gateway, of a listener, of a route.

use tidegate_testing::{Config, Handshake, Upstream};

#[tokio::test]
async fn clients_outside_of_the_lists_get_403_and_a_log_line() {
    let upstream = Upstream::saying("ok").await;
    let address = [upstream.address()];
    let gateway = Config::new()
        .top("trusted_proxies: [127.0.0.1]")
        .top("clients: {deny: [192.0.2.66]}")
        .upstream("service", &address)
        .route("all", "path_prefix: /", "service")
        .route("internal", "path_prefix: /internal", "service")
        .with("clients: {allow: [10.0.0.0/8], deny: [10.0.9.0/24]}")
        .start()
        .await;
    for (target, client, status) in [
        ("/", "192.0.2.1", 200),
        ("/", "192.0.2.66", 403),
        ("/internal", "10.1.1.1", 200),
        ("/internal", "10.0.9.1", 403),
        ("/internal", "192.0.2.1", 403),
        ("/internal", "::ffff:10.1.1.1", 200),
        ("/none", "192.0.2.66", 403),
    ] {
        let answer = gateway.get(target, &[&format!("X-Forwarded-For: {client}")]).await;
        assert_eq!(answer.status(), status, "{target} {client}");
        if status == 403 {
            assert_eq!(answer.error()["error"], "address_not_allowed", "{target} {client}");
        }
    }
    assert_eq!(upstream.requests().len(), 3, "the upstream sees only admitted requests");
    assert_eq!(gateway.refused(&Handshake::to("/internal/ws")).await.status(), 403);
    let line = gateway.access_of("/internal/ws").await;
    assert_eq!(line["http.response.status_code"], 403);
}

#[tokio::test]
async fn list_of_a_listener_holds_for_all_its_requests() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream).listening("clients: {deny: [127.0.0.1]}").start().await;
    for target in ["/", "/none"] {
        let answer = gateway.get(target, &[]).await;
        assert_eq!(
            (answer.status(), answer.error()["error"].as_str()),
            (403, Some("address_not_allowed"))
        );
    }
    assert_eq!(upstream.connections(), 0);
}
