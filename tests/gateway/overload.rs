//! An overloaded gateway refuses excess requests, logs it once, and recovers.

use crate::limits::connect_from;
use bytes::Bytes;
use futures_util::SinkExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tidegate_testing::{
    Admin, Config, Gateway, Handshake, Head, Recorder, Upstream, Wire, get, http2, next, ok, until,
    within,
};
use tokio::sync::Barrier;

#[tokio::test]
async fn short_of_memory_requests_are_503_until_it_recovers() {
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
    gateway.says(0, "the gateway serves requests again").await;
    let lines = gateway.log_lines();
    let told = lines.iter().filter(|line| line.contains("limits.memory")).count();
    assert_eq!(told, 1, "{lines:#?}");
}

#[tokio::test]
async fn out_of_file_descriptors_requests_are_503_until_it_recovers() {
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
    // stream of HTTP/2, and more of those than connections, they run out.
    let admin = Admin::new();
    let config = Config::to(&upstream)
        .listening("protocols: [h1, h2c]")
        .top("limits: {requests: 1000}")
        .top(&admin.section());
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
    let told = lines.iter().filter(|line| line.contains("has no file descriptors left")).count();
    assert_eq!(told, 1, "{lines:#?}");
    let told = lines.iter().filter(|line| line.contains("Accept() failed")).count();
    assert!(told <= 1, "{lines:#?}");
    let metrics = admin.metrics().await;
    assert!(metrics.value("tidegate_requests_shed_total", &[("limit", "files")]) >= 8.0);
}

