//! Everything that clients can grow has a limit, and a response that names it.

use bytes::Bytes;
use http::Request;
use std::net::SocketAddr;
use std::time::Duration;
use tempfile::TempDir;
use tidegate_testing::{
    Authority, Config, Gateway, Handshake, Head, Upstream, Wire, free_port, get, ok, until, within,
};
use tokio::net::TcpSocket;

/// A connection from another address of this machine.
pub(crate) async fn connect_from(source: &str, gateway: &Gateway) -> Wire {
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
    let named = "tidegate; error=http_request_denied; details=\"too_many_connections\"";
    assert_eq!(refused.head.only("proxy-status"), Some(named));
    assert_eq!(refused.head.only("retry-after"), Some("1"));
    assert_eq!(refused.head.only("connection"), Some("close"));
    held.pop();
    until("there is a place again", async || gateway.get("/", &[]).await.status() == 200).await;
    gateway.says(0, "limits.connections").await;
    let told = gateway.log_lines();
    let told: Vec<_> = told.iter().filter(|line| line.contains("limits.connections")).collect();
    assert_eq!(told.len(), 1, "it is told once: {told:?}");
}

#[tokio::test]
async fn connections_of_one_client_are_limited() {
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
    let named = "tidegate; error=http_request_denied; details=\"too_many_connections\"";
    assert_eq!(refused.head.only("proxy-status"), Some(named));
    let mut other = connect_from("127.0.0.2", &gateway).await;
    other.send(get("/", &[])).await;
    assert_eq!(other.response().await.status(), 200, "another client");
    held.pop();
    until("there is a place again", async || gateway.get("/", &[]).await.status() == 200).await;
}

#[tokio::test]
async fn trusted_proxy_is_exempt_from_the_per_client_limit() {
    let upstream = Upstream::saying("hello").await;
    let gateway = Config::to(&upstream)
        .top("limits: {connections_per_client: 1}")
        .top("trusted_proxies: [127.0.0.0/8]")
        .start()
        .await;
    silent(5, &gateway).await;
}

