//! A session ends on request, even if one side does not read.

use http::Method;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::time::Duration;
use tempfile::TempDir;
use tidegate_testing::{
    Admin, Authority, Collector, Config, Gateway, Handshake, TOKEN, Upstream, Wire, free_port,
    switch, until, within,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Routes by what ends their sessions, and whom the log names for it.
const ENDINGS: [(&str, &str, &str); 6] = [
    ("lifetime", "max_lifetime: 500ms", "lifetime"),
    ("ping", "ping: {interval: 1s, timeout: 1s, to: both}", "network"),
    ("idle", "idle_timeout: 1s", "idle"),
    ("evict", "max_sessions_per_address: 1, evict: oldest", "limit"),
    ("kick", "strict: false", "kick"),
    ("stop", "strict: false", "drain"),
];

/// A frame that no socket has room for many of.
fn large_frame(first: u8) -> Vec<u8> {
    let payload = vec![b'x'; 60_000];
    let masked: &[u8] = if first & 0x80 != 0 { &[0; 4] } else { &[] };
    let mut frame = vec![0x82, first | 126];
    frame.extend_from_slice(&60_000_u16.to_be_bytes());
    frame.extend_from_slice(masked);
    frame.extend(payload);
    frame
}

/// At `/flood/…` it sends without end, at `/deaf/…` it takes nothing.
async fn service() -> Upstream {
    Upstream::scripted(|mut wire, _| async move {
        let head = wire.head().await;
        let mut socket = switch(wire, &head, "").await.into_inner();
        if head.target().starts_with("/flood") {
            let frame = large_frame(0);
            while socket.write_all(&frame).await.is_ok() {}
        }
        std::future::pending::<()>().await;
    })
    .await
}

fn config(upstream: &Upstream, admin: &Admin) -> Config {
    let mut config = Config::new()
        .top(&admin.section())
        .top("drain: {spread: 0s}")
        .top("shutdown: {grace: 20s}")
        .upstream("service", &[upstream.address()]);
    for side in ["flood", "deaf"] {
        for (name, settings, _) in ENDINGS {
            config = config
                .route(
                    &format!("{side}-{name}"),
                    &format!("path_prefix: /{side}/{name}"),
                    "service",
                )
                .with(&format!("websocket: {{{settings}}}"));
        }
    }
    config
}

async fn end(gateway: &Gateway, route: &str) -> Value {
    let is_end = |line: &Value| line["event"] == "websocket.close" && line["http.route"] == route;
    gateway.access(&format!("the end of {route}"), is_end).await
}

/// Opens a session, and leaves it as it is but for what is sent at `/deaf`.
async fn stick<S>(stream: S, side: &str, name: &str)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut wire = Wire::over(stream);
    wire.send(Handshake::to(&format!("/{side}/{name}")).bytes()).await;
    assert_eq!(wire.head().await.status(), Some(101));
    let (mut stream, _) = wire.into_parts();
    let is_deaf = side == "deaf";
    tokio::spawn(async move {
        let frame = large_frame(0x80);
        while is_deaf && stream.write_all(&frame).await.is_ok() {}
        if is_deaf {
            // What has come is read, as by a client that waits for an answer.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
        std::future::pending::<()>().await;
    });
}

/// Waits until nothing moves in any session.
async fn no_room_is_left(admin: &Admin) {
    until("sessions in which nothing moves", async || {
        let listed = admin.get("/sessions").await;
        let mut sessions = listed["sessions"].as_array().into_iter().flatten();
        sessions.all(|session| session["idle_ms"].as_u64().is_some_and(|idle| idle > 300))
    })
    .await;
}

async fn all_end(mut gateway: Gateway, admin: &Admin, open: impl AsyncFn(&Gateway, &str, &str)) {
    for side in ["flood", "deaf"] {
        for (name, ..) in ENDINGS {
            open(&gateway, side, name).await;
        }
    }
    no_room_is_left(admin).await;
    for side in ["flood", "deaf"] {
        let target = format!("/sessions/close?route={side}-kick");
        assert_eq!(admin.send(Method::POST, &target, Some(TOKEN)).await.status(), 200);
        open(&gateway, side, "evict").await;
    }
    let endings = ENDINGS.into_iter().filter(|(name, ..)| *name != "stop");
    for (name, _, initiator) in endings {
        for side in ["flood", "deaf"] {
            let line = end(&gateway, &format!("{side}-{name}")).await;
            assert_eq!(line["websocket.close.initiator"], initiator, "{side} {name}: {line}");
        }
    }
    gateway.signal(Signal::SIGTERM);
    assert_eq!(gateway.exited(Duration::from_secs(15)).await.code(), Some(0), "before the grace");
    for side in ["flood", "deaf"] {
        let line = end(&gateway, &format!("{side}-stop")).await;
        assert_eq!(line["websocket.close.initiator"], "drain", "{line}");
    }
}

#[tokio::test]
async fn stuck_session_ends_on_request() {
    let (upstream, admin) = (service().await, Admin::new());
    let gateway = config(&upstream, &admin).start().await;
    let open = async |gateway: &Gateway, side: &str, name: &str| {
        let stream = tokio::net::TcpStream::connect(gateway.address()).await.expect("connected");
        stick(stream, side, name).await;
    };
    all_end(gateway, &admin, open).await;
}

#[tokio::test]
async fn stuck_session_over_tls_ends_on_request() {
    let (upstream, admin) = (service().await, Admin::new());
    let (authority, folder) = (Authority::new(), TempDir::new().expect("a folder"));
    authority.issue(folder.path(), "site", &["site.test"], 2090);
    let (port, file) = (free_port(), folder.path().join("tidegate.yaml"));
    let tls = "tls: {certificates: [{cert: site.pem, key: site.key}]}";
    let text = config(&upstream, &admin).listening(tls).yaml(port);
    std::fs::write(&file, text).expect("a file");
    let gateway = Gateway::run(folder, file, port).await;
    let client = authority.client();
    let open = async |gateway: &Gateway, side: &str, name: &str| {
        stick(client.connect(gateway, "site.test").await, side, name).await;
    };
    all_end(gateway, &admin, open).await;
}

#[tokio::test]
async fn log_names_the_timeout_that_ends_a_stuck_session() {
    let upstream = service().await;
    let gateway = Config::to(&upstream)
        .top("limits: {send_timeout: 1s}")
        .with("timeouts: {write: 1s}")
        .start()
        .await;
    for (side, initiator, key) in
        [("flood", "network", "limits.send_timeout"), ("deaf", "network", "timeouts.write")]
    {
        let stream = tokio::net::TcpStream::connect(gateway.address()).await.expect("connected");
        stick(stream, side, "any").await;
        let path = format!("/{side}/any");
        let is_end = |line: &Value| line["event"] == "websocket.close" && line["url.path"] == *path;
        let line = gateway.access("the end", is_end).await;
        assert_eq!(line["websocket.close.initiator"], initiator, "{line}");
        let reason = line["websocket.close.reason"].as_str().unwrap_or_default();
        assert!(reason.contains(key), "{line}");
    }
}

#[tokio::test]
async fn client_of_a_stuck_service_gets_a_close_frame() {
    let (upstream, admin) = (service().await, Admin::new());
    let gateway = config(&upstream, &admin).start().await;
    let (_, wire) = Handshake::to("/deaf/kick").open_raw(&gateway).await;
    let (mut reader, mut writer) = wire.into_stream().into_split();
    let sending = tokio::spawn(async move {
        let frame = large_frame(0x80);
        while writer.write_all(&frame).await.is_ok() {}
    });
    no_room_is_left(&admin).await;
    let target = "/sessions/close?route=deaf-kick&code=4001";
    assert_eq!(admin.send(Method::POST, target, Some(TOKEN)).await.status(), 200);
    let mut close = [0; 4];
    within("a close frame", reader.read_exact(&mut close)).await.expect("a close frame");
    assert_eq!((close[0], &close[2..]), (0x88, &4001_u16.to_be_bytes()[..]));
    sending.abort();
}

#[tokio::test]
async fn sessions_and_requests_cut_off_by_the_grace_are_logged() {
    let upstream = Upstream::scripted(|mut wire, _| async move {
        let head = wire.head().await;
        let _open = match head.get("upgrade") {
            Some(_) => Some(switch(wire, &head, "").await),
            None => {
                wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n")
                    .await;
                wire.read_to_end().await;
                None
            }
        };
        std::future::pending::<()>().await;
    })
    .await;
    let collector = Collector::http().await;
    let config = Config::to(&upstream)
        .top("shutdown: {grace: 1s}")
        .top("drain: {spread: 0s}")
        .top(&collector.section(""));
    let mut gateway = config.start().await;
    let (_, _session) = Handshake::to("/session").open_raw(&gateway).await;
    let mut half = gateway.connect().await;
    half.send("GET /half HTTP/1.1\r\nHost: localhost\r\nUser-Agent: its-own\r\n\r\n").await;
    half.until("12345").await;
    let mut upload = gateway.connect().await;
    upload.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1").await;
    until("the upload", async || upstream.connections() == 3).await;
    gateway.signal(Signal::SIGTERM);
    assert_eq!(gateway.exited(Duration::from_secs(10)).await.code(), Some(0));
    let session = gateway.access_of("/session").await;
    assert_eq!(session["event"], "websocket.open");
    let is_end = |line: &Value| line["event"] == "websocket.close";
    let session = gateway.access("the session's end", is_end).await;
    assert_eq!(session["websocket.close.initiator"], "drain");
    let events = collector.server("/session").await.events;
    assert_eq!(events.last().map(|event| &*event.name), Some("websocket.close"));
    for path in ["/half", "/upload"] {
        collector.server(path).await;
        let line = gateway.access_of(path).await;
        assert!(line["error.message"].to_string().contains("shutdown.grace"), "{line}");
    }
}
