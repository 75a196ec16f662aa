//! Faults of the gateway, its file and its upstream: the doctor names the line to change.

use crate::harness::{Found, Identity, examine, frame, plain_frame, switching};
use std::path::Path;
use tidegate_testing::{Authority, Config, Gateway, TlsService, Upstream, free_port, respond};

/// Examines a path of a gateway with its own file.
async fn through(gateway: &Gateway, path: &str, arguments: &[&str]) -> Found {
    let file = gateway.file().to_str().expect("a path");
    let url = format!("ws://{}{path}", gateway.address());
    examine(url, &[&["--config", file], arguments].concat()).await
}

fn quoted(address: impl std::fmt::Display) -> String {
    format!("\"{address}\"")
}

#[tokio::test]
async fn path_without_a_route_is_no_route() {
    let service = Upstream::echo().await;
    let gateway = Config::new()
        .upstream("service", &[service.address()])
        .route("other", "path_prefix: /somewhere", "service")
        .route("socket", "path_prefix: /api/ws", "service")
        .start()
        .await;
    let found = through(&gateway, "/api/wss", &[]).await;
    found.is("no-route").blames("gateway").points_at(gateway.file(), "/api/ws");
    assert_eq!(found.outcome("upstream"), "skipped");
}

#[tokio::test]
async fn host_without_a_route_is_no_route() {
    let service = Upstream::echo().await;
    let gateway = Config::new()
        .upstream("service", &[service.address()])
        .route("socket", "path_prefix: /ws, hosts: [app.example]", "service")
        .start()
        .await;
    let found = through(&gateway, "/ws", &[]).await;
    found.is("no-route").points_at(gateway.file(), "app.example");
}

#[tokio::test]
async fn websocket_off_points_at_the_key() {
    let service = Upstream::echo().await;
    let gateway = Config::to(&service).with("websocket: off").start().await;
    let found = through(&gateway, "/ws", &[]).await;
    found.is("websocket-off").blames("gateway").points_at(gateway.file(), "off");
    assert_eq!(found.json["route"], "all");
    assert_eq!(found.json["upstream"], "service");
}

#[tokio::test]
async fn gateway_with_another_file_is_noticed() {
    let service = Upstream::echo().await;
    let gateway = Config::to(&service).with("websocket: off").start().await;
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("edited.yaml");
    std::fs::write(&file, Config::to(&service).yaml(gateway.port())).expect("a file");
    let url = format!("ws://{}/", gateway.address());
    let found = examine(url, &["--config", file.to_str().expect("a path")]).await;
    found.is("websocket-off").saw("so the running gateway uses another one");
}

#[tokio::test]
async fn method_without_a_route_is_method_not_allowed() {
    let service = Upstream::echo().await;
    let gateway = Config::new()
        .upstream("service", &[service.address()])
        .route("post", "path_prefix: /ws, methods: [POST]", "service")
        .start()
        .await;
    let found = through(&gateway, "/ws", &[]).await;
    found.is("method-not-allowed").blames("gateway").points_at(gateway.file(), "/ws");
}

#[tokio::test]
async fn long_or_malformed_url_blames_the_gateway() {
    let service = Upstream::echo().await;
    let gateway = Config::to(&service).top("limits: {uri_size: 100B}").start().await;
    let long = format!("/{}", "x".repeat(200));
    through(&gateway, &long, &[]).await.is("request-too-large").blames("gateway");
    through(&gateway, "/a%2Fb", &[]).await.is("bad-request").blames("gateway");
}

#[tokio::test]
async fn closed_endpoint_is_upstream_unreachable() {
    let nobody = format!("127.0.0.1:{}", free_port());
    let gateway = Config::to_address(&nobody).start().await;
    let found = through(&gateway, "/", &[]).await;
    found.is("upstream-unreachable").blames("upstream");
    found.points_at(gateway.file(), &quoted(&nobody)).saw("upstream_unreachable");
}

#[tokio::test]
async fn unresolvable_endpoint_is_upstream_unresolved() {
    let gateway = Config::to_address("no-such-host.invalid:80").start().await;
    let found = through(&gateway, "/", &[]).await;
    found.is("upstream-unresolved").points_at(gateway.file(), "\"no-such-host.invalid:80\"");
}

