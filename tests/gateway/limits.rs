//! What a stranger can grow has a bound, and beyond it an answer that says so.

use crate::support::{Authority, Config, Gateway, Upstream, Wire, free_port, get, ok, until};
use std::net::SocketAddr;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpSocket;

/// A connection from another address of this machine.
async fn connect_from(source: &str, gateway: &Gateway) -> Wire {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(source.parse().expect("an address"), 0)).expect("bound");
    Wire::new(socket.connect(gateway.address()).await.expect("a connection"))
}

/// Connections that say nothing; each is known to be taken in, for the next one came later.
async fn silent(count: usize, gateway: &Gateway) -> Vec<Wire> {
    let mut wires = Vec::new();
    for _ in 0..count {
        let mut wire = gateway.connect().await;
        wire.send(get("/", &[])).await;
        assert_eq!(wire.response().await.status(), 200);
        wires.push(wire);
    }
    wires
}

#[tokio::test]
async fn connections_beyond_the_limit_are_answered_503() {
    let upstream = Upstream::saying("hello").await;
    let limits = "limits: {connections: 3, connections_per_client: 3}";
    let gateway = Config::to(&upstream).top(limits).start().await;
    // The kit itself has connected once to see it listen.
    until("the kit's own connection is gone", async || gateway.get("/", &[]).await.status() == 200)
        .await;
    let mut held = Vec::new();
    until("three are held", async || {
        let mut wire = gateway.connect().await;
        let is_served =
            wire.try_send(get("/", &[])).await.is_ok() && wire.response().await.status() == 200;
        if is_served {
            held.push(wire);
        }
        held.len() == 3
    })
    .await;
    let refused = gateway.get("/", &[]).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.text().contains("too_many_connections"), "{}", refused.text());
    assert_eq!(refused.head.only("retry-after"), Some("1"));
    assert_eq!(refused.head.only("connection"), Some("close"));
    held.pop();
    until("there is a place again", async || gateway.get("/", &[]).await.status() == 200).await;
    let told = gateway.log_lines();
    let told: Vec<_> = told.iter().filter(|line| line.contains("limits.connections")).collect();
    assert_eq!(told.len(), 1, "it is told once: {told:?}");
}

#[tokio::test]
async fn one_client_gets_no_more_than_its_share() {
    let upstream = Upstream::saying("hello").await;
    let gateway = Config::to(&upstream).top("limits: {connections_per_client: 2}").start().await;
    let mut held = Vec::new();
    until("two are held", async || {
        let mut wire = gateway.connect().await;
        wire.send(get("/", &[])).await;
        if wire.response().await.status() == 200 {
            held.push(wire);
        }
        held.len() == 2
    })
    .await;
    let refused = gateway.get("/", &[]).await;
    assert_eq!(refused.status(), 429);
    assert!(refused.text().contains("too_many_connections"), "{}", refused.text());
    let mut other = connect_from("127.0.0.2", &gateway).await;
    other.send(get("/", &[])).await;
    assert_eq!(other.response().await.status(), 200, "another client");
    held.pop();
    until("there is a place again", async || gateway.get("/", &[]).await.status() == 200).await;
}

#[tokio::test]
async fn a_trusted_proxy_speaks_for_many() {
    let upstream = Upstream::saying("hello").await;
    let gateway = Config::to(&upstream)
        .top("limits: {connections_per_client: 1}")
        .top("trusted_proxies: [127.0.0.0/8]")
        .start()
        .await;
    silent(5, &gateway).await;
}

#[tokio::test]
async fn behind_the_proxy_protocol_the_clients_are_counted() {
    let upstream = Upstream::saying("hello").await;
    let gateway = Config::to(&upstream)
        .top("limits: {connections_per_client: 1}")
        .listening("proxy_protocol: {from: [127.0.0.0/8]}")
        .start()
        .await;
    let connect = async |client: &str| {
        let mut wire = gateway.connect().await;
        wire.send(format!("PROXY TCP6 {client} 2001:db8:ffff::1 4000 80\r\n")).await;
        wire.send(get("/", &[])).await;
        let status = wire.response().await.status();
        (wire, status)
    };
    let (_held, status) = connect("2001:db8::1").await;
    assert_eq!(status, 200);
    assert_eq!(connect("2001:db8::2").await.1, 429, "the same /64");
    assert_eq!(connect("2001:db8:0:1::1").await.1, 200, "another one");
}

