//! Upstreams over TLS and HTTP/2: verified by default, for requests and WebSockets.

use futures_util::{SinkExt, StreamExt};
use std::net::SocketAddr;
use std::path::Path;
use tempfile::TempDir;
use tidegate_testing::{
    Authority, Config, Gateway, Handshake, TlsService, answer_by_http2, free_port, until, within,
};
use tokio::net::TcpListener;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

/// A folder with an authority `ca.pem`, the service `service` for 127.0.0.1, and its gateway.
struct Setup {
    folder: TempDir,
    authority: Authority,
}

impl Setup {
    fn new() -> Self {
        let (folder, authority) = (TempDir::new().expect("a folder"), Authority::new());
        authority.write(&folder.path().join("ca.pem"));
        authority.issue(folder.path(), "service", &["127.0.0.1", "service.internal"], 2090);
        Self { folder, authority }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    async fn gateway(self, address: SocketAddr, upstream: &str) -> Gateway {
        let config = Config::new().upstream("service", &[address]).speaking(upstream).route(
            "all",
            "path_prefix: /",
            "service",
        );
        let (port, file) = (free_port(), self.folder.path().join("tidegate.yaml"));
        std::fs::write(&file, config.yaml(port)).expect("a file");
        Gateway::run(self.folder, file, port).await
    }
}

async fn echoes(gateway: &Gateway) -> bool {
    let mut wire = gateway.connect().await;
    wire.send(Handshake::to("/ws").bytes()).await;
    let head = wire.head().await;
    if head.status() != Some(101) {
        let _ = wire.read_to_end().await;
        return false;
    }
    let (stream, behind) = wire.into_parts();
    let mut socket = WebSocketStream::from_partially_read(stream, behind, Role::Client, None).await;
    socket.send(Message::text("hello")).await.expect("sent");
    within("an echo", socket.next()).await.expect("a message").expect("sound")
        == Message::text("hello")
}

#[tokio::test]
async fn verified_tls_upstream_is_used_with_kept_connections() {
    let setup = Setup::new();
    let service = TlsService::start(setup.path(), "service", None, &[]).await;
    let gateway = setup.gateway(service.address(), "tls: {ca: ca.pem}").await;
    for number in 0..20 {
        let target = format!("/{number}");
        assert_eq!(gateway.get(&target, &[]).await.text(), target);
    }
    // A connection goes back to the pool a little after its response has gone down.
    let handshakes = service.handshakes();
    assert!(handshakes < 10, "{handshakes} connections for twenty requests");
    assert!(echoes(&gateway).await);
}

#[tokio::test]
async fn unverifiable_tls_upstream_is_answered_502() {
    let setup = Setup::new();
    setup.authority.issue(setup.path(), "expired", &["127.0.0.1"], 2021);
    setup.authority.issue(setup.path(), "other", &["other.internal"], 2090);
    Authority::new().write(&setup.path().join("stranger.pem"));
    let good = TlsService::start(setup.path(), "service", None, &[]).await;
    let expired = TlsService::start(setup.path(), "expired", None, &[]).await;
    let other = TlsService::start(setup.path(), "other", None, &[]).await;
    let gateway = setup.gateway(good.address(), "tls: on").await;
    let mut mark = gateway.mark();
    for (service, tls, told) in [
        (&good, "tls: on", "UnknownIssuer"),
        (&good, "tls: {ca: stranger.pem}", "invalid peer certificate"),
        (&good, "tls: {ca: ca.pem, server_name: wrong.internal}", "not valid for name"),
        (&expired, "tls: {ca: ca.pem}", "expired"),
        (&other, "tls: {ca: ca.pem}", "not valid for name"),
    ] {
        let config = Config::new().upstream("service", &[service.address()]).speaking(tls).route(
            "all",
            "path_prefix: /",
            "service",
        );
        gateway.rewrite(&config.top(&format!("# {tls} {}", service.address())));
        gateway.says(mark, "configuration reloaded").await;
        mark = gateway.mark();
        let answer = gateway.get("/", &[]).await;
        assert_eq!(answer.status(), 502, "{tls}");
        assert_eq!(answer.error()["error"], "upstream_tls_failed", "{tls}");
        let line = gateway.says(mark, "the TLS handshake failed").await;
        assert!(line.contains(told), "{line}");
        assert!(!echoes(&gateway).await, "{tls}");
        mark = gateway.mark();
    }
}

#[tokio::test]
async fn server_name_overrides_the_endpoint_name() {
    let setup = Setup::new();
    setup.authority.issue(setup.path(), "other", &["other.internal"], 2090);
    let service = TlsService::start(setup.path(), "other", None, &[]).await;
    let tls = "tls: {ca: ca.pem, server_name: other.internal}";
    let gateway = setup.gateway(service.address(), tls).await;
    assert_eq!(gateway.get("/a", &[]).await.text(), "/a");
    assert!(echoes(&gateway).await);
}

#[tokio::test]
async fn insecure_skip_verify_is_logged_as_a_warning() {
    let setup = Setup::new();
    let service = TlsService::start(setup.path(), "service", None, &[]).await;
    let gateway = setup.gateway(service.address(), "tls: {insecure_skip_verify: true}").await;
    gateway.says(0, "the gateway does not verify its certificate").await;
    assert_eq!(gateway.get("/a", &[]).await.text(), "/a");
    assert!(echoes(&gateway).await);
}

#[tokio::test]
async fn client_certificate_is_presented_to_the_upstream() {
    let setup = Setup::new();
    setup.authority.issue_client(setup.path(), "gateway");
    let service = TlsService::start(setup.path(), "service", Some("ca.pem"), &[]).await;
    let tls = "tls: {ca: ca.pem, client_certificate: {cert: gateway.pem, key: gateway.key}}";
    let gateway = setup.gateway(service.address(), tls).await;
    assert_eq!(gateway.get("/a", &[]).await.text(), "/a");
    assert!(echoes(&gateway).await);
    let mark = gateway.mark();
    let config = Config::new()
        .upstream("service", &[service.address()])
        .speaking("tls: {ca: ca.pem}")
        .route("all", "path_prefix: /", "service");
    gateway.rewrite(&config);
    gateway.says(mark, "configuration reloaded").await;
    until("a connection without it to be refused", || async {
        gateway.get("/a", &[]).await.status() == 502
    })
    .await;
}

#[tokio::test]
async fn http2_upstream_is_negotiated_by_alpn() {
    let setup = Setup::new();
    let both = TlsService::start(setup.path(), "service", None, &["h2", "http/1.1"]).await;
    let gateway = setup.gateway(both.address(), "tls: {ca: ca.pem}\n    protocols: [h2, h1]").await;
    assert_eq!(gateway.get("/a", &[]).await.text(), "/a by HTTP/2");
    assert_eq!(gateway.get("/b", &[]).await.text(), "/b by HTTP/2");
    assert!(echoes(&gateway).await, "WebSockets go by HTTP/1.1 all the same");
}

#[tokio::test]
async fn http2_upstream_falls_back_to_http1_where_allowed() {
    let setup = Setup::new();
    let old = TlsService::start(setup.path(), "service", None, &["http/1.1"]).await;
    let gateway = setup.gateway(old.address(), "tls: {ca: ca.pem}\n    protocols: [h2, h1]").await;
    assert_eq!(gateway.get("/a", &[]).await.text(), "/a");
}

#[tokio::test]
async fn h2c_upstream_uses_prior_knowledge() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let task = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(answer_by_http2(socket));
        }
    });
    let gateway = Setup::new().gateway(address, "protocols: [h2c]").await;
    assert_eq!(gateway.get("/a", &[]).await.text(), "/a by HTTP/2");
    task.abort();
}