#[tokio::test]
async fn full_upstream_is_upstream_busy() {
    let service = Upstream::echo().await;
    let gateway = Config::to(&service).speaking("limits: {connections: 1}").start().await;
    let _only = gateway.websocket("/").await;
    let found = through(&gateway, "/", &[]).await;
    found.is("upstream-busy").blames("upstream").saw("upstream_busy");
    found.points_at(gateway.file(), &quoted(service.address()));
}

#[tokio::test]
async fn endpoint_that_is_the_gateway_is_loop_detected() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("tidegate.yaml");
    let port = free_port();
    let own = format!("127.0.0.1:{port}");
    std::fs::write(&file, Config::to_address(&own).yaml(port)).expect("a file");
    let gateway = Gateway::run(folder, file, port).await;
    let found = through(&gateway, "/", &[]).await;
    found.is("loop-detected").blames("gateway").saw("loop_detected");
    assert!(found.json["diagnosis"]["line"].is_string(), "{:#}", found.json);
}

#[tokio::test]
async fn listener_without_h1_is_http1_disabled() {
    let service = Upstream::echo().await;
    let gateway = Config::to(&service).listening("protocols: [h2c]").start().await;
    let found = through(&gateway, "/", &[]).await;
    found.is("http1-disabled").blames("gateway").saw("version_not_supported");
    assert!(found.json["diagnosis"]["line"].is_string(), "{:#}", found.json);
}

#[tokio::test]
async fn silent_service_is_upstream_timeout() {
    let service = Upstream::scripted(|mut wire, _| async move {
        let _ = wire.read_to_end().await;
    })
    .await;
    let gateway = Config::to(&service).with("timeouts: {read: 200ms}").start().await;
    let found = through(&gateway, "/", &["--timeout", "2s"]).await;
    found.is("upstream-timeout").blames("upstream");
    found.points_at(gateway.file(), &quoted(service.address()));
}

#[tokio::test]
async fn service_slower_than_the_timeout_points_at_the_key() {
    let (release, released) = tokio::sync::watch::channel(0);
    let service = Upstream::scripted(move |mut wire, recorder| {
        let (release, mut released) = (release.clone(), released.clone());
        async move {
            let Some(head) = wire.try_head().await else { return };
            recorder.record(&head);
            // The gateway's asking comes to nothing; the doctor's own waits for that.
            if head.get("x-request-id").is_some() {
                let _ = wire.read_to_end().await;
                release.send_replace(1);
                return;
            }
            let _ = released.wait_for(|count| *count > 0).await;
            wire.send(switching(&head, "")).await;
            while let (9, payload) = frame(&mut wire).await {
                wire.send(plain_frame(10, &payload)).await;
            }
        }
    })
    .await;
    let gateway = Config::to(&service).with("timeouts: {read: 300ms}").start().await;
    let found = through(&gateway, "/", &["--timeout", "10s"]).await;
    found.is("upstream-timeout").points_at(gateway.file(), "300ms");
}

#[tokio::test]
async fn tls_endpoint_without_tls_is_tls_behind_plain() {
    let service = Identity::for_name("localhost").serve().await;
    let endpoint = format!("127.0.0.1:{}", service.port);
    let gateway = Config::to_address(&endpoint).start().await;
    let found = through(&gateway, "/", &[]).await;
    found.is("tls-behind-plain").blames("upstream").points_at(gateway.file(), &quoted(&endpoint));
}

/// That a service that does this to every connection is at fault in this way.
async fn service<F, Fut>(code: &str, script: F)
where
    F: Fn(tidegate_testing::Wire) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let service = Upstream::scripted(move |wire, _| script(wire)).await;
    let gateway = Config::to(&service).start().await;
    let found = through(&gateway, "/", &["--timeout", "1200ms"]).await;
    found.is(code).blames("upstream").points_at(gateway.file(), &quoted(service.address()));
}