#[tokio::test]
async fn with_tls_who_is_too_many_is_closed_before_the_handshake() {
    let authority = Authority::new();
    let folder = TempDir::new().expect("a folder");
    authority.issue(folder.path(), "site", &["site.test"], 2090);
    let upstream = Upstream::saying("hello").await;
    let config = Config::to(&upstream)
        .listening("tls: {certificates: [{cert: site.pem, key: site.key}]}")
        .top("limits: {connections_per_client: 1, handshake_timeout: 300ms}");
    let port = free_port();
    let file = folder.path().join("tidegate.yaml");
    std::fs::write(&file, config.yaml(port)).expect("a file");
    let gateway = Gateway::run(folder, file, port).await;
    let client = authority.client();
    let mut held = None;
    until("one is held", async || {
        held = client.try_connect(&gateway, "site.test").await.ok();
        held.is_some()
    })
    .await;
    assert!(client.try_connect(&gateway, "site.test").await.is_err());
    drop(held);
    until("there is a place again", async || {
        client.try_connect(&gateway, "site.test").await.is_ok()
    })
    .await;
    let mut silent = connect_from("127.0.0.3", &gateway).await;
    assert_eq!(silent.read_to_end().await, b"", "no handshake within handshake_timeout");
}

#[tokio::test]
async fn a_connection_ends_after_its_last_request() {
    let upstream = Upstream::saying("hello").await;
    let gateway = Config::to(&upstream).top("limits: {requests_per_connection: 3}").start().await;
    let mut wire = gateway.connect().await;
    for number in 1..=3 {
        wire.send(get("/", &[])).await;
        let answer = wire.response().await;
        assert_eq!(answer.status(), 200);
        let closes = answer.head.only("connection") == Some("close");
        assert_eq!(closes, number == 3, "request {number}: {}", answer.head.text);
    }
    assert!(wire.is_ended().await);
}

#[tokio::test]
async fn requests_beyond_what_can_be_under_way_are_answered_503() {
    let upstream = Upstream::scripted(|mut wire, recorder| async move {
        while let Some(head) = wire.try_head().await {
            recorder.record(&head);
            if head.target() == "/hangs" {
                std::future::pending::<()>().await;
            }
            wire.send(ok("hello")).await;
        }
    })
    .await;
    let gateway = Config::to(&upstream).top("limits: {requests: 1}").start().await;
    let mut hanging = gateway.connect().await;
    hanging.send(get("/hangs", &[])).await;
    upstream.request(0).await;
    let shed = gateway.get("/", &[]).await;
    assert_eq!(shed.status(), 503);
    assert_eq!(shed.error()["error"], "overloaded");
    assert!(shed.error()["request_id"].is_string());
    assert_eq!(shed.head.only("retry-after"), Some("1"));
    drop(hanging);
    until("it is served again", async || gateway.get("/", &[]).await.status() == 200).await;
}

#[tokio::test]
async fn sessions_are_no_requests_under_way() {
    let upstream = Upstream::echo().await;
    let gateway = Config::to(&upstream).top("limits: {requests: 1}").start().await;
    let _sockets = [gateway.websocket("/").await, gateway.websocket("/").await];
    assert_eq!(gateway.get("/", &[]).await.status(), 200);
}

