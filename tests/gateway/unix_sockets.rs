//! Unix domain sockets: services behind the gateway, and the gateway itself.

use crate::support::{Config, Handshake, Upstream, Wire, cli, ok, until};
use futures_util::{SinkExt, StreamExt};
use std::path::Path;
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};
use tokio_tungstenite::tungstenite::Message;

/// A service at a Unix socket, which passes each connection on to an upstream of the kit.
fn behind(path: &Path, upstream: &Upstream) -> tokio::task::JoinHandle<()> {
    let listener = UnixListener::bind(path).expect("the socket");
    let address = upstream.address();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(address).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    })
}

#[tokio::test]
async fn a_service_at_a_socket_takes_requests_and_websockets() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("app.sock");
    let upstream = Upstream::echo().await;
    let _service = behind(&path, &upstream);
    let at = format!("unix:{}", path.display());
    let config = Config::to_address(&at)
        .with("rewrite: {host: upstream}")
        .speaking("health: {check: {http: /health}, interval: 100ms, healthy_after: 1}");
    let gateway = config.start().await;
    assert_eq!(gateway.get("/x", &[]).await.text(), "polled");
    let mut socket = gateway.websocket("/ws").await;
    socket.send(Message::text("hello")).await.expect("sent");
    assert_eq!(socket.next().await.expect("an echo").expect("a message"), Message::text("hello"));
    let line = gateway.access_of("/x").await;
    assert_eq!(line["upstream.address"], at);
    until("it is asked whether it is well", async || {
        upstream.requests().iter().any(|request| request.head.target() == "/health")
    })
    .await;
    for request in upstream.requests() {
        assert_eq!(request.head.get("host"), Some("localhost"), "{}", request.head.text);
    }
}

#[tokio::test]
async fn one_that_is_not_there_is_502_and_another_takes_its_place() {
    let folder = TempDir::new().expect("a folder");
    let missing = format!("unix:{}", folder.path().join("missing.sock").display());
    let gateway = Config::to_address(&missing).start().await;
    let answer = gateway.get("/", &[]).await;
    assert_eq!(
        (answer.status(), answer.error()["error"].as_str()),
        (502, Some("upstream_unreachable"))
    );
    let line = gateway.access_of("/").await;
    assert!(line["error.message"].as_str().is_some_and(|it| it.contains(&missing)), "{line}");
    let upstream = Upstream::answering(|_| ok("there")).await;
    let both = [missing, upstream.address().to_string()];
    let config = Config::new().upstream("service", &both).route("all", "path_prefix: /", "service");
    let gateway = config.start().await;
    for _ in 0..6 {
        assert_eq!(gateway.get("/", &[]).await.text(), "there");
    }
}

#[tokio::test]
async fn paths_are_absolute() {
    let folder = TempDir::new().expect("a folder");
    for (address, reason) in [
        ("unix:run/app.sock", "absolute path"),
        ("unix:", "absolute path"),
        (&*format!("unix:/{}", "x".repeat(200)), "107 bytes"),
    ] {
        let yaml = Config::to_address(address).yaml(1);
        std::fs::write(folder.path().join("t.yaml"), yaml).expect("a file");
        let run = cli(folder.path(), &["check", "--config", "t.yaml"], &[]).await;
        assert_eq!(run.code, Some(78));
        assert!(run.all().contains(reason), "{}", run.all());
    }
    let _: Option<(Handshake, Wire, UnixStream)> = None;
}