#[tokio::test]
async fn proxy_protocol_connections_count_by_client() {
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
async fn listener_limit_is_answered_503() {
    let upstream = Upstream::saying("hello").await;
    let other = free_port();
    // The kit's listener is the last in the file.
    let config = |most: usize| {
        Config::to(&upstream).listening(&format!(
            "connections: {most}\n  - address: 127.0.0.1:{other}\n    connections: 100"
        ))
    };
    let gateway = config(2).start().await;
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
    assert_eq!(refused.status(), 503);
    assert!(refused.text().contains("too_many_connections"), "{}", refused.text());
    assert_eq!(refused.head.only("retry-after"), Some("1"));
    let mut beside = Wire::connect(([127, 0, 0, 1], other).into()).await;
    beside.send(get("/", &[])).await;
    assert_eq!(beside.response().await.status(), 200, "at the other listener");
    gateway.says(0, "listeners[].conn").await;
    let told = gateway.log_lines();
    let told: Vec<_> = told.iter().filter(|line| line.contains("listeners[].conn")).collect();
    assert_eq!(told.len(), 1, "it is told once: {told:?}");
    // A reload raises it while they are held.
    gateway.rewrite(&config(3));
    let mut third = None;
    until("a third is served", async || {
        let mut wire = gateway.connect().await;
        wire.send(get("/", &[])).await;
        let is_served = wire.response().await.status() == 200;
        third = Some(wire);
        is_served
    })
    .await;
    assert_eq!(gateway.get("/", &[]).await.status(), 503);
    held.pop();
    until("there is a place again", async || gateway.get("/", &[]).await.status() == 200).await;
}

#[tokio::test]
async fn tls_connection_over_the_limit_is_closed_before_the_handshake() {
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
async fn connection_closes_after_requests_per_connection() {
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
async fn requests_over_the_concurrency_limit_are_answered_503() {
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
    hanging.reset();
    until("it is served again", async || gateway.get("/", &[]).await.status() == 200).await;
}

#[tokio::test]
async fn sessions_do_not_count_as_requests() {
    let upstream = Upstream::echo().await;
    let gateway = Config::to(&upstream).top("limits: {requests: 1}").start().await;
    let _sockets = [gateway.websocket("/").await, gateway.websocket("/").await];
    assert_eq!(gateway.get("/", &[]).await.status(), 200);
}

#[tokio::test]
async fn stalled_body_is_answered_408() {
    let upstream = Upstream::saying("hello").await;
    let gateway = Config::to(&upstream).top("limits: {body_timeout: 300ms}").start().await;
    let mut slow = gateway.connect().await;
    slow.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345").await;
    let answer = slow.response().await;
    assert_eq!(answer.status(), 408);
    assert_eq!(answer.error()["error"], "request_timeout");
    assert!(slow.is_ended().await);
}

/// A body in pieces, one at each tick; the answer's head.
async fn dribbled(gateway: &Gateway, target: &str, pieces: usize, piece: &str) -> Head {
    let mut wire = gateway.connect().await;
    let length = pieces * piece.len();
    wire.send(format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"))
        .await;
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..pieces {
        tokio::select! {
            answer = wire.head() => return answer,
            _ = pace.tick() => {}
        }
        let _ = wire.try_send(piece).await;
    }
    wire.head().await
}

#[tokio::test]
async fn slow_body_is_answered_408() {
    let upstream = Upstream::saying("hello").await;
    let limits = "limits: {body_timeout: 500ms, body_rate: 1000}";
    let gateway = Config::to(&upstream).top(limits).start().await;
    // 40 bytes a second, each long within body_timeout.
    let slow = dribbled(&gateway, "/slow", 200, "xx").await;
    assert_eq!(slow.status(), Some(408));
    assert_eq!(slow.only("connection"), Some("close"));
    let line = gateway.access_of("/slow").await;
    assert!(line["error.message"].as_str().is_some_and(|it| it.contains("limits.body_rate")));
    // 4,000 of them, for twice as long as body_timeout.
    let honest = dribbled(&gateway, "/honest", 20, &"x".repeat(200)).await;
    assert_eq!(honest.status(), Some(200));
    let gateway =
        Config::to(&upstream).top("limits: {body_timeout: 500ms, body_rate: 0}").start().await;
    assert_eq!(dribbled(&gateway, "/free", 20, "x").await.status(), Some(200), "none is set");
}

#[tokio::test]
async fn slow_body_over_tls_and_http2_is_answered_408() {
    let authority = Authority::new();
    let folder = TempDir::new().expect("a folder");
    authority.issue(folder.path(), "site", &["site.test"], 2090);
    let upstream = Upstream::saying("hello").await;
    let config = Config::to(&upstream)
        .listening("tls: {certificates: [{cert: site.pem, key: site.key}]}")
        .top("limits: {body_timeout: 500ms, body_rate: 1000}");
    let port = free_port();
    let file = folder.path().join("tidegate.yaml");
    std::fs::write(&file, config.yaml(port)).expect("a file");
    let gateway = Gateway::run(folder, file, port).await;
    let mut wire = Wire::over(authority.client().connect(&gateway, "site.test").await);
    wire.send("POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 1000\r\n\r\n").await;
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    let answer = within("an answer", async {
        loop {
            tokio::select! {
                answer = wire.head() => break answer,
                _ = pace.tick() => {}
            }
            let _ = wire.try_send("x").await;
        }
    })
    .await;
    assert_eq!(answer.status(), Some(408));

    let gateway = Config::to(&upstream)
        .listening("protocols: [h1, h2c]")
        .top("limits: {body_timeout: 500ms, body_rate: 1000}")
        .start()
        .await;
    let socket = tokio::net::TcpStream::connect(gateway.address()).await.expect("a connection");
    let (send, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
    let driving = tokio::spawn(connection);
    let mut send = send.ready().await.expect("a stream");
    let request = http::Request::post("http://localhost/").body(()).expect("a request");
    let (mut answer, mut body) = send.send_request(request, false).expect("sent");
    let answer = within("an answer", async {
        loop {
            tokio::select! {
                answer = &mut answer => break answer.expect("an answer"),
                _ = pace.tick() => {}
            }
            let _ = body.send_data(bytes::Bytes::from_static(b"x"), false);
        }
    })
    .await;
    assert_eq!(answer.status(), 408);
    driving.abort();
}

#[tokio::test]
async fn client_that_reads_nothing_is_disconnected() {
    let upstream = Upstream::answering(|_| ok(&"x".repeat(64 << 20))).await;
    let gateway = Config::to(&upstream).top("limits: {send_timeout: 300ms}").start().await;
    let mut idle = gateway.connect().await;
    idle.send(get("/large", &[])).await;
    let line = gateway.access_of("/large").await;
    assert!(line["error.message"].as_str().is_some_and(|it| it.contains("client")), "{line}");
}

/// The head of a connection's first request has a bound of its own; `slow_clients` has it.
#[tokio::test]
async fn slow_later_head_ends_the_connection() {
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

/// A connection of HTTP/2 from another address of this machine.
async fn http2_from(source: &str, gateway: &Gateway) -> h2::client::SendRequest<Bytes> {
    let socket = connect_from(source, gateway).await.into_stream();
    let (send, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
    tokio::spawn(connection);
    send
}

/// An upstream that answers all but `/hangs`.
async fn hanging() -> Upstream {
    Upstream::scripted(|mut wire, recorder| async move {
        while let Some(head) = wire.try_head().await {
            recorder.record(&head);
            if head.target() == "/hangs" {
                std::future::pending::<()>().await;
            }
            wire.send(ok("hello")).await;
        }
    })
    .await
}

#[tokio::test]
async fn requests_of_one_client_over_its_share_are_answered_429() {
    let upstream = hanging().await;
    let config = Config::to(&upstream).listening("protocols: [h1, h2c]");
    let gateway = config.top("limits: {requests: 20}").start().await;
    let mut waiting = Vec::new();
    let mut clients = Vec::new();
    // However many connections they come by.
    for _ in 0..2 {
        let mut client = http2_from("127.0.0.2", &gateway).await;
        for _ in 0..5 {
            client = client.ready().await.expect("a stream");
            let request = Request::get("http://localhost/hangs").body(()).expect("a request");
            waiting.push(client.send_request(request, true).expect("sent").0);
        }
        clients.push(client);
    }
    until("ten are in flight", async || upstream.requests().len() == 10).await;
    let mut another = connect_from("127.0.0.2", &gateway).await;
    another.send(get("/one-more", &[])).await;
    let refused = another.response().await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.error()["error"], "too_many_requests");
    assert_eq!(refused.head.only("retry-after"), Some("1"));
    gateway.says(0, "limits.requests_per_client").await;
    assert_eq!(gateway.access_of("/one-more").await["http.response.status_code"], 429);
    let mut other = connect_from("127.0.0.3", &gateway).await;
    other.send(get("/", &[])).await;
    assert_eq!(other.response().await.status(), 200);
    drop((waiting, clients));
    until("it may ask again", async || {
        let mut again = connect_from("127.0.0.2", &gateway).await;
        again.send(get("/", &[])).await;
        again.response().await.status() == 200
    })
    .await;
}

#[tokio::test]
async fn clients_behind_a_trusted_proxy_count_by_forwarded_address() {
    let upstream = hanging().await;
    let limits = "limits: {requests_per_client: 2}";
    let config = Config::to(&upstream).top("trusted_proxies: [127.0.0.1]").top(limits);
    let gateway = config.start().await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut wire = gateway.connect().await;
        wire.send(get("/hangs", &["X-Forwarded-For: 192.0.2.1"])).await;
        held.push(wire);
    }
    until("two are in flight", async || upstream.requests().len() == 2).await;
    let of = async |client: &str| gateway.get("/", &[&format!("X-Forwarded-For: {client}")]).await;
    assert_eq!(of("192.0.2.1").await.status(), 429);
    assert_eq!(of("192.0.2.2").await.status(), 200);
    assert_eq!(gateway.get("/", &[]).await.status(), 200, "the proxy itself");
}

#[tokio::test]
async fn requests_from_one_ipv6_network_count_together() {
    let upstream = hanging().await;
    let limits = "limits: {requests_per_client: 2}";
    let config = Config::to(&upstream).top("trusted_proxies: [127.0.0.1]").top(limits);
    let gateway = config.start().await;
    let reported = |client: &str| format!("X-Forwarded-For: {client}");
    let mut held = Vec::new();
    for client in ["2001:db8::1", "2001:db8::2", "::ffff:192.0.2.1", "192.0.2.1"] {
        let mut wire = gateway.connect().await;
        wire.send(get("/hangs", &[&reported(client)])).await;
        held.push(wire);
    }
    until("four are in flight", async || upstream.requests().len() == 4).await;
    for (client, status) in [
        ("2001:db8::ffff:3", 429),
        ("2001:db8:0:1::1", 200),
        ("192.0.2.1", 429),
        ("::ffff:192.0.2.1", 429),
        ("192.0.2.2", 200),
    ] {
        let response = gateway.get("/", &[&reported(client)]).await;
        assert_eq!(response.status(), status, "{client}");
    }
}

#[tokio::test]
async fn proxy_protocol_requests_count_by_client() {
    let upstream = hanging().await;
    let gateway = Config::to(&upstream)
        .listening("proxy_protocol: {from: [127.0.0.0/8]}")
        .top("limits: {requests_per_client: 1}")
        .start()
        .await;
    let ask = async |client: &str, target: &str| {
        let mut wire = gateway.connect().await;
        wire.send(format!("PROXY TCP6 {client} 2001:db8:ffff::1 4000 80\r\n")).await;
        wire.send(get(target, &[])).await;
        wire
    };
    let _held = ask("2001:db8::1", "/hangs").await;
    until("one is in flight", async || upstream.requests().len() == 1).await;
    assert_eq!(ask("2001:db8::2", "/").await.response().await.status(), 429);
    assert_eq!(ask("2001:db8:0:1::1", "/").await.response().await.status(), 200);
}

#[tokio::test]
async fn sessions_from_one_ipv6_network_count_together() {
    let upstream = Upstream::echo().await;
    let config = Config::to(&upstream).with("websocket: {max_sessions_per_address: 1}");
    let gateway = config.top("trusted_proxies: [127.0.0.1]").start().await;
    let from = |client: &str| Handshake::to("/ws").set("X-Forwarded-For", client);
    let _first = from("2001:db8::1").open(&gateway).await;
    assert_eq!(gateway.refused(&from("2001:db8::2")).await.status(), 429);
    let _other = from("2001:db8:0:1::1").open(&gateway).await;
    let _mapped = from("::ffff:192.0.2.1").open(&gateway).await;
    assert_eq!(gateway.refused(&from("192.0.2.1")).await.status(), 429);
}

#[tokio::test]
async fn websocket_over_http2_counts_as_a_connection() {
    let upstream = Upstream::echo().await;
    let limits = "limits: {connections: 20, connections_per_client: 3}";
    let config = Config::to(&upstream).listening("protocols: [h1, h2c]").top(limits);
    let gateway = config.start().await;
    let mut client = http2_from("127.0.0.2", &gateway).await;
    // The server's settings have come when a first request is answered.
    let first = Request::get("http://localhost/").body(()).expect("a request");
    let _ = within("an answer", client.send_request(first, true).expect("sent").0).await;
    let mut sessions = Vec::new();
    let mut open = async || {
        let request = Request::builder()
            .method("CONNECT")
            .uri("http://localhost/ws")
            .header("sec-websocket-version", "13")
            .extension(h2::ext::Protocol::from_static("websocket"))
            .body(())
            .expect("a request");
        client = client.clone().ready().await.expect("a stream");
        let (response, send) = client.send_request(request, false).expect("sent");
        let response = within("an answer", response).await.expect("an answer");
        (response, send)
    };
    for _ in 0..2 {
        let (response, send) = open().await;
        assert_eq!(response.status(), 200);
        sessions.push((response, send));
    }
    let (response, _) = open().await;
    assert_eq!(response.status(), 429);
    let mut other = connect_from("127.0.0.3", &gateway).await;
    other.send(get("/", &[])).await;
    assert!(other.try_head().await.is_some(), "another client is served");
    sessions.clear();
    until("there is room again", async || open().await.0.status() == 200).await;
}
