//! Each wait for an upstream has a timeout, and the log names the one that ended it.

use std::time::Duration;
use tempfile::TempDir;
use tidegate_testing::{
    Authority, Config, Gateway, Upstream, Wire, free_port, get, ok, switch, until, within,
};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;

/// Reads each request's head and body, and says nothing at the target `/silent`.
async fn reticent() -> Upstream {
    Upstream::scripted(|mut wire, recorder| async move {
        while let Some(head) = wire.try_head().await {
            wire.body(&head).await;
            recorder.record(&head);
            match head.target() {
                "/silent" => std::future::pending().await,
                "/slow" => {
                    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n").await;
                    for letter in ["s", "l", "o", "w"] {
                        tokio::time::sleep(Duration::from_millis(300)).await;
                        wire.send(letter).await;
                    }
                }
                _ => wire.send(ok("hello")).await,
            }
        }
    })
    .await
}

/// Drips something of a response without end: interim responses, lines of a head, a body; or nothing behind the head.
async fn dripping() -> Upstream {
    Upstream::scripted(|mut wire, _| async move {
        let Some(head) = wire.try_head().await else { return };
        wire.body(&head).await;
        let (first, each) = match head.target() {
            "/interim" => ("", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
            "/head" => ("HTTP/1.1 200 OK\r\n", "X-A: b\r\n"),
            "/length" => ("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", "x"),
            "/chunks" => ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
            "/endless" => ("HTTP/1.1 200 OK\r\n\r\n", "x"),
            "/stops" => ("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", ""),
            _ => ("HTTP/1.1 200 OK\r\n\r\n", ""),
        };
        wire.send(first).await;
        let mut drip = tokio::time::interval(Duration::from_millis(50));
        loop {
            drip.tick().await;
            if wire.try_send(each).await.is_err() {
                return;
            }
        }
    })
    .await
}

#[tokio::test]
async fn request_timeout_bounds_a_dripping_upstream() {
    let upstream = dripping().await;
    let gateway = Config::to(&upstream).with("timeouts: {request: 500ms}").start().await;
    for target in ["/interim", "/head"] {
        for body in ["", "ab"] {
            let length = format!("Content-Length: {}", body.len());
            let answer = gateway.send(get(target, &[&length]) + body).await;
            assert_eq!(
                (answer.status(), &answer.error()["error"]),
                (504, &"upstream_timeout".into())
            );
        }
        blames(&gateway, target, "timeouts.request").await;
    }
    for target in ["/length", "/chunks", "/endless", "/stops", "/silent-and-endless"] {
        let mut wire = gateway.connect().await;
        wire.send(get(target, &[])).await;
        assert_eq!(wire.head().await.status(), Some(200), "{target}");
        let body = wire.read_to_end().await;
        assert!(!body.ends_with(b"0\r\n\r\n"), "{target} has no end");
        blames(&gateway, target, "timeouts.request").await;
    }
}

#[tokio::test]
async fn log_names_the_timeout_that_ended_a_request() {
    let upstream = reticent().await;
    let gateway = Config::to(&upstream).with("timeouts: {request: 300ms, read: 10s}").start().await;
    assert_eq!(gateway.get("/silent", &[]).await.status(), 504);
    blames(&gateway, "/silent", "timeouts.request").await;
    let gateway = Config::to(&upstream).with("timeouts: {request: 10s, read: 300ms}").start().await;
    assert_eq!(gateway.get("/silent", &[]).await.status(), 504);
    blames(&gateway, "/silent", "timeouts.read").await;
    // In time, the connection is used again and again.
    let gateway = Config::to(&upstream).with("timeouts: {request: 10s}").start().await;
    until("one is used again", async || {
        let connections = upstream.connections();
        assert_eq!(gateway.get("/", &[]).await.text(), "hello");
        upstream.connections() == connections
    })
    .await;
}

/// The access log's line of this path says so.
async fn blames(gateway: &Gateway, path: &str, words: &str) {
    let line = gateway.access_of(path).await;
    let error = line["error.message"].as_str().unwrap_or_default();
    assert!(error.contains(words), "{words} in {line}");
}

#[tokio::test]
async fn first_byte_timeout_bounds_the_wait_for_the_response() {
    let upstream = reticent().await;
    let gateway = Config::to(&upstream).with("timeouts: {first_byte: 200ms}").start().await;
    let late = gateway.get("/silent", &[]).await;
    assert_eq!((late.status(), &late.error()["error"]), (504, &"upstream_timeout".into()));
    blames(&gateway, "/silent", "timeouts.first_byte").await;
    // What comes behind it may take `read` each time, which is longer.
    assert_eq!(gateway.get("/slow", &[]).await.text(), "slow");
    // Connections are used again, with the time begun anew.
    until("one is used again", async || {
        let connections = upstream.connections();
        assert_eq!(gateway.get("/", &[]).await.text(), "hello");
        upstream.connections() == connections
    })
    .await;
    assert_eq!(gateway.get("/silent", &[]).await.status(), 504);
}

#[tokio::test]
async fn first_byte_timeout_starts_after_the_request_body() {
    let upstream = reticent().await;
    let gateway = Config::to(&upstream).with("timeouts: {first_byte: 200ms}").start().await;
    let mut wire = gateway.connect().await;
    wire.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n").await;
    for letter in ["s", "l", "o", "w"] {
        tokio::time::sleep(Duration::from_millis(100)).await;
        wire.send(letter).await;
    }
    assert_eq!(wire.response().await.status(), 200);
    wire.send("POST /silent HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nfast").await;
    assert_eq!(wire.response().await.status(), 504);
}

#[tokio::test]
async fn late_first_byte_is_retried_at_another_endpoint() {
    let (silent, other) = (reticent().await, Upstream::saying("other").await);
    let gateway = Config::new()
        .upstream("service", &[silent.address(), other.address()])
        .route("all", "path_prefix: /", "service")
        .with("timeouts: {first_byte: 200ms}")
        .with("retry: {attempts: 2, on: [timeout]}")
        .start()
        .await;
    until("the silent one was asked", async || {
        assert_eq!(gateway.get("/silent", &[]).await.text(), "other");
        !silent.requests().is_empty()
    })
    .await;
}

#[tokio::test]
async fn first_byte_timeout_applies_to_websocket_handshakes() {
    let upstream = Upstream::scripted(|mut wire, recorder| async move {
        let Some(head) = wire.try_head().await else { return };
        recorder.record(&head);
        if head.target() == "/silent" {
            std::future::pending::<()>().await;
        }
        let _socket = switch(wire, &head, "").await;
        std::future::pending().await
    })
    .await;
    let gateway = Config::to(&upstream).with("timeouts: {first_byte: 200ms}").start().await;
    let handshake = tidegate_testing::Handshake::to("/silent");
    assert_eq!(gateway.refused(&handshake).await.status(), 504);
    let _open = gateway.websocket("/").await;
}

#[tokio::test]
async fn first_byte_timeout_longer_than_read_is_refused() {
    let config = Config::to_address("127.0.0.1:1")
        .speaking("protocols: [h2c]")
        .with("timeouts: {first_byte: 20s, read: 10s}");
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("a.yaml"), config.yaml(1)).expect("a file");
    let run = tidegate_testing::cli(folder.path(), &["check", "--config", "a.yaml"], &[]).await;
    for told in ["must not be longer than `timeouts.read`", "the upstream `service` uses HTTP/2"] {
        assert!(run.stderr.contains(told), "{told} in:\n{}", run.stderr);
    }
}