#[tokio::test]
async fn connection_storm_is_refused_and_counted() {
    const MAX_CONNECTIONS: usize = 100;
    const STORM: usize = 2_000;
    const AT_ONCE: usize = 200;
    let upstream = Upstream::saying("hello").await;
    let admin = Admin::new();
    let gateway = Config::to(&upstream)
        .top(&format!(
            "limits: {{connections: {MAX_CONNECTIONS}, connections_per_client: {MAX_CONNECTIONS}}}"
        ))
        .top(&admin.section())
        .start()
        .await;
    let refused = async || {
        let limit = [("limit", "connections")];
        admin.metrics().await.value("tidegate_connections_refused_total", &limit)
    };
    let mut held = Vec::new();
    until("all places are taken", async || {
        let mut wire = gateway.connect().await;
        if wire.try_send(get("/", &[])).await.is_ok()
            && wire.try_head().await.is_some_and(|head| head.status() == Some(200))
        {
            held.push(wire);
        }
        held.len() == MAX_CONNECTIONS
    })
    .await;
    let before = refused().await;
    for _ in 0..STORM / AT_ONCE {
        let storming: Vec<_> = (0..AT_ONCE).map(|_| gateway.connect()).collect();
        for mut wire in futures_util::future::join_all(storming).await {
            // Answered 503, or cut off where too many wait for their answer.
            let end = wire.read_to_end().await;
            assert!(end.is_empty() || end.starts_with(b"HTTP/1.1 503 "), "{end:?}");
        }
    }
    assert_eq!(refused().await - before, STORM as f64);
    let lines = gateway.log_lines();
    let told = lines.iter().filter(|line| line.contains("limits.connections")).count();
    assert_eq!(told, 1, "{lines:#?}");
    held[0].send(get("/", &[])).await;
    held[0].body(&Head::parse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")).await;
    assert_eq!(held[0].response().await.status(), 200, "who was in is served");
    held.clear();
    until("others are served again", async || {
        let mut wire = gateway.connect().await;
        wire.try_send(get("/", &[])).await.is_ok()
            && wire.try_head().await.is_some_and(|head| head.status() == Some(200))
    })
    .await;
    until("their places are free", async || {
        admin.metrics().await.value("tidegate_connections", &[]) < 5.0
    })
    .await;
}

#[tokio::test]
async fn idle_upstream_connections_are_closed_for_new_ones() {
    let held = Arc::new(Barrier::new(60));
    let script = {
        let held = Arc::clone(&held);
        move |mut wire: Wire, recorder: Recorder| {
            let held = Arc::clone(&held);
            async move {
                while let Some(head) = wire.try_head().await {
                    recorder.record(&head);
                    // All at once, so that each needs a connection of its own.
                    held.wait().await;
                    wire.send(ok("hello")).await;
                }
            }
        }
    };
    let (one, other) = (Upstream::scripted(script.clone()).await, Upstream::scripted(script).await);
    let config = Config::new()
        .upstream("one", &[one.address()])
        .upstream("other", &[other.address()])
        .route("one", "path: /one", "one")
        .route("other", "path: /other", "other")
        .answer("own", "path: /own", "respond: {body: hi}")
        .listening("protocols: [h1, h2c]")
        .top("limits: {requests: 1000}");
    let gateway = Gateway::with_files(120, &config).await;
    for target in ["/one", "/other", "/one"] {
        let mut send = http2::client(gateway.address()).await;
        let mut answers = Vec::new();
        for _ in 0..60 {
            send = send.ready().await.expect("a stream");
            let request = http::Request::get(format!("http://localhost{target}"));
            let request = request.body(()).expect("a request");
            answers.push(send.send_request(request, true).expect("sent").0);
        }
        for answer in answers {
            assert_eq!(within("an answer", answer).await.expect("an answer").status(), 200);
        }
        assert_eq!(gateway.get("/own", &[]).await.status(), 200);
    }
    let lines = gateway.log_lines();
    assert!(!lines.iter().any(|line| line.contains("file descriptors")), "{lines:#?}");
}

/// Begins so many requests over one connection of HTTP/2, and reads none of their bodies.
async fn begin_many(
    gateway: &Gateway,
    target: &str,
    count: usize,
) -> (Vec<http::Response<h2::RecvStream>>, h2::client::SendRequest<Bytes>) {
    let mut send = http2::client(gateway.address()).await;
    let (mut asked, mut answers) = (Vec::new(), Vec::new());
    for _ in 0..count {
        send = send.ready().await.expect("a stream");
        let request = http::Request::get(format!("http://localhost{target}"));
        let request = request.body(()).expect("a request");
        asked.push(send.send_request(request, true).expect("sent").0);
    }
    for answer in asked {
        answers.push(within("an answer", answer).await.expect("an answer"));
    }
    (answers, send)
}

#[tokio::test]
async fn unread_files_leave_descriptors_for_connections() {
    let folder = tempfile::TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("large"), vec![b'x'; 8 << 20]).expect("a file");
    let admin = Admin::new();
    let config = Config::new()
        .answer("files", "path_prefix: /", &format!("files: {{root: {:?}}}", folder.path()))
        .answer("own", "path: /own", "respond: {body: hi}")
        .listening("protocols: [h1, h2c]")
        .top("limits: {requests: 1000, requests_per_client: 1000}")
        .top(&admin.section());
    let gateway = Gateway::with_files(120, &config).await;
    let (answers, _connection) = begin_many(&gateway, "/large", 95).await;
    let count = |status: u16| answers.iter().filter(|it| it.status() == status).count();
    assert!(count(200) > 40 && count(503) > 0, "{} and {}", count(200), count(503));
    assert_eq!(count(200) + count(503), 95);
    let mut wires = Vec::new();
    for _ in 0..5 {
        let mut wire = gateway.connect().await;
        wire.send(get("/own", &[])).await;
        assert_eq!(wire.response().await.status(), 200);
        wires.push(wire);
    }
    admin.get("/status").await;
    drop(answers);
    until("files are served again", async || gateway.get("/large", &[]).await.status() == 200)
        .await;
}

