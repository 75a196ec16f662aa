//! A listener speaks only the protocols of its `protocols` key.

use h2::client::handshake;
use tempfile::TempDir;
use tidegate_testing::{
    Authority, Config, Gateway, Response, Upstream, Wire, cli, free_port, get, until,
};
use tokio::net::TcpStream;

/// RFC 9110, section 15.6.6.
fn is_version_not_supported(answer: &Response) {
    assert_eq!(answer.status(), 505);
    assert!(answer.text().contains("version_not_supported"), "{}", answer.text());
    assert_eq!(answer.head.only("connection"), Some("close"));
}

/// The status of a GET by HTTP/2, without TLS.
async fn by_h2c(gateway: &Gateway) -> Option<u16> {
    let socket = TcpStream::connect(gateway.address()).await.ok()?;
    let (send, connection) = handshake(socket).await.ok()?;
    let driving = tokio::spawn(connection);
    let request = http::Request::get("http://localhost/").body(()).expect("a request");
    let mut send = send.ready().await.ok()?;
    let answer = send.send_request(request, true).ok()?.0.await;
    driving.abort();
    Some(answer.ok()?.status().as_u16())
}

#[tokio::test]
async fn h2c_listener_refuses_http1() {
    let upstream = Upstream::saying("hello").await;
    let config = Config::to(&upstream);
    let gateway = config.clone().listening("protocols: [h2c]").start().await;
    is_version_not_supported(&gateway.get("/", &[]).await);
    assert_eq!(by_h2c(&gateway).await, Some(200));
    assert_eq!(upstream.requests().len(), 1);
    let url = format!("http://{}/", gateway.address());
    let doctor = cli(gateway.folder(), &["doctor", &url], &[]).await;
    assert!(doctor.all().contains("http1-disabled"), "{}", doctor.all());
    // It changes with a reload, both ways.
    gateway.rewrite(&config.clone().listening("protocols: [h1, h2c]"));
    until("HTTP/1 is served", async || gateway.get("/", &[]).await.status() == 200).await;
    assert_eq!(by_h2c(&gateway).await, Some(200));
    gateway.rewrite(&config);
    until("HTTP/2 is not", async || by_h2c(&gateway).await.is_none()).await;
    assert_eq!(gateway.get("/", &[]).await.status(), 200);
}

/// A gateway with TLS that speaks this.
async fn with_tls(upstream: &Upstream, protocols: &str) -> (Gateway, Authority) {
    let authority = Authority::new();
    let folder = TempDir::new().expect("a folder");
    authority.issue(folder.path(), "site", &["site.test"], 2090);
    let config = Config::to(upstream)
        .listening("tls: {certificates: [{cert: site.pem, key: site.key}]}")
        .listening(protocols);
    let port = free_port();
    let file = folder.path().join("tidegate.yaml");
    std::fs::write(&file, config.yaml(port)).expect("a file");
    (Gateway::run(folder, file, port).await, authority)
}

#[tokio::test]
async fn h2_listener_refuses_http1_over_tls() {
    let upstream = Upstream::saying("hello").await;
    let (gateway, authority) = with_tls(&upstream, "protocols: [h2]").await;
    // RFC 9113, section 3.2: who offers nothing can't mean HTTP/2.
    let mut wire = Wire::over(authority.client().connect(&gateway, "site.test").await);
    wire.send(get("/", &["Host: site.test"])).await;
    is_version_not_supported(&wire.response().await);
    let both = authority.client().offering(&["http/1.1", "h2"]);
    let chosen = both.connect(&gateway, "site.test").await;
    assert_eq!(chosen.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    // RFC 7301, section 3.2.
    let one = authority.client().offering(&["http/1.1"]);
    let refused = one.try_connect(&gateway, "site.test").await.expect_err("an alert");
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    assert_eq!(upstream.requests().len(), 0);
}

#[tokio::test]
async fn h1_listener_refuses_http2_over_tls() {
    let upstream = Upstream::saying("hello").await;
    let (gateway, authority) = with_tls(&upstream, "protocols: [h1]").await;
    let two = authority.client().offering(&["h2"]);
    let refused = two.try_connect(&gateway, "site.test").await.expect_err("an alert");
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    let mut wire = Wire::over(authority.client().connect(&gateway, "site.test").await);
    wire.send(get("/", &["Host: site.test"])).await;
    assert_eq!(wire.response().await.status(), 200);
}