/// An endpoint that takes connections and never says anything.
async fn mute() -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let task = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            held.push(socket);
        }
    });
    (address, task)
}

#[tokio::test]
async fn tls_timeout_bounds_the_upstream_handshake() {
    let (address, _task) = mute().await;
    let gateway = Config::to_address(address)
        .speaking("tls: {insecure_skip_verify: true}")
        .with("timeouts: {connect: 1h, tls: 200ms}")
        .with("retry: off")
        .start()
        .await;
    let late = gateway.get("/", &[]).await;
    assert_eq!((late.status(), &late.error()["error"]), (504, &"upstream_timeout".into()));
    blames(&gateway, "/", "timeouts.tls").await;
    assert_eq!(gateway.refused(&tidegate_testing::Handshake::to("/ws")).await.status(), 504);
    blames(&gateway, "/ws", "timeouts.tls").await;
}

/// A listener whose queue is full, so that no further connection is established.
async fn full() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
    let listener = socket.listen(1).expect("listening");
    let address = listener.local_addr().expect("its address");
    let mut waiting = Vec::new();
    let patience = Duration::from_millis(500);
    while let Ok(stream) = tokio::time::timeout(patience, TcpStream::connect(address)).await {
        waiting.push(stream.expect("a connection"));
    }
    (listener, waiting)
}

#[tokio::test]
async fn connect_timeout_applies_beside_the_tls_timeout() {
    let (listener, _waiting) = full().await;
    let gateway = Config::to_address(listener.local_addr().expect("its address"))
        .speaking("tls: {insecure_skip_verify: true}")
        .with("timeouts: {connect: 200ms, tls: 1h}")
        .with("retry: off")
        .start()
        .await;
    assert_eq!(gateway.get("/", &[]).await.status(), 504);
    blames(&gateway, "/", "timeouts.connect").await;
}

/// What another gateway with TLS and HTTP/2 makes of an upstream.
async fn by_tls(upstream: &Upstream) -> Gateway {
    let authority = Authority::new();
    let folder = TempDir::new().expect("a folder");
    authority.issue(folder.path(), "site", &["site.test"], 2090);
    let behind =
        Config::to(upstream).listening("tls: {certificates: [{cert: site.pem, key: site.key}]}");
    let port = free_port();
    let file = folder.path().join("tidegate.yaml");
    std::fs::write(&file, behind.yaml(port)).expect("a file");
    Gateway::run(folder, file, port).await
}