#[tokio::test]
async fn short_of_memory_it_answers_503_until_there_is_some() {
    let upstream = Upstream::saying("hello").await;
    let config = Config::to(&upstream);
    let gateway = config.clone().top("limits: {memory: 1MiB}").start().await;
    until("requests are shed", async || {
        let answer = gateway.get("/", &[]).await;
        answer.status() == 503 && answer.error()["error"] == "overloaded"
    })
    .await;
    gateway.says(0, "limits.memory").await;
    gateway.rewrite(&config);
    until("requests are served", async || gateway.get("/", &[]).await.status() == 200).await;
    gateway.says(0, "requests are served again").await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_408() {
    let upstream = Upstream::saying("hello").await;
    let gateway = Config::to(&upstream).top("limits: {body_timeout: 300ms}").start().await;
    let mut slow = gateway.connect().await;
    slow.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345").await;
    let answer = slow.response().await;
    assert_eq!(answer.status(), 408);
    assert_eq!(answer.error()["error"], "request_timeout");
    assert!(slow.is_ended().await);
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_response_is_let_go() {
    let upstream = Upstream::answering(|_| ok(&"x".repeat(64 << 20))).await;
    let gateway = Config::to(&upstream).top("limits: {send_timeout: 300ms}").start().await;
    let mut idle = gateway.connect().await;
    idle.send(get("/large", &[])).await;
    let line = gateway.access_of("/large").await;
    assert!(line["error.message"].as_str().is_some_and(|it| it.contains("client")), "{line}");
}

/// The head of a connection's first request has a bound of its own; `slow_clients` has it.
#[tokio::test]
async fn a_later_head_may_not_dribble_in_for_ever_either() {
    let upstream = Upstream::saying("hello").await;
    let limits = "limits: {idle_timeout: 1s, header_timeout: 100ms}";
    let gateway = Config::to(&upstream).top(limits).start().await;
    let mut wire = gateway.connect().await;
    wire.send(get("/", &[])).await;
    assert_eq!(wire.response().await.status(), 200);
    wire.send("GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").await;
    let mut dribble = tokio::time::interval(Duration::from_millis(100));
    until("the connection ends", async || {
        dribble.tick().await;
        wire.try_send("x").await.is_err()
    })
    .await;
    assert_eq!(gateway.get("/", &[]).await.status(), 200);
}

#[tokio::test]
async fn out_of_files_it_degrades_and_recovers() {
    let upstream = Upstream::scripted(|mut wire, recorder| async move {
        while let Some(head) = wire.try_head().await {
            recorder.record(&head);
            if head.target() == "/hangs" {
                std::future::pending::<()>().await;
            }
            wire.send(ok("hello")).await;
        }
    })
    .await;
    // 8 connections are the fewest, however few files there are: with one more file for each
    // stream of HTTP/2, they run out.
    let config = Config::to(&upstream).listening("protocols: [h1, h2c]");
    let gateway = Gateway::with_files(60, &config).await;
    let socket = tokio::net::TcpStream::connect(gateway.address()).await.expect("a connection");
    let (mut send, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
    let driving = tokio::spawn(connection);
    let mut waiting = Vec::new();
    for _ in 0..80 {
        send = send.ready().await.expect("a stream");
        let request = http::Request::get("http://localhost/hangs").body(()).expect("a request");
        waiting.push(send.send_request(request, true).expect("sent").0);
    }
    let mut refused = 0;
    until("some are refused", async || {
        let answer = tokio::select! {
            biased;
            (answer, _, rest) = futures_util::future::select_all(std::mem::take(&mut waiting)) => {
                waiting = rest;
                answer.expect("an answer").status()
            }
        };
        assert_eq!(answer, 503);
        refused += 1;
        refused == 8
    })
    .await;
    drop((waiting, send));
    driving.abort();
    until("it has recovered", async || {
        let Ok(socket) = tokio::net::TcpStream::connect(gateway.address()).await else {
            return false;
        };
        let mut wire = Wire::new(socket);
        wire.try_send(get("/", &[])).await.is_ok()
            && wire.try_head().await.is_some_and(|head| head.status() == Some(200))
    })
    .await;
    let lines = gateway.log_lines();
    let told = lines.iter().filter(|line| line.contains("Accept() failed")).count();
    assert!(told <= 1, "{lines:#?}");
}