#[tokio::test]
async fn faults_of_the_service_are_named_through_the_gateway() {
    service("http2-only", |mut wire| async move {
        let _ = wire.try_head().await;
        let _ = wire.try_send([0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
    })
    .await;
    service("closed-before-answer", |mut wire| async move {
        let _ = wire.try_head().await;
    })
    .await;
    service("not-http", |mut wire| async move {
        let _ = wire.try_head().await;
        let _ = wire.try_send("220 mail.example ESMTP\r\n").await;
    })
    .await;
    service("forbidden", |mut wire| async move {
        let _ = wire.try_head().await;
        let _ = wire.try_send(respond("403 Forbidden", &[], "")).await;
    })
    .await;
    service("closed-at-once", |mut wire| async move {
        if let Some(head) = wire.try_head().await {
            let _ = wire.try_send(switching(&head, "")).await;
        }
    })
    .await;
    service("wrong-accept-key", |mut wire| async move {
        if let Some(head) = wire.try_head().await {
            let answer = switching(&head, "").replacen("Accept: ", "Accept: x", 1);
            let _ = wire.try_send(answer).await;
            let _ = wire.read_to_end().await;
        }
    })
    .await;
}

#[tokio::test]
async fn service_that_fails_only_the_gateway_is_upstream_failed() {
    let service = Upstream::scripted(|mut wire, _| async move {
        let Some(head) = wire.try_head().await else { return };
        if head.get("x-request-id").is_some() {
            return;
        }
        wire.send(switching(&head, "")).await;
        while let (9, payload) = frame(&mut wire).await {
            wire.send(plain_frame(10, &payload)).await;
        }
    })
    .await;
    let gateway = Config::to(&service).start().await;
    let found = through(&gateway, "/", &[]).await;
    found.is("upstream-failed").points_at(gateway.file(), &quoted(service.address()));
}

#[tokio::test]
async fn wrong_rewrite_points_at_the_prefix() {
    let service = Upstream::answering(|_| respond("404 Not Found", &[], "")).await;
    let gateway = Config::new()
        .upstream("service", &[service.address()])
        .route("socket", "path_prefix: /api/ws", "service")
        .with("rewrite: {prefix: /wrong}")
        .start()
        .await;
    let found = through(&gateway, "/api/ws/x?token=hush-hush", &[]).await;
    found.is("not-found").blames("upstream").points_at(gateway.file(), "/wrong");
    let straight = service.requests();
    let asked: Vec<&str> = straight.iter().map(|request| request.head.target()).collect();
    assert_eq!(asked, ["/wrong/x?token=hush-hush"; 2], "both ways ask for the same");
    assert!(!found.run.all().contains("hush-hush"), "{}", found.run.all());
}

#[tokio::test]
async fn idle_timeout_of_the_route_points_at_the_key() {
    let service = Upstream::echo().await;
    let gateway = Config::to(&service).with("websocket: {idle_timeout: 400ms}").start().await;
    let found = through(&gateway, "/", &["--idle", "2s"]).await;
    found.is("idle-cut").blames("gateway").points_at(gateway.file(), "400ms");
}

#[tokio::test]
async fn one_failing_endpoint_of_two_is_endpoint_fails() {
    let service = Upstream::echo().await;
    let nobody = format!("127.0.0.1:{}", free_port());
    let gateway = Config::new()
        .upstream("service", &[service.address().to_string(), nobody.clone()])
        .route("all", "path_prefix: /", "service")
        .start()
        .await;
    let found = through(&gateway, "/", &[]).await;
    found.is("endpoint-fails").points_at(gateway.file(), &quoted(&nobody)).saw("nothing-listens");
}

#[tokio::test]
async fn finding_in_an_included_file_names_that_file() {
    let service = Upstream::echo().await;
    let folder = tempfile::TempDir::new().expect("a folder");
    let (file, included) = (folder.path().join("gate.yaml"), folder.path().join("more.yaml"));
    let port = free_port();
    let routes = Config::to(&service).with("websocket: off").yaml(port);
    let (_, routes) = routes.split_once("threads: 2\n").expect("the top");
    std::fs::write(&included, routes).expect("a file");
    let top = format!("listeners: [{{address: 127.0.0.1:{port}}}]\ninclude: [more.yaml]\n");
    std::fs::write(&file, top).expect("a file");
    let gateway = Gateway::run(folder, file, port).await;
    let found = through(&gateway, "/", &[]).await;
    found.is("websocket-off").points_at(Path::new(&included), "off");
}

/// Examines a plain path of a gateway with its own file.
async fn get_through(gateway: &Gateway, path: &str, arguments: &[&str]) -> Found {
    let file = gateway.file().to_str().expect("a path");
    let url = format!("http://{}{path}", gateway.address());
    examine(url, &[&["--config", file], arguments].concat()).await
}

#[tokio::test]
async fn upstream_is_examined_over_its_own_tls_and_protocol() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let authority = Authority::new();
    authority.write(&folder.path().join("ca.pem"));
    authority.issue(folder.path(), "service", &["service.internal"], 2090);
    authority.issue_client(folder.path(), "gateway");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let tls = format!(
        "tls: {{server_name: service.internal, ca: {:?}, client_certificate: {{cert: {:?}, key: {:?}}}}}",
        path("ca.pem"),
        path("gateway.pem"),
        path("gateway.key")
    );
    for (alpn, protocols) in [("http/1.1", "[h1]"), ("h2", "[h2]")] {
        let service = TlsService::start(folder.path(), "service", Some("ca.pem"), &[alpn]).await;
        let config = Config::to_address(service.address().to_string());
        let protocols = format!("protocols: {protocols}");
        let gateway = config.speaking(&tls).speaking(&protocols).start().await;
        let found = get_through(&gateway, "/", &[]).await;
        assert_eq!(found.json["healthy"], true, "{:#}", found.json);
        assert_eq!(found.outcome("upstream"), "ok", "{:#}", found.json);
    }
    // Over HTTP/2 without TLS as well.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(tidegate_testing::answer_by_http2(socket));
        }
    });
    let gateway = Config::to_address(&address).speaking("protocols: [h2c]").start().await;
    let found = get_through(&gateway, "/", &[]).await;
    assert_eq!(found.outcome("upstream"), "ok", "{:#}", found.json);
}