#[tokio::test]
async fn tls_request_within_its_timeouts_passes() {
    let upstream = Upstream::saying("hello").await;
    let behind = by_tls(&upstream).await;
    let gateway = Config::to_address(behind.address())
        .speaking("tls: {insecure_skip_verify: true}")
        .with("timeouts: {connect: 10s, tls: 10s, first_byte: 10s, request: 20s}")
        .start()
        .await;
    for _ in 0..3 {
        assert_eq!(gateway.get("/", &[]).await.text(), "hello");
    }
}

#[tokio::test]
async fn timed_out_http2_request_does_not_end_others() {
    let upstream = reticent().await;
    let behind = by_tls(&upstream).await;
    let gateway = Config::to_address(behind.address())
        .speaking("protocols: [h2, h1]")
        .speaking("tls: {insecure_skip_verify: true}")
        .route("late", "path_prefix: /silent", "service")
        .with("timeouts: {request: 300ms}")
        .start()
        .await;
    // It opens the connection that the others share.
    assert_eq!(gateway.get("/silent/first", &[]).await.text(), "hello");
    let (late, other) = tokio::join!(gateway.get("/silent", &[]), gateway.get("/slow", &[]));
    assert_eq!((late.status(), other.text().as_str()), (504, "slow"));
}

#[tokio::test]
async fn request_timeout_bounds_a_slow_request_body() {
    let upstream = reticent().await;
    let gateway = Config::to(&upstream).with("timeouts: {request: 500ms}").start().await;
    let mut wire = gateway.connect().await;
    wire.send("POST /dribble HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n").await;
    let mut dribble = tokio::time::interval(Duration::from_millis(50));
    let answer = within("an answer", async {
        loop {
            tokio::select! {
                answer = wire.head() => break answer,
                _ = dribble.tick() => {}
            }
            let _ = wire.try_send("x").await;
        }
    })
    .await;
    // RFC 9110, section 15.5.9: it is the client that was waited for.
    assert_eq!(answer.status(), Some(408));
    assert_eq!(answer.only("connection"), Some("close"));
    blames(&gateway, "/dribble", "timeouts.request").await;
    let line = gateway.access_of("/dribble").await;
    assert_eq!(line["http.response.status_code"], 408);
    // The client is prompt and the upstream is not.
    let mut wire = gateway.connect().await;
    wire.send("POST /silent HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n1").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    wire.send("2").await;
    assert_eq!(wire.response().await.status(), 504);
    blames(&gateway, "/silent", "timeouts.request").await;
}

#[tokio::test]
async fn write_timeout_bounds_an_upstream_that_reads_nothing() {
    let upstream = Upstream::scripted(|mut wire, recorder| async move {
        if let Some(head) = wire.try_head().await {
            recorder.record(&head);
        }
        std::future::pending().await
    })
    .await;
    let gateway = Config::to(&upstream).with("timeouts: {write: 300ms, read: 300ms}").start().await;
    let mut wire = gateway.connect().await;
    let length = 256 << 20;
    wire.send(format!("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")).await;
    let piece = vec![b'x'; 64 << 10];
    let (mut reading, mut writing) = tokio::io::split(wire.into_parts().0);
    let filling = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        while writing.write_all(&piece).await.is_ok() {}
        writing
    });
    let mut answer = Vec::new();
    let read = tokio::io::AsyncReadExt::read_buf(&mut reading, &mut answer);
    within("an answer", read).await.expect("an answer");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    blames(&gateway, "/up", "timeouts.write").await;
    filling.abort();
}

/// An upstream that tells when one of its connections has ended.
async fn telling() -> (Upstream, mpsc::UnboundedReceiver<()>) {
    let (ended, ends) = mpsc::unbounded_channel();
    let upstream = Upstream::scripted(move |mut wire: Wire, recorder| {
        let ended = ended.clone();
        async move {
            while let Some(head) = wire.try_head().await {
                recorder.record(&head);
                if head.target() == "/waits" {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
                wire.send(ok("hello")).await;
            }
            let _ = ended.send(());
        }
    })
    .await;
    (upstream, ends)
}

#[tokio::test]
async fn idle_pooled_connection_is_closed() {
    let (upstream, mut ends) = telling().await;
    let gateway = Config::to(&upstream).speaking("idle_timeout: 300ms").start().await;
    assert_eq!(gateway.get("/", &[]).await.text(), "hello");
    within("its end", ends.recv()).await;
    assert_eq!(gateway.get("/", &[]).await.text(), "hello");
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn pool_size_bounds_kept_connections() {
    let (upstream, mut ends) = telling().await;
    // For each of two threads.
    let gateway = Config::to(&upstream).top("upstream_pool_size: 1").start().await;
    let ask = async || gateway.get("/waits", &[]).await.status();
    assert_eq!(tokio::join!(ask(), ask(), ask()), (200, 200, 200));
    assert_eq!(upstream.connections(), 3);
    within("the end of one", ends.recv()).await;
    let mark = gateway.mark();
    gateway.rewrite(&Config::to(&upstream).top("upstream_pool_size: 2"));
    gateway.says(mark, "new value of `upstream_pool_size` takes effect only").await;
}
