//! A WebSocket handshake that the upstream does not answer ends by a timeout that the log names, or on request.

use bytes::Bytes;
use http::Request;
use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::Value;
use std::time::Duration;
use tidegate_testing::{
    Admin, Config, Gateway, Handshake, TOKEN, Upstream, pool, switch, until, within,
};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Takes handshakes and never answers them; at `/refused` it begins a refusal that it never ends.
async fn silent() -> Upstream {
    Upstream::scripted(|mut wire, recorder| async move {
        let Some(head) = wire.try_head().await else { return };
        recorder.record(&head);
        if head.target().starts_with("/refused") {
            wire.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nno").await;
        }
        wire.read_to_end().await;
    })
    .await
}

/// Opens a handshake over HTTP/1.1 or HTTP/2, and tells its status.
async fn handshake(gateway: &Gateway, target: &str, is_http2: bool) -> u16 {
    if !is_http2 {
        return gateway.refused(&Handshake::to(target)).await.status();
    }
    let stream = TcpStream::connect(gateway.address()).await.expect("a connection");
    let (mut send, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    until("the settings", async || send.is_extended_connect_protocol_enabled()).await;
    let request = Request::builder()
        .method("CONNECT")
        .uri(format!("http://site.test{target}"))
        .extension(h2::ext::Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .body(())
        .expect("a request");
    let (response, _send): (_, h2::SendStream<Bytes>) =
        send.send_request(request, false).expect("sent");
    let response = within("an answer", response).await.expect("an answer");
    connection.abort();
    response.status().as_u16()
}

async fn error_of(gateway: &Gateway, path: &str) -> String {
    let line = gateway.access_of(path).await;
    line["error.message"].as_str().unwrap_or_default().to_owned()
}

const BOUNDS: [(&str, &str, &str); 5] = [
    ("idle", "websocket: {idle_timeout: 300ms}", "within 300ms (websocket.idle_timeout)"),
    ("age", "websocket: {max_lifetime: 300ms}", "within 300ms (websocket.max_lifetime)"),
    ("first", "timeouts: {first_byte: 300ms}", "within 300ms (timeouts.first_byte)"),
    ("read", "timeouts: {read: 300ms}", "within 300ms (timeouts.read)"),
    (
        "least",
        "websocket: {idle_timeout: 20s, max_lifetime: 300ms, ping: {interval: 10s}}",
        "within 300ms (websocket.max_lifetime)",
    ),
];

#[tokio::test]
async fn unanswered_handshake_ends_by_the_timeout_named_in_the_log() {
    let upstream = silent().await;
    let mut config =
        Config::new().listening("protocols: [h1, h2c]").upstream("service", &[upstream.address()]);
    for (name, line, _) in BOUNDS {
        config = config.route(name, &format!("path_prefix: /{name}"), "service").with(line);
    }
    let gateway = config.start().await;
    for (name, _, words) in BOUNDS {
        for (version, is_http2) in [("h1", false), ("h2", true)] {
            let path = format!("/{name}/{version}");
            assert_eq!(handshake(&gateway, &path, is_http2).await, 504, "{path}");
            let error = error_of(&gateway, &path).await;
            assert!(error.contains("did not answer the handshake"), "{path}: {error}");
            assert!(error.ends_with(words), "{path}: {error}");
        }
    }
}

#[tokio::test]
async fn endless_refusal_of_a_handshake_times_out() {
    let upstream = silent().await;
    let gateway = Config::to(&upstream).with("timeouts: {read: 300ms}").start().await;
    let mut wire = gateway.connect().await;
    wire.send(Handshake::to("/refused").bytes()).await;
    let all = wire.read_to_end().await;
    assert!(String::from_utf8_lossy(&all).starts_with("HTTP/1.1 403"), "{all:?}");
    let error = error_of(&gateway, "/refused").await;
    assert!(error.contains("timeouts.read"), "{error}");
}

/// What tells a handshake to end, by the name of its route.
const ORDERS: [(&str, &str); 3] = [("kick", "kick"), ("drain", "drain"), ("stop", "drain")];

/// Handshakes that hang at `targets` end when they are told to, within 5 s.
async fn end_when_told(config: Config, admin: &Admin, target: &'static str) {
    for is_http2 in [false, true] {
        for (order, initiator) in ORDERS {
            let mut gateway = config.start().await;
            let path = format!("{target}/{order}");
            let hanging = handshake(&gateway, &path, is_http2);
            let telling = async {
                until("a handshake in flight", async || {
                    admin.get("/sessions").await["sessions"].as_array().map(Vec::len) == Some(1)
                })
                .await;
                match order {
                    "stop" => gateway.signal(Signal::SIGTERM),
                    "kick" => {
                        let target = "/sessions/close?route=all";
                        let answer = admin.send(Method::POST, target, Some(TOKEN)).await;
                        assert_eq!(answer.status(), 200);
                    }
                    _ => {
                        let answer = admin.send(Method::POST, "/drain", Some(TOKEN)).await;
                        assert_eq!(answer.status(), 200);
                    }
                }
            };
            let both = async { tokio::join!(hanging, telling) };
            let bound = Duration::from_secs(5);
            let (status, ()) = tokio::time::timeout(bound, both).await.expect("it ends");
            assert_eq!(status, 503, "{path}");
            let is_line = |line: &Value| line["url.path"] == *path;
            let line = gateway.access("the handshake", is_line).await;
            let error = line["error.message"].as_str().unwrap_or_default();
            let words = format!("the gateway ended the WebSocket handshake ({initiator}): ");
            assert!(error.starts_with(&words), "{path}: {line}");
            if order == "stop" {
                assert_eq!(gateway.exited(Duration::from_secs(10)).await.code(), Some(0));
            }
        }
    }
}

fn listening(config: Config, admin: &Admin) -> Config {
    config
        .listening("protocols: [h1, h2c]")
        .top(&admin.section())
        .top("drain: {spread: 0s}")
        .top("shutdown: {grace: 30s}")
}

#[tokio::test]
async fn unanswered_handshake_ends_on_request() {
    let (upstream, admin) = (silent().await, Admin::new());
    let config = listening(Config::to(&upstream), &admin);
    end_when_told(config, &admin, "/silent").await;
}

#[tokio::test]
async fn handshake_that_cannot_connect_ends_on_request() {
    let (full, _connections) = full().await;
    let admin = Admin::new();
    let address = full.local_addr().expect("an address");
    let config = listening(Config::to_address(address), &admin).with("timeouts: {connect: 60s}");
    end_when_told(config, &admin, "/full").await;
}

#[tokio::test]
async fn max_lifetime_includes_the_connect_time() {
    let (full, _connections) = full().await;
    let gateway = Config::to_address(full.local_addr().expect("an address"))
        .with("timeouts: {connect: 60s}")
        .with("websocket: {max_lifetime: 300ms}")
        .start()
        .await;
    assert_eq!(handshake(&gateway, "/full", false).await, 504);
    let error = error_of(&gateway, "/full").await;
    assert!(error.ends_with("within 300ms (websocket.max_lifetime)"), "{error}");
}

/// A listener whose queue is full: connecting hangs.
async fn full() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
    let listener = socket.listen(1).expect("listening");
    let address = listener.local_addr().expect("an address");
    let mut held = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(500), TcpStream::connect(address)).await
    {
        held.push(stream);
    }
    (listener, held)
}

#[tokio::test]
async fn session_opened_by_a_retry_ends_normally() {
    let silent = silent().await;
    let good = Upstream::scripted(|mut wire, _| async move {
        let head = wire.head().await;
        let mut socket = switch(wire, &head, "").await;
        while let Some(Ok(_)) = futures_util::StreamExt::next(&mut socket).await {}
    })
    .await;
    let gateway = pool(&[&silent, &good], &[])
        .with("timeouts: {first_byte: 300ms}")
        .with("retry: {attempts: 2, on: [timeout], backoff: 500ms}")
        .start()
        .await;
    for number in 0..2 {
        let mut socket = gateway.websocket(&format!("/{number}")).await;
        socket.close(None).await.expect("closed");
        while let Some(Ok(_)) = futures_util::StreamExt::next(&mut socket).await {}
        let path = format!("/{number}");
        let is_end = |line: &Value| line["event"] == "websocket.close" && line["url.path"] == *path;
        let line = gateway.access("the end", is_end).await;
        assert_eq!(line["websocket.close.initiator"], "client", "{line}");
    }
    assert!(!silent.requests().is_empty(), "one of them took a second attempt");
}
