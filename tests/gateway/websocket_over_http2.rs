//! WebSockets over HTTP/2 (RFC 8441) reach upstreams that speak only HTTP/1.1.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{Request, Response, StatusCode};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tempfile::TempDir;
use tidegate_testing::{
    Admin, Authority, Collector, Config, Gateway, TOKEN, Upstream, free_port, respond, switch,
    within,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

/// A stream of HTTP/2 as a stream of bytes.
struct Tunnel {
    send: SendStream<Bytes>,
    receive: RecvStream,
    held: Bytes,
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.held.is_empty() {
            match ready!(self.receive.poll_data(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(data) => {
                    let data = data.map_err(io::Error::other)?;
                    let _ = self.receive.flow_control().release_capacity(data.len());
                    self.held = data;
                }
            }
        }
        let count = self.held.len().min(buffer.remaining());
        buffer.put_slice(&self.held.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.send.reserve_capacity(bytes.len());
        if self.send.capacity() == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                _ => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let count = self.send.capacity().min(bytes.len());
        let data = Bytes::copy_from_slice(&bytes[..count]);
        self.send.send_data(data, false).map_err(io::Error::other)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = self.send.send_data(Bytes::new(), true);
        Poll::Ready(Ok(()))
    }
}

const TLS: &str = "tls: {certificates: [{cert: site.pem, key: site.key}]}";

/// A client with one connection of HTTP/2 to a gateway.
struct Client {
    gateway: Gateway,
    send: SendRequest<Bytes>,
}

impl Client {
    async fn start(config: Config) -> Self {
        let (authority, folder) = (Authority::new(), TempDir::new().expect("a folder"));
        authority.issue(folder.path(), "site", &["site.test"], 2090);
        let (port, file) = (free_port(), folder.path().join("tidegate.yaml"));
        std::fs::write(&file, config.listening(TLS).yaml(port)).expect("a file");
        let hurry = [("OTEL_BSP_SCHEDULE_DELAY", "50")];
        let gateway = Gateway::run_with(folder, file, port, &hurry).await;
        let stream = authority.client().offering(&["h2"]).connect(&gateway, "site.test").await;
        let (send, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        tokio::spawn(connection);
        let mut client = Self { gateway, send };
        // The server's settings have come when a first request is answered.
        let request = Request::get("https://site.test/first").body(()).expect("a request");
        let (first, _) = client.send.send_request(request, true).expect("sent");
        let _ = within("an answer", first).await;
        assert!(client.send.is_extended_connect_protocol_enabled());
        client
    }

    async fn connect(
        &mut self,
        target: &str,
        protocol: &'static str,
        fields: &[(&str, &str)],
    ) -> (Response<RecvStream>, SendStream<Bytes>) {
        let mut request = Request::builder()
            .method("CONNECT")
            .uri(format!("https://site.test{target}"))
            .extension(h2::ext::Protocol::from_static(protocol));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        let (response, send) = self.send.send_request(request, false).expect("sent");
        (within("an answer", response).await.expect("an answer"), send)
    }

    async fn open(&mut self, target: &str) -> WebSocketStream<Tunnel> {
        let (response, send) =
            self.connect(target, "websocket", &[("sec-websocket-version", "13")]).await;
        assert_eq!(response.status(), StatusCode::OK);
        for gone in ["connection", "upgrade", "sec-websocket-accept", "transfer-encoding"] {
            assert!(!response.headers().contains_key(gone), "{gone}");
        }
        let tunnel = Tunnel { send, receive: response.into_body(), held: Bytes::new() };
        WebSocketStream::from_raw_socket(tunnel, Role::Client, None).await
    }
}

#[tokio::test]
async fn rfc8441_websocket_passes_over_http2() {
    let upstream = Upstream::echo().await;
    let named = Config::to(&upstream).top("identity: {user_id: [{query: userId}]}");
    let mut client = Client::start(named).await;
    let mut socket = client.open("/ws?userId=user-1").await;
    let large = "x".repeat(300_000);
    for text in ["hello", "", &large, "bye"] {
        socket.send(Message::text(text)).await.expect("sent");
        let echoed = within("an echo", socket.next()).await.expect("a message").expect("sound");
        assert!(echoed == Message::text(text), "{} bytes", text.len());
    }
    let head = upstream.requests().last().expect("a handshake").head.clone();
    assert!(head.line.starts_with("GET /ws?userId=user-1 HTTP/1.1"), "{}", head.line);
    assert_eq!(head.only("upgrade"), Some("websocket"));
    assert_eq!(head.only("transfer-encoding"), None);
    assert_eq!(head.only("host"), Some("site.test"));
    assert_eq!(head.only("x-forwarded-proto"), Some("https"));

    let close = CloseFrame { code: 4001.into(), reason: "done".into() };
    socket.close(Some(close)).await.expect("closed");
    while let Some(Ok(_)) = within("the end", socket.next()).await {}
    let line = client.gateway.access("the end", |it| it["event"] == "websocket.close").await;
    assert_eq!(line["websocket.close.code"], 4001);
    assert_eq!(line["websocket.close.initiator"], "client");
    assert_eq!(line["network.protocol.version"], "2");
    assert_eq!(line["user.id"], "user-1");
    assert_eq!(line["websocket.frames_received"], 5);
}

#[tokio::test]
async fn rfc9113_8_2_2_connection_headers_of_the_upstream_are_removed() {
    let upstream = Upstream::scripted(|mut wire, _| async move {
        while let Some(head) = wire.try_head().await {
            if head.get("upgrade").is_some() {
                let lines = "TE: gzip\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nKeep-Alive: timeout=5\r\nX-Own: 1\r\n";
                let _socket = switch(wire, &head, lines).await;
                return std::future::pending().await;
            }
            wire.send(respond("200 OK", &["TE: gzip"], "polled")).await;
        }
    })
    .await;
    let mut client = Client::start(Config::to(&upstream)).await;
    let fields = [("sec-websocket-version", "13")];
    let (response, _send) = client.connect("/ws", "websocket", &fields).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["x-own"], "1");
    for gone in ["te", "http2-settings", "keep-alive"] {
        assert!(!response.headers().contains_key(gone), "{gone}");
    }
}

#[tokio::test]
async fn rfc9113_8_2_3_cookies_of_a_handshake_are_joined() {
    let upstream = Upstream::echo().await;
    let mut client = Client::start(Config::to(&upstream)).await;
    let fields = [("cookie", "a=1"), ("sec-websocket-version", "13"), ("cookie", "sid=2")];
    let (response, _send) = client.connect("/ws", "websocket", &fields).await;
    assert_eq!(response.status(), StatusCode::OK);
    let head = upstream.requests().last().expect("a handshake").head.clone();
    assert_eq!(head.only("cookie"), Some("a=1; sid=2"));
}

#[tokio::test]
async fn rfc8441_session_is_traced_as_over_http1() {
    let (collector, upstream) = (Collector::http().await, Upstream::echo().await);
    let mut client = Client::start(Config::to(&upstream).top(&collector.section(""))).await;
    let mut socket = client.open("/ws").await;
    let close = CloseFrame { code: 4001.into(), reason: "done".into() };
    socket.close(Some(close)).await.expect("closed");
    while let Some(Ok(_)) = within("the end", socket.next()).await {}
    let server = collector.server("/ws").await;
    assert_eq!(server.text("network.protocol.version").as_deref(), Some("2"));
    assert_eq!(server.text("url.scheme").as_deref(), Some("https"));
    assert_eq!(server.number("server.port"), Some(443));
    let names: Vec<_> = server.events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["websocket.open", "websocket.close"]);
    let attempts = collector.attempts(&server).await;
    let [attempt] = attempts.as_slice() else { panic!("one attempt in {attempts:?}") };
    let told = format!("00-{}-{}-01", server.trace, attempt.id);
    let head = upstream.requests().last().expect("a handshake").head.clone();
    assert_eq!(head.only("traceparent"), Some(&*told));
}

#[tokio::test]
async fn rfc8441_many_websockets_share_a_connection() {
    let upstream = Upstream::echo().await;
    let mut client = Client::start(Config::to(&upstream)).await;
    let mut sockets = Vec::new();
    for _ in 0..50 {
        sockets.push(client.open("/ws").await);
    }
    for (number, socket) in sockets.iter_mut().enumerate() {
        socket.send(Message::text(number.to_string())).await.expect("sent");
    }
    for (number, socket) in sockets.iter_mut().enumerate() {
        let echoed = within("an echo", socket.next()).await.expect("a message").expect("sound");
        assert_eq!(echoed, Message::text(number.to_string()));
    }
}

#[tokio::test]
async fn rfc8441_session_ends_with_its_stream() {
    let upstream = Upstream::echo().await;
    let mut client = Client::start(Config::to(&upstream)).await;
    drop(client.open("/ws").await);
    let line = client.gateway.access("the end", |it| it["event"] == "websocket.close").await;
    assert_eq!(line["websocket.close.initiator"], "client");
    // The connection and its other streams are none the worse.
    let mut socket = client.open("/ws").await;
    socket.send(Message::text("still here")).await.expect("sent");
    within("an echo", socket.next()).await.expect("a message").expect("sound");
}

#[tokio::test]
async fn rfc8441_limits_and_drains_apply_as_over_http1() {
    let upstream = Upstream::echo().await;
    let config = Config::to(&upstream)
        .with("websocket: {max_sessions_per_user: 1, max_message_size: 10}")
        .top("identity: {user_id: [{query: userId}]}");
    let mut client = Client::start(config).await;
    let mut socket = client.open("/ws?userId=a").await;
    let (refused, _) =
        client.connect("/ws?userId=a", "websocket", &[("sec-websocket-version", "13")]).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    socket.send(Message::text("more than ten bytes")).await.expect("sent");
    let end = within("a close frame", socket.next()).await.expect("a message").expect("sound");
    assert!(
        matches!(&end, Message::Close(Some(frame)) if u16::from(frame.code) == 1009),
        "{end:?}"
    );
}

#[tokio::test]
async fn rfc8441_short_of_memory_the_largest_client_gets_1013() {
    let upstream = Upstream::echo().await;
    let config = Config::to(&upstream);
    let mut client = Client::start(config.clone()).await;
    let mut sockets = Vec::new();
    for _ in 0..20 {
        sockets.push(client.open("/ws").await);
    }
    let limit = client.gateway.peak_memory() / 2;
    let config = config.listening(TLS).top(&format!("limits: {{memory: {limit}}}"));
    client.gateway.rewrite(&config);
    for socket in &mut sockets {
        match within("a close frame", socket.next()).await {
            Some(Ok(Message::Close(Some(CloseFrame { code, .. })))) => {
                assert_eq!(u16::from(code), 1013);
            }
            other => panic!("{other:?}"),
        }
    }
    let line = client.gateway.access("the end", |it| it["event"] == "websocket.close").await;
    assert_eq!(line["websocket.close.initiator"], "limit", "{line}");
    let line = client.gateway.says(0, "limits.memory").await;
    assert!(line.contains("20 WebSocket sessions"), "{line}");
}

#[tokio::test]
async fn rfc8441_foreign_origin_is_answered_403() {
    let upstream = Upstream::echo().await;
    let config = Config::to(&upstream).cors(&["https://app.test"], "");
    let mut client = Client::start(config).await;
    for (origin, status) in [
        ("https://app.test", 200),
        ("https://site.test", 200),
        ("https://evil.test", 403),
        ("null", 403),
    ] {
        let fields = [("sec-websocket-version", "13"), ("origin", origin)];
        let (response, _send) = client.connect("/ws", "websocket", &fields).await;
        assert_eq!(response.status(), status, "{origin}");
    }
    let mark = client.gateway.mark();
    let tls = "tls: {certificates: [{cert: site.pem, key: site.key}]}";
    client.gateway.rewrite(&Config::to(&upstream).with("websocket: off").listening(tls));
    client.gateway.says(mark, "configuration reloaded").await;
    let version = [("sec-websocket-version", "13")];
    let (response, _send) = client.connect("/ws", "websocket", &version).await;
    assert_eq!(response.status(), 403);
}

#[tokio::test]
async fn rfc8441_subprotocol_is_negotiated_with_the_upstream() {
    let upstream = Upstream::scripted(|mut wire, recorder| async move {
        let head = wire.head().await;
        recorder.record(&head);
        if head.only("sec-websocket-protocol").is_none() {
            let _ = wire.try_send("HTTP/1.1 204 No Content\r\n\r\n").await;
            return;
        }
        wire.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").await;
        let mut socket = switch(wire, &head, "Sec-WebSocket-Protocol: chat.v2\r\n").await;
        socket.send(Message::text("at once")).await.expect("sent");
        let _ = socket.next().await;
    })
    .await;
    let mut client = Client::start(Config::to(&upstream)).await;
    let offered = [("sec-websocket-version", "13"), ("sec-websocket-protocol", "chat.v1, chat.v2")];
    let (response, send) = client.connect("/ws", "websocket", &offered).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat.v2");
    let tunnel = Tunnel { send, receive: response.into_body(), held: Bytes::new() };
    let mut socket = WebSocketStream::from_raw_socket(tunnel, Role::Client, None).await;
    let first = within("a message", socket.next()).await.expect("a message").expect("sound");
    assert_eq!(first, Message::text("at once"));
}

#[tokio::test]
async fn rfc8441_invalid_extended_connect_is_refused() {
    let upstream = Upstream::scripted(|mut wire, recorder| async move {
        let head = wire.head().await;
        recorder.record(&head);
        let answer = match head.target() {
            "/denied" => respond("401 Unauthorized", &[], "who are you?"),
            "/wrong" => "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                Connection: Upgrade\r\nSec-WebSocket-Accept: rubbish\r\n\r\n"
                .into(),
            _ => respond("200 OK", &[], "not a WebSocket"),
        };
        let _ = wire.try_send(answer).await;
        let _ = wire.read_to_end().await;
    })
    .await;
    let mut client = Client::start(Config::to(&upstream)).await;
    let version = ("sec-websocket-version", "13");
    for (target, protocol, fields, status) in [
        ("/denied", "websocket", &[version][..], 401),
        ("/plain", "websocket", &[version], 502),
        ("/wrong", "websocket", &[version], 502),
        ("/", "websocket", &[], 426),
        ("/", "webtransport", &[version], 501),
    ] {
        let (response, _) = client.connect(target, protocol, fields).await;
        assert_eq!(response.status(), status, "{target} {protocol}");
    }
    // A CONNECT that asks for a tunnel to somewhere.
    let request = Request::builder().method("CONNECT").uri("site.test:443").body(()).expect("one");
    let (response, _) = client.send.send_request(request, true).expect("sent");
    assert_eq!(within("an answer", response).await.expect("one").status(), 405);
}

/// What is a GET by then is still a handshake.
#[tokio::test]
async fn explain_header_recognises_a_websocket_over_http2() {
    let (upstream, admin) = (Upstream::echo().await, Admin::new());
    let config = Config::to(&upstream).route("off", "path_prefix: /off", "service");
    let config = config.with("websocket: off").top(&admin.section());
    let mut client = Client::start(config).await;
    let version = ("sec-websocket-version", "13");
    let token = ("x-tidegate-explain", TOKEN);
    for (target, fields, status, verdict) in [
        ("/", &[version, token][..], 200, "forwarded"),
        ("/off", &[version, token], 403, "answered"),
        ("/", &[token], 426, "refused"),
    ] {
        let (response, _send) = client.connect(target, "websocket", fields).await;
        assert_eq!(response.status(), status, "{target}");
        let told = response.headers()["x-tidegate-explain"].to_str().expect("text");
        let told: serde_json::Value = serde_json::from_str(told).expect("JSON");
        assert_eq!(told["verdict"], verdict, "{target}: {told}");
    }
}

#[tokio::test]
async fn stuck_session_over_http2_ends_alone_on_request() {
    let upstream = Upstream::scripted(|mut wire, _| async move {
        let head = wire.head().await;
        let mut socket = switch(wire, &head, "").await.into_inner();
        let is_flood = head.target().starts_with("/flood");
        let frame = [&[0x82, 126, 0xea, 0x60][..], &vec![b'x'; 60_000]].concat();
        while is_flood && tokio::io::AsyncWriteExt::write_all(&mut socket, &frame).await.is_ok() {}
        std::future::pending::<()>().await;
    })
    .await;
    let admin = Admin::new();
    let endings = [
        ("lifetime", "max_lifetime: 500ms", "lifetime"),
        ("ping", "ping: {interval: 1s, timeout: 1s}", "network"),
        ("idle", "idle_timeout: 1s", "idle"),
        ("kick", "strict: false", "kick"),
        ("evict", "max_sessions_per_address: 1, evict: oldest", "limit"),
        ("stop", "strict: false", "drain"),
    ];
    let mut config = Config::new()
        .top(&admin.section())
        .top("drain: {spread: 0s}")
        .top("shutdown: {grace: 20s}")
        .upstream("service", &[upstream.address()]);
    for side in ["flood", "deaf"] {
        for (name, settings, _) in endings {
            config = config
                .route(
                    &format!("{side}-{name}"),
                    &format!("path_prefix: /{side}/{name}"),
                    "service",
                )
                .with(&format!("websocket: {{{settings}}}"));
        }
    }
    let mut client = Client::start(config).await;
    let mut sockets = Vec::new();
    for side in ["flood", "deaf"] {
        for (name, ..) in endings {
            let (response, mut send) = client
                .connect(
                    &format!("/{side}/{name}"),
                    "websocket",
                    &[("sec-websocket-version", "13")],
                )
                .await;
            assert_eq!(response.status(), StatusCode::OK);
            if side == "deaf" {
                // More than there is room for.
                let frame = [&[0x82, 0xff, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0][..], &[0; 1 << 20]];
                let _ = send.send_data(Bytes::from(frame.concat()), false);
            }
            sockets.push((response, send));
        }
    }
    tidegate_testing::until("sessions in which nothing moves", async || {
        let listed = admin.get("/sessions").await;
        let mut sessions = listed["sessions"].as_array().into_iter().flatten();
        sessions.all(|session| session["idle_ms"].as_u64().is_some_and(|idle| idle > 300))
    })
    .await;
    for side in ["flood", "deaf"] {
        let target = format!("/sessions/close?route={side}-kick");
        let answer = admin.send(http::Method::POST, &target, Some(TOKEN)).await;
        assert_eq!(answer.status(), StatusCode::OK);
        sockets.push(
            client
                .connect(&format!("/{side}/evict"), "websocket", &[("sec-websocket-version", "13")])
                .await,
        );
    }
    let end = async |gateway: &Gateway, route: &str, initiator: &str| {
        let is_end =
            |it: &serde_json::Value| it["event"] == "websocket.close" && it["http.route"] == route;
        let line = gateway.access(&format!("the end of {route}"), is_end).await;
        assert_eq!(line["websocket.close.initiator"], initiator, "{line}");
        assert_eq!(line["network.protocol.version"], "2");
    };
    for side in ["flood", "deaf"] {
        for (name, _, initiator) in endings.into_iter().filter(|(name, ..)| *name != "stop") {
            end(&client.gateway, &format!("{side}-{name}"), initiator).await;
        }
    }
    client.gateway.signal(nix::sys::signal::Signal::SIGTERM);
    let gone = client.gateway.exited(std::time::Duration::from_secs(15)).await;
    assert_eq!(gone.code(), Some(0), "before the grace");
    for side in ["flood", "deaf"] {
        end(&client.gateway, &format!("{side}-stop"), "drain").await;
    }
}

#[tokio::test]
async fn http2_requests_cut_off_by_the_grace_are_logged() {
    let upstream = Upstream::scripted(|mut wire, _| async move {
        let head = wire.head().await;
        if head.target() == "/first" {
            wire.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
            return;
        } else if head.target() == "/half" {
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n").await;
        }
        wire.read_to_end().await;
    })
    .await;
    let config = Config::to(&upstream).top("shutdown: {grace: 1s}");
    let mut client = Client::start(config).await;
    let mut answers = Vec::new();
    for path in ["/silent", "/half"] {
        let request = Request::get(format!("https://site.test{path}")).body(()).expect("a request");
        answers.push(client.send.send_request(request, true).expect("sent"));
    }
    tidegate_testing::until("both requests", async || upstream.connections() == 3).await;
    client.gateway.signal(nix::sys::signal::Signal::SIGTERM);
    let gone = client.gateway.exited(std::time::Duration::from_secs(10)).await;
    assert_eq!(gone.code(), Some(0));
    for path in ["/silent", "/half"] {
        let line = client.gateway.access_of(path).await;
        assert!(line["error.message"].to_string().contains("shutdown.grace"), "{line}");
    }
}

#[tokio::test]
async fn rfc8441_5_stream_end_without_a_close_frame_closes_the_session() {
    // An upstream that answers nothing, and stays.
    let (sender, mut came) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::scripted(move |mut wire, _| {
        let sender = sender.clone();
        async move {
            let head = wire.head().await;
            if head.get("upgrade").is_none() {
                return wire.send(tidegate_testing::ok("polled")).await;
            }
            let mut wire = tidegate_testing::Wire::new(switch(wire, &head, "").await.into_inner());
            let _ = sender.send(wire.exactly(2).await[0]);
            std::future::pending::<()>().await;
        }
    })
    .await;
    let mut client = Client::start(Config::to(&upstream)).await;
    for with_trailers in [false, true] {
        let (response, mut send) =
            client.connect("/ws", "websocket", &[("sec-websocket-version", "13")]).await;
        assert_eq!(response.status(), StatusCode::OK);
        match with_trailers {
            false => send.send_data(Bytes::new(), true).expect("sent"),
            true => send.send_trailers(http::HeaderMap::new()).expect("sent"),
        }
        let mut body = response.into_body();
        while let Some(data) = within("the end", body.data()).await {
            let data = data.expect("no reset");
            assert_eq!(data, "", "nobody is left to read it");
        }
        assert_eq!(within("a close frame", came.recv()).await, Some(0x88));
    }
}

#[tokio::test]
async fn unanswered_close_frame_ends_the_session() {
    let upstream = Upstream::scripted(|mut wire, _| async move {
        let head = wire.head().await;
        if head.get("upgrade").is_none() {
            return wire.send(tidegate_testing::ok("polled")).await;
        }
        let mut wire = tidegate_testing::Wire::new(switch(wire, &head, "").await.into_inner());
        wire.read_to_end().await;
    })
    .await;
    let mut client = Client::start(Config::to(&upstream)).await;
    let mut socket = client.open("/ws").await;
    socket.close(Some(CloseFrame { code: 4001.into(), reason: "".into() })).await.expect("sent");
    let answer = within("an answer", socket.next()).await.expect("a message").expect("sound");
    let Message::Close(Some(close)) = answer else { panic!("{answer:?}") };
    assert_eq!(u16::from(close.code), 4001);
    let line = client.gateway.access("the end", |it| it["event"] == "websocket.close").await;
    assert_eq!(line["websocket.close.initiator"], "client");
}
