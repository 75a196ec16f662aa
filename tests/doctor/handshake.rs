//! The service answers the handshake with something other than the expected 101.

use crate::harness::{answering, examine, switching, ws};
use tidegate_testing::{Upstream, respond};

#[tokio::test]
async fn each_refused_handshake_has_its_code() {
    let location: &[&str] = &["Location: https://elsewhere.example/ws?token=hush-hush"];
    for (status, fields, code) in [
        ("200 OK", &[][..], "not-a-websocket"),
        ("204 No Content", &[], "not-a-websocket"),
        ("301 Moved Permanently", location, "redirected"),
        ("302 Found", location, "redirected"),
        ("400 Bad Request", &[], "bad-request"),
        ("401 Unauthorized", &["WWW-Authenticate: Bearer"], "unauthorized"),
        ("403 Forbidden", &[], "forbidden"),
        ("404 Not Found", &[], "not-found"),
        ("405 Method Not Allowed", &["Allow: POST"], "method-not-allowed"),
        ("418 I'm a teapot", &[], "request-refused"),
        ("426 Upgrade Required", &["Sec-WebSocket-Version: 8"], "upgrade-required"),
        ("429 Too Many Requests", &[], "too-many-requests"),
        ("431 Request Header Fields Too Large", &[], "request-too-large"),
        ("500 Internal Server Error", &[], "service-error"),
        ("502 Bad Gateway", &[], "bad-gateway"),
        ("503 Service Unavailable", &[], "unavailable"),
        ("504 Gateway Timeout", &[], "gateway-timeout"),
    ] {
        let server = answering(respond(status, fields, "")).await;
        let found = examine(ws(server.address()), &["--timeout", "1200ms"]).await;
        found.is(code).blames("address").saw(&status[..3]);
        assert_eq!(found.outcome("http"), "ok");
        assert_eq!(found.outcome("handshake"), "failed");
        assert_eq!(found.outcome("ping"), "skipped");
        assert!(!found.run.all().contains("hush-hush"), "{}", found.run.all());
    }
}

#[tokio::test]
async fn interim_responses_do_not_count_as_the_answer() {
    let both = [respond("404 Not Found", &[], "")].concat();
    let bytes = [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".to_vec(), both].concat();
    examine(ws(answering(bytes).await.address()), &[]).await.is("not-found");
    let bytes = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(20);
    let server = answering(bytes).await;
    for scheme in ["ws", "http"] {
        examine(format!("{scheme}://{}/", server.address()), &[]).await.is("no-answer");
    }
}

#[tokio::test]
async fn dripping_server_is_bounded_by_the_timeout() {
    for (scheme, bytes, code) in [
        ("http", "HTTP/1.1 200 OK\r\nX-Long: ", "no-answer"),
        ("ws", "HTTP/1.1 200 OK\r\nX-Long: ", "no-answer"),
        ("http", "HTTP/1.1 404 Not Found\r\nContent-Length: 999999\r\n\r\n", "not-found"),
        ("ws", "HTTP/1.1 404 Not Found\r\nContent-Length: 999999\r\n\r\n", "not-found"),
        ("http", "", "no-answer"),
    ] {
        let server = Upstream::scripted(move |mut wire, _| async move {
            if wire.try_head().await.is_none() || wire.try_send(bytes).await.is_err() {
                return;
            }
            while !bytes.is_empty() && wire.try_send("a").await.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            std::future::pending().await
        })
        .await;
        let url = format!("{scheme}://{}/", server.address());
        examine(url, &["--timeout", "300ms"]).await.is(code);
    }
}

#[tokio::test]
async fn wrong_or_missing_accept_key_is_wrong_accept_key() {
    let lines = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let other = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    for accept in [other, ""] {
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\n{lines}{accept}\r\n");
        let found = examine(ws(answering(answer).await.address()), &[]).await;
        found.is("wrong-accept-key");
    }
}

/// A service whose 101 is changed in this way.
async fn switching_as(
    change: impl Fn(String) -> String + Send + Sync + Clone + 'static,
) -> Upstream {
    Upstream::scripted(move |mut wire, _| {
        let change = change.clone();
        async move {
            let Some(head) = wire.try_head().await else { return };
            let _ = wire.try_send(change(switching(&head, ""))).await;
            let _ = wire.read_to_end().await;
        }
    })
    .await
}

#[tokio::test]
async fn incomplete_101_is_bad_switch() {
    for line in ["Upgrade: websocket\r\n", "Connection: Upgrade\r\n"] {
        let server = switching_as(move |answer| answer.replacen(line, "", 1)).await;
        examine(ws(server.address()), &[]).await.is("bad-switch").saw(line.trim());
    }
}

#[tokio::test]
async fn no_common_subprotocol_is_subprotocol_mismatch() {
    let none = switching_as(|answer| answer).await;
    let offers = ["--protocol", "chat", "--protocol", "superchat"];
    examine(ws(none.address()), &offers).await.is("subprotocol-mismatch").saw("no subprotocol");
    let with = |line: &'static str| {
        switching_as(move |answer| answer.replacen("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"), 1))
    };
    let other = with("Sec-WebSocket-Protocol: mqtt").await;
    examine(ws(other.address()), &offers).await.is("subprotocol-mismatch").saw("mqtt");
    examine(ws(other.address()), &[]).await.is("subprotocol-mismatch").saw("mqtt");
    let deflate = with("Sec-WebSocket-Extensions: permessage-deflate").await;
    examine(ws(deflate.address()), &[]).await.is("unasked-extension").saw("deflate");
}