#[tokio::test]
async fn unanswered_mirror_copies_leave_descriptors_for_connections() {
    let service = Upstream::saying("ok").await;
    let shadow = Upstream::scripted(|mut wire, recorder| async move {
        recorder.record(&wire.head().await);
        std::future::pending::<()>().await;
    })
    .await;
    let config = Config::new()
        .upstream("service", &[service.address()])
        .upstream("shadow", &[shadow.address()])
        .route("all", "path_prefix: /", "service")
        .with("mirror: {upstream: shadow, concurrency: 1000}")
        .listening("protocols: [h1, h2c]")
        .top("limits: {requests: 1000, requests_per_client: 1000}");
    let gateway = Gateway::with_files(120, &config).await;
    for _ in 0..3 {
        let (answers, _connection) = begin_many(&gateway, "/", 30).await;
        assert!(answers.iter().all(|answer| answer.status() == 200));
        assert_eq!(gateway.get("/", &[]).await.text(), "ok");
    }
    assert!(shadow.connections() < 120, "{}", shadow.connections());
}

#[tokio::test]
async fn idle_http2_upstream_connections_are_closed_for_new_ones() {
    const UPSTREAMS: usize = 60;
    let mut config = Config::new();
    for number in 0..UPSTREAMS {
        let name = format!("u{number}");
        config = config.upstream(&name, &[http2_service().await]).speaking("protocols: [h2c]");
        config = config.route(&name, &format!("path: /{number}/"), &name);
    }
    // Each connection is two files.
    let gateway = Gateway::with_files(100, &config).await;
    for round in 0..3 {
        for number in 0..UPSTREAMS {
            let response = gateway.get(&format!("/{number}/"), &[]).await;
            assert_eq!(response.status(), 204, "round {round}, upstream {number}");
        }
    }
    let lines = gateway.log_lines();
    assert!(!lines.iter().any(|line| line.contains("file descriptors")), "{lines:#?}");
}

/// A service over HTTP/2 that answers 204.
async fn http2_service() -> std::net::SocketAddr {
    http2::serve(|_, mut respond| async move {
        let mut response = http::Response::new(());
        *response.status_mut() = http::StatusCode::NO_CONTENT;
        respond.send_response(response, true).expect("sent");
    })
    .await
}

/// An upstream whose response to `/endless` never ends, and how many of those it has begun.
async fn endless() -> (Upstream, Arc<AtomicUsize>) {
    static PIECE: [u8; 64 * 1024] = [b'x'; 64 * 1024];
    let begun = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&begun);
    let upstream = Upstream::scripted(move |mut wire, _| {
        let begun = Arc::clone(&counted);
        async move {
            while let Some(head) = wire.try_head().await {
                if head.target() == "/" {
                    wire.send(ok("hello")).await;
                    continue;
                }
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n").await;
                begun.fetch_add(1, Ordering::Relaxed);
                while wire.try_send(PIECE).await.is_ok() {}
            }
        }
    })
    .await;
    (upstream, begun)
}

/// Lets the process use less than it does. Returns when it has evicted this client.
async fn run_short(gateway: &Gateway, config: &Config, client: &str) {
    let mark = gateway.mark();
    let limit = gateway.peak_memory() / 2;
    gateway.rewrite(&config.clone().top(&format!("limits: {{memory: {limit}}}")));
    let line = gateway.says(mark, "limits.memory").await;
    assert!(line.contains(&format!("evicts the client {client}")), "{line}");
}

