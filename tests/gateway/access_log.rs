//! The access log has one line per request and two per WebSocket, without secrets.

use crate::documents::HERE;
use crate::metrics::Counted;
use futures_util::SinkExt;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;
use tidegate_testing::{
    Config, Gateway, Handshake, Upstream, Wire, free_port, next, respond, switch, until, within,
};
use tokio_tungstenite::tungstenite::Message;

const IDENTITY: &str = "identity: {user_id: [{query: userId}, {header: x-user-id}, {cookie: uid}]}";

async fn gateway() -> (Gateway, Upstream) {
    let upstream = Upstream::echo().await;
    (Config::to(&upstream).top(IDENTITY).start().await, upstream)
}

async fn websocket_line(gateway: &Gateway, event: &str) -> Value {
    gateway.access(event, |line| line["event"] == event).await
}

#[tokio::test]
async fn each_request_is_one_flat_json_line() {
    let (gateway, upstream) = gateway().await;
    let answer = gateway.get("/api/notification?userId=user-1&page=2", &[]).await;
    let line = gateway.access_of("/api/notification").await;
    for (field, value) in [
        ("event", Value::from("http.request")),
        ("http.request.method", "GET".into()),
        ("url.path", "/api/notification".into()),
        ("url.query", "userId=user-1&page=2".into()),
        ("http.route", "all".into()),
        ("http.response.status_code", 200.into()),
        ("user.id", "user-1".into()),
        ("client.address", "127.0.0.1".into()),
        ("http.request.id", answer.head.only("x-request-id").into()),
        ("upstream.name", "service".into()),
        ("upstream.address", upstream.address().to_string().into()),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    assert!(line["duration_ms"].as_f64().is_some_and(|ms| (0.0..20_000.0).contains(&ms)), "{line}");
    let fields = line.as_object().expect("an object");
    assert!(fields.values().all(|value| !value.is_object() && !value.is_array()), "flat: {line}");
    assert_eq!(gateway.access_lines().len(), 1, "one line a request");
}

#[tokio::test]
async fn responses_of_the_gateway_itself_are_logged() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::new()
        .upstream("service", &[upstream.address()])
        .upstream("down", &[format!("127.0.0.1:{}", free_port())])
        .route("a", "path_prefix: /a", "service")
        .route("down", "path_prefix: /down", "down")
        .start()
        .await;
    for (target, status, route) in [("/none", 404, Value::Null), ("/down", 502, "down".into())] {
        gateway.get(target, &[]).await;
        let line = gateway.access_of(target).await;
        assert_eq!(line["http.response.status_code"], status, "{line}");
        assert_eq!(line["http.route"], route, "{line}");
    }
}

#[tokio::test]
async fn user_id_comes_from_the_first_source_that_has_one() {
    let (gateway, _upstream) = gateway().await;
    let cases: [(&str, &[&str], Value); 7] = [
        ("/1?userId=q", &["X-User-Id: h", "Cookie: uid=c"], "q".into()),
        ("/2", &["X-User-Id: h", "Cookie: uid=c"], "h".into()),
        ("/3", &["Cookie: a=b; uid=c; d=e"], "c".into()),
        ("/4", &[], Value::Null),
        ("/5?userid=q&xuserId=q", &["Cookie: xuid=c; uid2=c"], Value::Null),
        ("/6?a=1&userId=user%201%2Bx", &[], "user 1+x".into()),
        ("/7?userId=", &["X-User-Id: h"], "h".into()),
    ];
    for (target, fields, user) in cases {
        gateway.get(target, fields).await;
        let path = target.split('?').next().expect("a path");
        assert_eq!(gateway.access_of(path).await["user.id"], user, "{target} {fields:?}");
    }
}