#[tokio::test]
async fn untrusted_service_certificate_is_upstream_certificate() {
    let folder = tempfile::TempDir::new().expect("a folder");
    Authority::new().issue(folder.path(), "service", &["localhost", "127.0.0.1"], 2090);
    let service = TlsService::start(folder.path(), "service", None, &[]).await;
    let address = service.address().to_string();
    let gateway = Config::to_address(&address).speaking("tls: on").start().await;
    let found = get_through(&gateway, "/", &[]).await;
    found.is("upstream-certificate").blames("upstream").saw("upstream_tls_failed");
    found.points_at(gateway.file(), &quoted(&address));
}

#[tokio::test]
async fn tls_failure_without_a_configuration_file_is_upstream_tls_failed() {
    let folder = tempfile::TempDir::new().expect("a folder");
    Authority::new().issue(folder.path(), "service", &["localhost", "127.0.0.1"], 2090);
    let service = TlsService::start(folder.path(), "service", None, &[]).await;
    let gateway = Config::to_address(service.address()).speaking("tls: on").start().await;
    // Without the configuration file, the doctor does not know the endpoint.
    let found = examine(format!("ws://{}/", gateway.address()), &[]).await;
    found.is("upstream-tls-failed").blames("upstream").saw("upstream_tls_failed");
}

#[tokio::test]
async fn custom_error_page_does_not_hide_the_fault() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let page = folder.path().join("e.json");
    std::fs::write(&page, "{\"code\": {{status}}}").expect("a page");
    let service = Upstream::scripted(|mut wire, _| async move {
        let _ = wire.read_to_end().await;
    })
    .await;
    let pages = format!("error_pages: {{json: {{4xx: {page:?}, 5xx: {page:?}}}}}");
    let gateway = Config::to(&service).with("timeouts: {read: 200ms}").top(&pages).start().await;
    let found = get_through(&gateway, "/", &["--timeout", "2s"]).await;
    found.is("upstream-timeout").blames("upstream").saw("upstream_timeout");
    let found = through(&gateway, "/", &["--origin", "https://evil.example"]).await;
    found.is("origin-refused").blames("gateway");
}

#[tokio::test]
async fn error_copied_by_a_service_blames_the_service() {
    let service = Upstream::answering(|_| {
        let body = r#"{"error":"no_route","message":"mine","request_id":"1"}"#;
        respond("404 Not Found", &["Content-Type: application/json"], body)
    })
    .await;
    let gateway = Config::to(&service).start().await;
    let found = get_through(&gateway, "/", &[]).await;
    found.is("not-found").blames("upstream");
}

#[tokio::test]
async fn chunked_body_is_shown_decoded() {
    let service = Upstream::answering(|_| {
        b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\nf\r\nbroken orders-a\r\n0\r\n\r\n"
            .to_vec()
    })
    .await;
    let gateway = Config::to(&service).start().await;
    let found = get_through(&gateway, "/", &[]).await;
    found.blames("upstream").saw("\"broken orders-a\"");
}