#[tokio::test]
async fn short_of_memory_the_largest_client_loses_its_requests() {
    let (upstream, begun) = endless().await;
    let admin = Admin::new();
    let config = Config::to(&upstream).top(&admin.section());
    let gateway = config.clone().start().await;
    let mut modest = gateway.connect().await;
    modest.send(get("/", &[])).await;
    assert_eq!(modest.response().await.status(), 200);
    let mut download = gateway.connect().await;
    download.send(get("/modest", &[])).await;
    assert_eq!(download.head().await.status(), Some(200));
    let mut greedy = Vec::new();
    for _ in 0..30 {
        let mut wire = connect_from("127.0.0.2", &gateway).await;
        wire.send(get("/endless", &[])).await;
        greedy.push(wire);
    }
    until("all responses have begun", async || begun.load(Ordering::Relaxed) == 31).await;
    run_short(&gateway, &config, "127.0.0.2").await;
    for wire in &mut greedy {
        within("the end", wire.read_to_end()).await;
    }
    for _ in 0..10 {
        modest.send(get("/", &[])).await;
        assert_eq!(modest.response().await.status(), 200, "its connection is kept");
        assert_eq!(gateway.get("/", &[]).await.status(), 200, "and a new one is accepted");
    }
    download.exactly(32 << 20).await;
    let line = gateway.access_of("/endless").await;
    assert_eq!(line["http.response.status_code"], 200, "the client has got it: {line}");
    assert!(
        line["error.message"].as_str().is_some_and(|it| it.contains("limits.memory")),
        "{line}"
    );
    let mut again = connect_from("127.0.0.2", &gateway).await;
    again.send(get("/", &[])).await;
    assert_eq!(again.response().await.status(), 503, "not before there is memory");
    let metrics = admin.metrics().await;
    let limit = [("limit", "memory")];
    assert_eq!(metrics.value("tidegate_clients_evicted_total", &limit), 1.0);
    let mark = gateway.mark();
    gateway.rewrite(&config);
    gateway.says(mark, "the gateway serves requests again").await;
    let mut again = connect_from("127.0.0.2", &gateway).await;
    again.send(get("/", &[])).await;
    assert_eq!(again.response().await.status(), 200, "there is memory again");
}

