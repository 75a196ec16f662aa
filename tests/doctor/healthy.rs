//! Healthy targets, and command lines and configurations that the doctor refuses.

use crate::harness::{Identity, examine, ws};
use tempfile::TempDir;
use tidegate_testing::{Config, Upstream, cli};

#[tokio::test]
async fn websocket_and_page_without_tls_are_healthy() {
    let service = Upstream::echo().await;
    let found = examine(ws(service.address()), &[]).await;
    for step in ["tcp", "http", "handshake", "ping", "idle"] {
        assert_eq!(found.is_healthy().outcome(step), "ok", "{step}");
    }
    let found = examine(ws(service.address()), &["--idle", "0"]).await;
    assert_eq!(found.is_healthy().outcome("idle"), "skipped");
    let found = examine(format!("http://{}/", service.address()), &[]).await;
    assert_eq!(found.is_healthy().outcome("answer"), "ok");
}

#[tokio::test]
async fn websocket_and_page_over_tls_are_healthy() {
    let server = Identity::for_name("localhost").serve().await;
    let found = server.examine().await;
    assert_eq!(found.is_healthy().outcome("tls"), "ok");
    let ca = ["--ca", server.ca.to_str().expect("a path")];
    examine(server.url("https"), &ca).await.is_healthy();
}

#[tokio::test]
async fn healthy_report_names_route_and_upstream() {
    let service = Upstream::echo().await;
    let gateway = Config::new()
        .upstream("service", &[service.address()])
        .route("socket", "path_prefix: /api/ws", "service")
        .with("rewrite: {prefix: /}")
        .cors(&["https://app.example"], "")
        .start()
        .await;
    let file = gateway.file().to_str().expect("a path");
    let url = format!("ws://{}/api/ws/room?userId=x&token=hush-hush", gateway.address());
    let arguments =
        ["--config", file, "--origin", "https://app.example", "--header", "X-A: secret"];
    let found = examine(&url, &arguments).await;
    for step in ["tcp", "http", "handshake", "upstream", "origin", "ping", "idle"] {
        assert_eq!(found.is_healthy().outcome(step), "ok", "{step}");
    }
    assert_eq!(found.json["route"], "socket");
    assert_eq!(found.json["upstream"], "service");
    for request in service.requests() {
        assert_eq!(request.head.target(), "/room?userId=x&token=hush-hush");
        assert_eq!(request.head.get("x-a"), Some("secret"));
    }
    assert!(!found.run.all().contains("hush-hush"), "{}", found.run.all());
}

#[tokio::test]
async fn text_report_is_short_and_ends_with_the_advice() {
    let service = Upstream::echo().await;
    let gateway = Config::to(&service).with("websocket: off").start().await;
    let folder = TempDir::new().expect("a folder");
    let url = format!("ws://{}/?token=hush-hush", gateway.address());
    let file = gateway.file().to_str().expect("a path");
    let run = cli(folder.path(), &["doctor", &url, "--config", file, "--idle", "0"], &[]).await;
    assert_eq!(run.code, Some(1), "{}", run.all());
    assert!(run.stdout.lines().count() < 25, "{}", run.stdout);
    for part in ["route `all`", "websocket-off: ", "websocket: on", "tidegate.yaml:", "REDACTED"] {
        assert!(run.stdout.contains(part), "{part} in {}", run.stdout);
    }
    assert!(!run.all().contains("hush-hush"), "{}", run.all());
    let straight = ws(service.address());
    let run = cli(folder.path(), &["doctor", &straight, "--idle", "0"], &[]).await;
    assert_eq!(
        (run.code, run.stdout.contains("No problems found.")),
        (Some(0), true),
        "{}",
        run.all()
    );
}

#[tokio::test]
async fn secret_echoed_by_the_server_is_not_shown() {
    let server = Upstream::answering(|request| {
        let body = format!("no such page: {}", request.head.text);
        tidegate_testing::respond("404 Not Found", &[], &body)
    })
    .await;
    let url = format!("http://{}/x?token=hush-hush", server.address());
    let found = examine(url, &["--header", "Authorization: Bearer sesame"]).await;
    found.is("not-found").saw("no such page");
    let said = found.run.all();
    assert!(!said.contains("hush-hush") && !said.contains("sesame"), "{said}");
}

#[tokio::test]
async fn query_key_redacted_in_the_file_is_not_shown() {
    let service = Upstream::echo().await;
    let gateway = Config::to(&service).top("access_log: {redact_query: [door-code]}").start().await;
    let url = format!("ws://{}/?door%2Dcode=hush-hush", gateway.address());
    let file = gateway.file().to_str().expect("a path");
    let found = examine(url, &["--config", file]).await;
    assert!(!found.is_healthy().run.all().contains("hush-hush"), "{}", found.run.all());
}

#[tokio::test]
async fn wrong_usage_exits_2_and_wrong_configuration_78() {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("bad.yaml"), "routes: 7\n").expect("a file");
    for (arguments, code) in [
        (&["doctor"][..], 2),
        (&["doctor", "localhost:3000"], 2),
        (&["doctor", "ftp://localhost/"], 2),
        (&["doctor", "ws://a/", "--header", "no colon"], 2),
        (&["doctor", "ws://a/", "--header", "X: a\r\nY: b"], 2),
        (&["doctor", "ws://a/", "--upstream", "a"], 2),
        (&["doctor", "ws://a/", "--idle", "soon"], 2),
        (&["doctor", "wss://a/", "--ca", "absent.pem"], 2),
        (&["doctor", "ws://a/", "--config", "bad.yaml"], 78),
        (&["doctor", "ws://a/", "--config", "absent.yaml"], 78),
    ] {
        let run = cli(folder.path(), arguments, &[]).await;
        assert_eq!(run.code, Some(code), "{arguments:?}: {}", run.all());
        assert!(!run.stderr.is_empty(), "{arguments:?}");
    }
}
