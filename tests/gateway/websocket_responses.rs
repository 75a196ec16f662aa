//! A 101 opens a session only in response to a WebSocket handshake (RFC 6455, RFC 9110).

use std::collections::BTreeMap;
use tempfile::TempDir;
use tidegate_testing::{
    Authority, Config, Gateway, Handshake, Request, Upstream, free_port, get, ok, respond, within,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// A 101 with the right fields for this request, but for those that are changed; an empty value removes one.
fn switching(request: &Request, version: &str, changes: &[(&str, &str)]) -> Vec<u8> {
    let accept = derive_accept_key(request.head.get("sec-websocket-key").unwrap_or("").as_bytes());
    let mut fields = BTreeMap::from([
        ("connection", "Upgrade"),
        ("sec-websocket-accept", &*accept),
        ("upgrade", "websocket"),
    ]);
    fields.extend(changes.iter().copied());
    let mut head = format!("{version} 101 Switching Protocols\r\n");
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    // A frame behind it: whoever passes it on has opened a tunnel.
    [head.as_bytes(), b"\r\n\x81\x02hi"].concat()
}

/// Changes that make a 101 none, each with the version of its status line.
const WRONG: [(&str, &[(&str, &str)]); 9] = [
    ("HTTP/1.1", &[("upgrade", "")]),
    ("HTTP/1.1", &[("upgrade", "h2c")]),
    ("HTTP/1.1", &[("upgrade", "websocket, h2c")]),
    ("HTTP/1.1", &[("connection", "")]),
    ("HTTP/1.1", &[("connection", "close")]),
    ("HTTP/1.1", &[("sec-websocket-accept", "")]),
    ("HTTP/1.1", &[("sec-websocket-accept", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=")]),
    ("HTTP/1.1", &[("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=, x")]),
    ("HTTP/1.0", &[]),
];

/// Answers `/plain` as any service, `/wrong/N` with the N-th wrong 101, and all else with a right one.
async fn service() -> Upstream {
    Upstream::answering(|request| match request.head.target().strip_prefix("/wrong/") {
        Some(number) => {
            let (version, changes) = WRONG[number.parse::<usize>().expect("a number")];
            switching(request, version, changes)
        }
        None if request.head.target() == "/plain" => ok("served"),
        None => switching(request, "HTTP/1.1", &[]),
    })
    .await
}

#[tokio::test]
async fn unrequested_101_becomes_502() {
    let upstream = service().await;
    let gateway = Config::to(&upstream).start().await;
    let mut number = 0;
    for request in [
        "GET /@ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /@ HTTP/1.0\r\nHost: a\r\n\r\n",
        "HEAD /@ HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS /@ HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /@ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab",
        "POST /@ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        "GET /@ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n",
        "GET /@ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
    ] {
        number += 1;
        let target = format!("/unasked/{number}");
        let mut wire = gateway.connect().await;
        wire.send(request.replace("/@", &target)).await;
        let head = wire.head().await;
        assert_eq!(head.status(), Some(502), "{request:?}: {}", head.text);
        let rest = String::from_utf8_lossy(&wire.read_to_end().await).into_owned();
        assert!(!rest.contains("\u{81}") && !rest.ends_with("hi"), "no tunnel: {rest:?}");
        let line = gateway.access_of(&target).await;
        let told = line["error.message"].as_str().expect("a message").to_owned();
        assert!(told.contains("that is not a WebSocket handshake"), "{told}");
        assert_eq!(gateway.get("/plain", &[]).await.text(), "served");
    }
    let error = gateway.get("/error", &[]).await.error();
    assert_eq!(error["error"], "upstream_failed");
}

#[tokio::test]
async fn invalid_101_becomes_502() {
    let upstream = service().await;
    let gateway = Config::to(&upstream).start().await;
    for (number, wrong) in WRONG.iter().enumerate() {
        let target = format!("/wrong/{number}");
        let refusal = gateway.refused(&Handshake::to(&target)).await;
        assert_eq!(refusal.status(), 502, "{wrong:?}");
        let _ = refusal.error();
        let line = gateway.access_of(&target).await;
        assert_eq!(line["event"], "http.request", "no session: {line}");
        let told = line["error.message"].as_str().expect("a message");
        assert!(told.contains("101"), "{told}");
    }
    Handshake::to("/right").open(&gateway).await;
}

#[tokio::test]
async fn headers_of_no_upgrade_are_removed_from_a_101() {
    let upstream = Upstream::answering(|request| {
        switching(
            request,
            "HTTP/1.1",
            &[
                ("connection", "keep-alive, Upgrade, x-of-connection"),
                ("content-length", "5"),
                ("keep-alive", "timeout=5"),
                ("proxy-connection", "keep-alive"),
                ("te", "gzip"),
                ("http2-settings", "AAMAAABkAAQAAP__"),
                ("trailer", "x"),
                ("transfer-encoding", "chunked"),
                ("x-of-connection", "1"),
                ("x-own", "1"),
            ],
        )
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let (head, mut wire) = Handshake::to("/").open_raw(&gateway).await;
    for gone in [
        "content-length",
        "keep-alive",
        "proxy-connection",
        "te",
        "http2-settings",
        "trailer",
        "transfer-encoding",
        "x-of-connection",
    ] {
        assert_eq!(head.get(gone), None, "{}", head.text);
    }
    assert_eq!(head.only("x-own"), Some("1"));
    assert_eq!(wire.exactly(4).await, b"\x81\x02hi");
}

#[tokio::test]
async fn upgrade_header_of_a_426_is_kept() {
    let upstream = Upstream::answering(|_| {
        let fields =
            ["Upgrade: websocket", "Connection: Upgrade, x-of-connection", "X-Of-Connection: 1"];
        respond("426 Upgrade Required", &fields, "upgrade")
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let answer = gateway.get("/", &[]).await;
    assert_eq!((answer.status(), answer.text().as_str()), (426, "upgrade"));
    assert_eq!(answer.head.only("upgrade"), Some("websocket"));
    assert_eq!(answer.head.only("x-of-connection"), None);
    let own = gateway.refused(&Handshake::to("/").set("Sec-WebSocket-Version", "8")).await;
    assert_eq!((own.status(), own.head.only("upgrade")), (426, Some("websocket")));
    for head in [&answer.head, &own.head] {
        // RFC 9110, section 7.8: who sends `Upgrade` names it in `Connection`.
        assert!(head.list("connection").contains(&"upgrade".to_owned()), "{}", head.text);
    }
    let mut wire = gateway.connect().await;
    wire.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
    let old = wire.head().await;
    assert_eq!((old.status(), old.get("upgrade")), (Some(426), None), "{}", old.text);
    assert_eq!(old.list("connection"), ["close"]);
}

/// A gateway with TLS, and a client of its own for HTTP/2.
async fn over_http2(config: Config) -> (Gateway, h2::client::SendRequest<bytes::Bytes>) {
    let (authority, folder) = (Authority::new(), TempDir::new().expect("a folder"));
    authority.issue(folder.path(), "site", &["site.test"], 2090);
    let (port, file) = (free_port(), folder.path().join("tidegate.yaml"));
    let tls = "tls: {certificates: [{cert: site.pem, key: site.key}]}";
    std::fs::write(&file, config.listening(tls).yaml(port)).expect("a file");
    let gateway = Gateway::run(folder, file, port).await;
    let stream = authority.client().offering(&["h2"]).connect(&gateway, "site.test").await;
    let (send, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    (gateway, send)
}

#[tokio::test]
async fn invalid_101_becomes_502_over_http2() {
    let upstream = service().await;
    let (gateway, mut send) = over_http2(Config::to(&upstream)).await;
    for (method, target) in [("GET", "/unasked/get"), ("POST", "/unasked/post")] {
        let request = http::Request::builder().method(method);
        let request = request.uri(format!("https://site.test{target}")).body(());
        let (answer, mut body) =
            send.send_request(request.expect("a request"), method == "GET").expect("sent");
        if method == "POST" {
            body.send_data("ab".into(), true).expect("sent");
        }
        let answer = within("an answer", answer).await.expect("an answer");
        assert_eq!(answer.status(), 502, "{target}");
        let line = gateway.access_of(target).await;
        assert!(line["error.message"].as_str().is_some_and(|it| it.contains("101")), "{line}");
    }
    for (number, wrong) in WRONG.iter().enumerate() {
        let request = http::Request::builder()
            .method("CONNECT")
            .uri(format!("https://site.test/wrong/{number}"))
            .header("sec-websocket-version", "13")
            .extension(h2::ext::Protocol::from_static("websocket"))
            .body(())
            .expect("a request");
        let (answer, _body) = send.send_request(request, false).expect("sent");
        let answer = within("an answer", answer).await.expect("an answer");
        assert_eq!(answer.status(), 502, "{wrong:?}");
        let line = gateway.access_of(&format!("/wrong/{number}")).await;
        assert_eq!(line["event"], "http.request", "no session: {line}");
    }
    let request = http::Request::get("https://site.test/plain").body(()).expect("a request");
    let (answer, _) = send.send_request(request, true).expect("sent");
    assert_eq!(within("an answer", answer).await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn upgrade_header_of_a_426_is_removed_over_http2() {
    let upstream = Upstream::answering(|_| {
        respond("426 Upgrade Required", &["Upgrade: websocket", "Connection: Upgrade"], "upgrade")
    })
    .await;
    let (_gateway, mut send) = over_http2(Config::to(&upstream)).await;
    let request = http::Request::get("https://site.test/").body(()).expect("a request");
    let (answer, _) = send.send_request(request, true).expect("sent");
    let answer = within("an answer", answer).await.expect("an answer");
    assert_eq!(answer.status(), 426);
    assert!(!answer.headers().contains_key("upgrade"), "RFC 9113, 8.2.2");
}

#[tokio::test]
async fn declined_upgrade_is_an_ordinary_response() {
    let upstream = Upstream::answering(|_| ok("no socket here")).await;
    let gateway = Config::to(&upstream).start().await;
    let answer = gateway.refused(&Handshake::to("/")).await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "no socket here"));
    assert_eq!(gateway.send(get("/", &[])).await.status(), 200);
}