#[tokio::test]
async fn short_of_memory_the_largest_client_loses_its_http2_streams() {
    let (upstream, begun) = endless().await;
    let config = Config::to(&upstream).listening("protocols: [h1, h2c]");
    let gateway = config.clone().start().await;
    let socket = connect_from("127.0.0.2", &gateway).await.into_stream();
    let (mut send, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
    tokio::spawn(connection);
    let mut bodies = Vec::new();
    for _ in 0..30 {
        send = send.ready().await.expect("a stream");
        let request = http::Request::get("http://localhost/endless").body(()).expect("a request");
        let answer = send.send_request(request, true).expect("sent").0;
        bodies.push(answer.await.expect("an answer").into_body());
    }
    assert_eq!(begun.load(Ordering::Relaxed), 30);
    run_short(&gateway, &config, "127.0.0.2").await;
    for mut body in bodies {
        let end = async { while let Some(Ok(Bytes { .. })) = body.data().await {} };
        within("the end of a stream", end).await;
    }
    assert_eq!(gateway.get("/", &[]).await.status(), 200, "others are served");
    let line = gateway.access_of("/endless").await;
    assert!(
        line["error.message"].as_str().is_some_and(|it| it.contains("limits.memory")),
        "{line}"
    );
}

/// Begins a request of this client on a trusted proxy's connection over HTTP/2.
async fn begin_for(
    send: &mut h2::client::SendRequest<Bytes>,
    client: &str,
    target: &str,
) -> http::Response<h2::RecvStream> {
    *send = send.clone().ready().await.expect("a stream");
    let request = http::Request::get(format!("http://localhost{target}"));
    let request = request.header("x-forwarded-for", client).body(()).expect("a request");
    let answer = send.send_request(request, true).expect("sent").0;
    within("an answer", answer).await.expect("an answer")
}

#[tokio::test]
async fn short_of_memory_the_largest_client_behind_a_proxy_loses_its_streams() {
    let (upstream, _) = endless().await;
    let stuck = Upstream::scripted(|mut wire, _| async move {
        wire.head().await;
        std::future::pending::<()>().await;
    })
    .await;
    let config = Config::new()
        .upstream("endless", &[upstream.address()])
        .upstream("stuck", &[stuck.address()])
        .route("uploads", "path: /upload", "stuck")
        .route("all", "path_prefix: /", "endless")
        .listening("protocols: [h1, h2c]")
        .top("trusted_proxies: [127.0.0.1]");
    let gateway = config.clone().start().await;
    let (greedy, modest) = ("192.0.2.7", "192.0.2.8");
    let mut bodies = Vec::new();
    let mut proxies = Vec::new();
    for _ in 0..2 {
        let socket = gateway.connect().await.into_stream();
        let (mut send, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
        tokio::spawn(connection);
        for _ in 0..10 {
            bodies.push(begin_for(&mut send, greedy, "/endless").await.into_body());
        }
        proxies.push(send);
    }
    let mut download = begin_for(&mut proxies[0], modest, "/modest").await.into_body();
    // An upload that its upstream does not take: the gateway waits for that side alone.
    let upload = http::Request::post("http://localhost/upload").header("x-forwarded-for", greedy);
    let upload = upload.body(()).expect("a request");
    let (uploaded, mut body) = proxies[1].send_request(upload, false).expect("sent");
    body.reserve_capacity(1 << 20);
    let feeding = tokio::spawn(async move {
        while let Some(Ok(room)) = futures_util::future::poll_fn(|cx| body.poll_capacity(cx)).await
        {
            if body.send_data(vec![b'x'; room].into(), false).is_err() {
                return;
            }
            body.reserve_capacity(1 << 20);
        }
    });
    // The same client over HTTP/1.1.
    let mut wire = gateway.connect().await;
    let forwarded = |client: &str| format!("X-Forwarded-For: {client}");
    wire.send(get("/endless", &[&forwarded(greedy)])).await;
    assert_eq!(wire.head().await.status(), Some(200));
    let mut kept = gateway.connect().await;
    for client in [greedy, modest] {
        kept.send(get("/", &[&forwarded(client)])).await;
        assert_eq!(kept.response().await.status(), 200);
    }
    run_short(&gateway, &config, greedy).await;
    for mut body in bodies {
        let error = within("a reset", async {
            loop {
                match body.data().await.expect("no end without a reset") {
                    Ok(piece) => drop(body.flow_control().release_capacity(piece.len())),
                    Err(error) => return error,
                }
            }
        });
        assert_eq!(error.await.reason(), Some(h2::Reason::INTERNAL_ERROR));
    }
    let error = within("the upload's end", uploaded).await.expect_err("a reset");
    assert!(error.is_reset(), "{error:?}");
    within("its end", feeding).await.expect("no panic");
    within("the end of the connection", wire.read_to_end()).await;
    let mut got = 0;
    while got < 4 << 20 {
        let piece = within("more", download.data()).await.expect("a body").expect("a piece");
        download.flow_control().release_capacity(piece.len()).expect("its room");
        got += piece.len();
    }
    for send in &mut proxies {
        assert_eq!(begin_for(send, modest, "/").await.status(), 200);
        assert_eq!(begin_for(send, greedy, "/").await.status(), 503);
    }
    for (client, status) in [(modest, 200), (greedy, 503), (modest, 200)] {
        kept.send(get("/", &[&forwarded(client)])).await;
        assert_eq!(kept.response().await.status(), status, "{client}");
    }
    for path in ["/endless", "/upload"] {
        let line = gateway.access_of(path).await;
        let error = line["error.message"].as_str();
        assert!(error.is_some_and(|it| it.contains("limits.memory")), "{line}");
    }
    until("a line for each", async || {
        let lines = gateway.access_lines();
        lines.iter().filter(|line| line.contains("limits.memory")).count() == 22
    })
    .await;
}

#[tokio::test]
async fn short_of_memory_the_largest_client_loses_its_sessions() {
    let upstream = Upstream::echo().await;
    let config = Config::to(&upstream);
    let gateway = config.clone().start().await;
    let mut modest = gateway.websocket("/ws").await;
    let mut greedy = Vec::new();
    for _ in 0..20 {
        let wire = connect_from("127.0.0.2", &gateway).await;
        greedy.push(Handshake::to("/ws").open_over(wire).await.1);
    }
    run_short(&gateway, &config, "127.0.0.2").await;
    for session in &mut greedy {
        let closed = within("a close frame", next(session)).await;
        assert!(format!("{closed:?}").contains("Again"), "{closed:?}");
    }
    modest.send("still here".into()).await.expect("sent");
    assert_eq!(next(&mut modest).await, Some("still here".into()));
    let line = gateway.access("the end of a session", |line| line["websocket.close.code"] == 1013);
    let line = line.await;
    assert_eq!(line["websocket.close.initiator"], "limit", "{line}");
}