#[tokio::test]
async fn user_id_is_bounded_and_cannot_forge_a_line() {
    let (gateway, _upstream) = gateway().await;
    let long = "x".repeat(3000);
    gateway.get(&format!("/long?userId={long}"), &[]).await;
    let line = gateway.access_of("/long").await;
    let user = line["user.id"].as_str().expect("an id");
    assert!(user.starts_with(&"x".repeat(200)) && user.chars().count() < 256, "{user}");
    gateway.get("/evil?userId=a%0A%7B%22event%22:1%7D%0D%1B%5B31m%00%22%C2%85z", &[]).await;
    let line = gateway.access_of("/evil").await;
    let user = line["user.id"].as_str().expect("an id");
    assert!(!user.chars().any(char::is_control), "{user:?}");
    assert!(user.starts_with('a') && user.contains('z'), "{user:?}");
    gateway.get("/bytes?userId=%FF%FEz", &[]).await;
    assert!(gateway.access_of("/bytes").await["user.id"].is_string());
    assert_eq!(gateway.access_lines().len(), 3);
    for line in gateway.access_lines() {
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}

#[tokio::test]
async fn secrets_in_a_query_are_redacted_in_every_log() {
    let (gateway, _upstream) = gateway().await;
    for (number, query) in [
        "token=s3cr3t&userId=u",
        "userId=u&access_token=s3cr3t",
        "password=s3cr3t",
        "PASSWORD=s3cr3t",
        "Access_Token=s3cr3t",
        "to%6ben=s3cr3t",
        "a=b&&token=s3cr3t&token=s3cr3t#",
        "token=s3cr3t=s3cr3t",
        "%74%6F%6B%65%6E=s3cr3t",
    ]
    .into_iter()
    .enumerate()
    {
        let query = query.trim_end_matches('#');
        gateway.get(&format!("/{number}?{query}"), &[]).await;
        let line = gateway.access_of(&format!("/{number}")).await;
        assert!(!line.to_string().contains("s3cr3t"), "{query}: {line}");
        if query.contains("userId=u") {
            assert!(line["url.query"].as_str().is_some_and(|q| q.contains("userId=u")), "{line}");
        }
    }
    drop(gateway.websocket("/ws?token=s3cr3t").await);
    websocket_line(&gateway, "websocket.close").await;
    gateway.send(b"GET /bad%zz?token=s3cr3t HTTP/1.1\r\nHost: a\r\n\r\n").await;
    gateway.get("/last", &[]).await;
    gateway.access_of("/last").await;
    let all = gateway.access_lines().join("\n") + &gateway.log_lines().join("\n");
    assert!(!all.contains("s3cr3t"), "{all}");
}

#[tokio::test]
async fn secrets_are_absent_from_error_messages() {
    let gone = Upstream::scripted(|mut wire, _| async move {
        wire.head().await;
    })
    .await;
    let mut gateway = Config::to_address(format!("127.0.0.1:{}", free_port()))
        .upstream("gone", &[gone.address()])
        .route("gone", "path_prefix: /gone", "gone")
        .top("log: {level: debug}")
        .start()
        .await;
    for target in ["/down?token=s3cr3t", "/gone?token=s3cr3t"] {
        assert_eq!(gateway.get(target, &[]).await.status(), 502);
        assert_eq!(gateway.refused(&Handshake::to(target)).await.status(), 502);
    }
    // One that leaves in the midst of its request.
    let mut wire = gateway.connect().await;
    wire.send("POST /gone?token=s3cr3t HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx").await;
    drop(wire);
    gateway.signal(nix::sys::signal::Signal::SIGTERM);
    gateway.exited(tidegate_testing::WAIT_TIMEOUT).await;
    let all = gateway.access_lines().join("\n") + &gateway.log_lines().join("\n");
    assert!(all.contains("/gone"), "{all}");
    assert!(!all.contains("s3cr3t"), "{all}");
}

#[tokio::test]
async fn redact_query_replaces_the_list_of_secret_parameters() {
    let upstream = Upstream::saying("ok").await;
    let config = Config::to(&upstream).top("access_log: {format: json, redact_query: [pin]}");
    let gateway = config.start().await;
    gateway.get("/?pin=1234&token=shown", &[]).await;
    let line = gateway.access_of("/").await;
    let query = line["url.query"].as_str().expect("a query");
    assert!(!query.contains("1234") && query.contains("token=shown"), "{query}");
}

#[tokio::test]
async fn websocket_is_logged_at_open_and_at_close() {
    let (gateway, upstream) = gateway().await;
    let (answer, mut socket) =
        Handshake::to("/api/notifications/ws?userId=user-1").open(&gateway).await;
    let open = websocket_line(&gateway, "websocket.open").await;
    assert!(!gateway.access_lines().iter().any(|line| line.contains("websocket.close")));
    socket.send(Message::text("Hello")).await.expect("sent");
    assert_eq!(next(&mut socket).await, Some(Message::text("Hello")));
    socket.close(None).await.expect("sent");
    while next(&mut socket).await.is_some() {}
    let close = websocket_line(&gateway, "websocket.close").await;
    for line in [&open, &close] {
        assert_eq!(line["user.id"], "user-1", "{line}");
        assert_eq!(line["url.path"], "/api/notifications/ws", "{line}");
        assert_eq!(line["http.route"], "all", "{line}");
        assert_eq!(line["upstream.name"], "service", "{line}");
        assert_eq!(line["upstream.address"], upstream.address().to_string(), "{line}");
        assert_eq!(line["client.address"], "127.0.0.1", "{line}");
        assert_eq!(line["http.request.id"].as_str(), answer.only("x-request-id"), "{line}");
    }
    assert!(close["websocket.duration_ms"].as_f64().is_some_and(|ms| ms >= 0.0), "{close}");
    assert_eq!(close["websocket.close.initiator"], "client", "{close}");
    assert_eq!(gateway.access_lines().len(), 2, "two lines a WebSocket");
}

#[tokio::test]
async fn session_line_counts_bytes_in_each_direction() {
    let upstream = Upstream::scripted(|mut wire, _| async move {
        let head = wire.head().await;
        let mut wire = Wire::new(switch(wire, &head, "").await.into_inner());
        wire.exactly(11).await;
        wire.send(b"\x81\x05Hello\x81\x05again").await;
        wire.read_to_end().await;
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let (_, mut wire) = Handshake::to("/").open_raw(&gateway).await;
    wire.send(b"\x81\x85\0\0\0\0Hello").await;
    wire.exactly(14).await;
    drop(wire);
    let close = websocket_line(&gateway, "websocket.close").await;
    assert_eq!(close["websocket.bytes_received"], 11, "from the client: {close}");
    assert_eq!(close["websocket.bytes_sent"], 14, "to the client: {close}");
    assert_eq!(close["websocket.close.initiator"], "client", "{close}");
}

#[tokio::test]
async fn session_line_names_the_side_that_closed() {
    let upstream = Upstream::websocket(|mut socket, head| async move {
        if head.target() == "/close" {
            let _ = socket.close(None).await;
            while within("the client's end", futures_util::StreamExt::next(&mut socket))
                .await
                .is_some()
            {}
        }
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    for target in ["/close", "/vanish"] {
        let mut socket = gateway.websocket(target).await;
        while next(&mut socket).await.is_some() {}
        drop(socket);
        let line = gateway
            .access("the session's end", |line| {
                line["event"] == "websocket.close" && line["url.path"] == target
            })
            .await;
        assert_eq!(line["websocket.close.initiator"], "upstream", "{line}");
    }
}

#[tokio::test]
async fn refused_handshake_is_logged_as_a_request() {
    let upstream = Upstream::echo().await;
    let gateway = Config::to(&upstream).with("websocket: off").start().await;
    gateway.refused(&Handshake::to("/ws")).await;
    let line = gateway.access_of("/ws").await;
    assert_eq!(line["event"], "http.request");
    assert_eq!(line["http.response.status_code"], 403);
}

#[tokio::test]
async fn request_aborted_by_the_client_is_logged() {
    let upstream = Upstream::scripted(|mut wire, recorder| async move {
        let head = wire.head().await;
        recorder.record(&head);
        wire.read_to_end().await;
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    wire.send(tidegate_testing::get("/given-up", &[])).await;
    upstream.request(0).await;
    // By a reset: a client that only ends its side so soon waits for its answer.
    wire.reset();
    let line = gateway.access_of("/given-up").await;
    assert_ne!(line["http.response.status_code"], 200, "{line}");
}

#[tokio::test]
async fn text_format_writes_one_readable_line_per_request() {
    let upstream = Upstream::saying("ok").await;
    let config = Config::to(&upstream).top(IDENTITY).top("access_log: {format: text}");
    let gateway = config.start().await;
    gateway.get("/api/notification?userId=u%0A1&token=s3cr3t", &[]).await;
    tidegate_testing::until("a line", || async { !gateway.access_lines().is_empty() }).await;
    let line = gateway.access_lines().remove(0);
    assert!(serde_json::from_str::<Value>(&line).is_err(), "{line}");
    for part in ["GET", "/api/notification", "200"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert!(!line.contains("s3cr3t"), "{line}");
    assert_eq!(gateway.access_lines().len(), 1);
}

#[tokio::test]
async fn log_is_written_to_a_file_stderr_or_nowhere() {
    let upstream = Upstream::saying("ok").await;
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("access.log");
    let config = Config::to(&upstream).top(&format!("access_log: {{path: {file:?}}}"));
    let gateway = config.start().await;
    gateway.get("/in-a-file", &[]).await;
    let has_line =
        || async { std::fs::read_to_string(&file).is_ok_and(|text| text.contains("/in-a-file")) };
    tidegate_testing::until("a line in the file", has_line).await;
    assert_eq!(gateway.access_lines().len(), 0);

    let gateway = Config::to(&upstream).top("access_log: {path: stderr}").start().await;
    gateway.get("/on-stderr", &[]).await;
    gateway.says(0, "/on-stderr").await;
    assert_eq!(gateway.access_lines().len(), 0);

    let mut gateway = Config::to(&upstream).top("access_log: off").start().await;
    gateway.get("/nowhere", &[]).await;
    gateway.signal(nix::sys::signal::Signal::SIGTERM);
    gateway.exited(tidegate_testing::WAIT_TIMEOUT).await;
    assert_eq!(gateway.access_lines().len(), 0);
}

#[tokio::test]
async fn graceful_stop_loses_no_log_line() {
    let (mut gateway, _upstream) = gateway().await;
    let mut wire = gateway.connect().await;
    for number in 0..50 {
        wire.send(tidegate_testing::get(&format!("/{number}"), &[])).await;
        assert_eq!(wire.response().await.status(), 200);
    }
    drop(wire);
    gateway.signal(nix::sys::signal::Signal::SIGTERM);
    gateway.exited(tidegate_testing::WAIT_TIMEOUT).await;
    let lines = || async { gateway.access_lines().len() == 50 };
    tidegate_testing::until("50 lines", lines).await;
}

#[tokio::test]
async fn configured_headers_are_logged_and_secret_ones_refused() {
    let answer = |_: &_| respond("200 OK", &["X-Version: 7"], "ok");
    let upstream = Upstream::answering(answer).await;
    let fields = "access_log: {fields: {request: [Referer, X-None], response: [X-Version]}}";
    let gateway = Config::to(&upstream).top(fields).start().await;
    gateway.get("/", &["Referer: https://app.example/a\"b"]).await;
    let line = gateway.access_of("/").await;
    assert_eq!(line["http.request.header.referer"], "https://app.example/a\"b");
    assert_eq!(line["http.response.header.x-version"], "7");
    assert!(line.get("http.request.header.x-none").is_none());
    let secret = "listeners: [{address: 127.0.0.1:3000}]\n\
                  access_log: {fields: {request: [Cookie, Authorization]}}\n";
    let problems = tidegate::Config::from_yaml(secret).check().expect_err("secrets").to_string();
    assert!(problems.contains("access_log.fields.request[0]"), "{problems}");
    assert!(problems.contains("access_log.fields.request[1]"), "{problems}");
}

#[tokio::test]
async fn sampling_by_status_logs_only_its_share() {
    let upstream = Upstream::saying("ok").await;
    let config = Config::to(&upstream)
        .answer("gone", "path: /gone", "respond: {status: 410}")
        .top("access_log: {sample: {2xx: 0, 4xx: 1}}");
    let gateway = config.start().await;
    for _ in 0..5 {
        gateway.get("/fine", &[]).await;
    }
    gateway.get("/gone", &[]).await;
    gateway.access_of("/gone").await;
    assert_eq!(gateway.access_lines().len(), 1, "{:?}", gateway.access_lines());
}

#[tokio::test]
async fn sigusr1_reopens_the_log_file() {
    let upstream = Upstream::saying("ok").await;
    let folder = tempfile::tempdir().expect("a folder");
    let (log, rotated) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let config = Config::to(&upstream).top(&format!("access_log: {{path: {}}}", log.display()));
    let gateway = config.start().await;
    let has = |file: &std::path::Path, path: &str| {
        std::fs::read_to_string(file).is_ok_and(|text| text.contains(path))
    };
    gateway.get("/before", &[]).await;
    until("it is written", async || has(&log, "/before")).await;
    std::fs::rename(&log, &rotated).expect("rotated");
    gateway.signal(nix::sys::signal::Signal::SIGUSR1);
    until("the file is there again", async || log.exists()).await;
    gateway.get("/after", &[]).await;
    until("it is written", async || has(&log, "/after")).await;
    assert!(!has(&rotated, "/after"));
}

#[tokio::test]
async fn lines_lost_to_a_full_disk_are_counted_and_logged_once() {
    let config = Config::new().answer("all", "path_prefix: /", "respond: {body: ok}");
    let counted = Counted::start(config.top("access_log: {path: /dev/full}")).await;
    let gateway = &counted.gateway;
    let lost = async |count: f64| {
        let labels = [("cause", "unwritable")];
        counted.value("tidegate_access_log_lost_lines_total", &labels).await >= count
    };
    for round in 1..=3 {
        gateway.get("/", &[]).await;
        until("the line is counted", || lost(f64::from(round))).await;
    }
    let needle = "access log: cannot write to /dev/full: No space left on device";
    gateway.says(0, needle).await;
    let said = gateway.log_lines();
    assert_eq!(said.iter().filter(|line| line.contains("/dev/full")).count(), 1, "{said:?}");
}

#[tokio::test]
async fn stdout_redirected_to_a_file_is_appended_after_truncation() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("stdout");
    // As a shell's `>` opens it.
    let stdout = std::fs::File::create(&path).expect("a file");
    let config = Config::new().answer("all", "path_prefix: /", "respond: {body: ok}");
    let gateway = Gateway::with_output(&config, stdout.into(), Stdio::piped()).await;
    let lines = || std::fs::read_to_string(&path).expect("the log").lines().count();
    gateway.get("/one", &[]).await;
    until("the first line", async || lines() == 1).await;
    // Another process, or a rotation by copying.
    std::fs::write(&path, "").expect("emptied");
    gateway.get("/two", &[]).await;
    until("the second line", async || lines() == 1).await;
    let text = std::fs::read_to_string(&path).expect("the log");
    assert!(text.starts_with('{') && text.contains("/two"), "{text:?}");
}

/// The keys of `docs/reference/access-log.md`, and the first word of their types.
fn documented_keys() -> HashMap<String, String> {
    let page = Path::new(HERE).join("docs/reference/access-log.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let key = |row: &str| {
        let (name, rest) = row.split_once("` | ").expect("a key");
        let kind: String = rest.chars().take_while(|it| it.is_ascii_lowercase()).collect();
        (name.to_owned(), kind)
    };
    rows.map(key).collect()
}

#[tokio::test]
async fn lines_have_documented_keys_alone() {
    let upstream = Upstream::echo().await;
    let gateway = Config::to(&upstream)
        .with("websocket: {log_frames: text}")
        .with("cache: {default_ttl: 1m}")
        .upstream("down", &[format!("127.0.0.1:{}", free_port())])
        .route("down", "path: /down", "down")
        .top(IDENTITY)
        .top("access_log: {format: json, fields: {request: [Referer], response: [Content-Type]}}")
        .top("tracing: {otlp: {endpoint: \"http://127.0.0.1:9\"}}")
        .start()
        .await;
    let fields = ["User-Agent: test", "Referer: http://a.test/"];
    gateway.get("/a?userId=user-1", &fields).await;
    gateway.get("/down", &fields).await;
    let mut socket = gateway.websocket("/ws?userId=user-1").await;
    socket.send(Message::text("Hello")).await.expect("sent");
    next(&mut socket).await;
    socket.close(None).await.expect("sent");
    while next(&mut socket).await.is_some() {}
    websocket_line(&gateway, "websocket.close").await;
    gateway.access_of("/down").await;

    let documented = documented_keys();
    assert!(documented.len() > 40, "{documented:?}");
    let mut seen = HashSet::new();
    for line in gateway.access_lines() {
        let line: Value = serde_json::from_str(&line).expect("JSON");
        for (key, value) in line.as_object().expect("an object") {
            let is_header = ["http.request.header.", "http.response.header."]
                .iter()
                .any(|prefix| key.starts_with(prefix));
            let kind = match documented.get(key) {
                Some(kind) => kind.as_str(),
                None if is_header => "string",
                None => panic!("{key} is not documented: {line}"),
            };
            let is_of_kind = match kind {
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "integer" => value.is_u64(),
                _ => value.is_number(),
            };
            assert!(is_of_kind, "{key} is no {kind}: {line}");
            seen.insert(key.clone());
        }
    }
    for key in ["cache", "trace_id", "error.message", "websocket.message.text", "user.id"] {
        assert!(seen.contains(key), "{key} is in no line: {seen:?}");
    }
}
