//! WebSocket sessions are forwarded unchanged.

use futures_util::{SinkExt, StreamExt};
use std::sync::Arc;
use tidegate_testing::{Config, Handshake, Socket, Upstream, next, ok, respond, switch, within};
use tokio::sync::{Mutex, mpsc};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// An upstream that tells what it receives and sends nothing of its own accord.
async fn listening() -> (Upstream, mpsc::UnboundedReceiver<Option<Message>>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let upstream = Upstream::websocket(move |mut socket, _| {
        let sender = sender.clone();
        async move {
            while let Some(Ok(message)) = socket.next().await {
                let _ = sender.send(Some(message));
            }
            let _ = sender.send(None);
        }
    })
    .await;
    (upstream, receiver)
}

fn close_frame(code: u16, reason: &str) -> CloseFrame {
    CloseFrame { code: CloseCode::from(code), reason: reason.to_owned().into() }
}

async fn echoes(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).await.expect("sent");
    assert_eq!(next(socket).await, Some(Message::text(text)));
}

#[tokio::test]
async fn first_request_may_be_a_websocket() {
    let upstream = Upstream::echo().await;
    let gateway = Config::to(&upstream).start().await;
    let mut socket = gateway.websocket("/api/notifications/ws?userId=user-1").await;
    echoes(&mut socket, "hello").await;
    assert_eq!(upstream.only_request().await.head.target(), "/api/notifications/ws?userId=user-1");
}

#[tokio::test]
async fn text_and_binary_messages_pass_in_order() {
    let upstream = Upstream::echo().await;
    let gateway = Config::to(&upstream).start().await;
    let mut socket = gateway.websocket("/").await;
    let messages = [
        Message::text(""),
        Message::text("grüße 🔔"),
        Message::binary(vec![0, 255, 13, 10, 13, 10]),
        Message::binary(Vec::new()),
        Message::text("last"),
    ];
    for message in &messages {
        socket.feed(message.clone()).await.expect("sent");
    }
    socket.flush().await.expect("sent");
    for message in messages {
        assert_eq!(next(&mut socket).await, Some(message));
    }
}

#[tokio::test]
async fn client_ping_and_upstream_pong_are_forwarded() {
    let (upstream, mut received) = listening().await;
    let gateway = Config::to(&upstream).start().await;
    let mut socket = gateway.websocket("/").await;
    let payload = bytes::Bytes::from_static(b"are you there");
    socket.send(Message::Ping(payload.clone())).await.expect("sent");
    assert_eq!(received.recv().await, Some(Some(Message::Ping(payload.clone()))));
    assert_eq!(next(&mut socket).await, Some(Message::Pong(payload)));
}

#[tokio::test]
async fn upstream_ping_and_client_pong_are_forwarded() {
    let upstream = Upstream::websocket(|mut socket, _| async move {
        let _ = socket.send(Message::Ping("from above".into())).await;
        let answer = socket.next().await;
        let was_answered = matches!(answer, Some(Ok(Message::Pong(data))) if data == "from above");
        let _ = socket.send(Message::text(was_answered.to_string())).await;
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let mut socket = gateway.websocket("/").await;
    assert_eq!(next(&mut socket).await, Some(Message::Ping("from above".into())));
    assert_eq!(next(&mut socket).await, Some(Message::text("true")));
}

#[tokio::test]
async fn large_message_passes_in_both_directions() {
    let upstream = Upstream::echo().await;
    let gateway = Config::to(&upstream).start().await;
    let mut socket = gateway.websocket("/").await;
    let large: Vec<u8> =
        (0..8_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    socket.send(Message::binary(large.clone())).await.expect("sent");
    let Some(Message::Binary(echoed)) = next(&mut socket).await else { panic!("no message") };
    assert!(echoed == large, "the message came back changed");
}

#[tokio::test]
async fn subprotocols_are_forwarded_unchanged() {
    let upstream = Upstream::scripted(|mut wire, recorder| async move {
        let head = wire.head().await;
        recorder.record(&head);
        let mut socket = switch(wire, &head, "Sec-WebSocket-Protocol: v2.notify\r\n").await;
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let handshake = Handshake::to("/").set("Sec-WebSocket-Protocol", "v2.notify, v1.notify");
    let (answer, _socket) = handshake.open(&gateway).await;
    let request = upstream.only_request().await;
    assert_eq!(request.head.only("sec-websocket-protocol"), Some("v2.notify, v1.notify"));
    assert_eq!(answer.only("sec-websocket-protocol"), Some("v2.notify"));
}

#[tokio::test]
async fn extensions_are_forwarded_unchanged() {
    const OFFER: &str = "permessage-deflate; client_max_window_bits, x-other";
    const CHOICE: &str = "permessage-deflate; server_no_context_takeover";
    // "Hello" compressed, RFC 7692, section 7.2.3.1; RSV1 set, once unmasked, once masked.
    const DOWN: &[u8] = &[0xc1, 7, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    const UP: &[u8] = &[0xc1, 0x87, 0, 0, 0, 0, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let upstream = Upstream::scripted(|mut wire, recorder| async move {
        let head = wire.head().await;
        recorder.record(&head);
        let line = format!("Sec-WebSocket-Extensions: {CHOICE}\r\n");
        let mut wire = tidegate_testing::Wire::new(switch(wire, &head, &line).await.into_inner());
        assert_eq!(wire.exactly(UP.len()).await, UP);
        wire.send(DOWN).await;
        wire.read_to_end().await;
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let handshake = Handshake::to("/").set("Sec-WebSocket-Extensions", OFFER);
    let (answer, mut wire) = handshake.open_raw(&gateway).await;
    assert_eq!(upstream.only_request().await.head.only("sec-websocket-extensions"), Some(OFFER));
    assert_eq!(answer.only("sec-websocket-extensions"), Some(CHOICE));
    wire.send(UP).await;
    assert_eq!(wire.exactly(DOWN.len()).await, DOWN);
}

#[tokio::test]
async fn connection_with_keep_alive_and_upgrade_is_accepted() {
    let upstream = Upstream::echo().await;
    let gateway = Config::to(&upstream).start().await;
    for connection in
        ["keep-alive, Upgrade", "Upgrade, keep-alive", "upgrade", "Keep-Alive,UPGRADE"]
    {
        let handshake =
            Handshake::to("/").set("Connection", connection).set("Upgrade", "WebSocket");
        let (_, mut socket) = handshake.open(&gateway).await;
        echoes(&mut socket, connection).await;
    }
    for request in upstream.requests() {
        assert_eq!(request.head.list("connection"), ["upgrade"]);
        assert_eq!(request.head.list("upgrade"), ["websocket"]);
        assert_eq!(request.head.only("sec-websocket-version"), Some("13"));
    }
}

#[tokio::test]
async fn close_code_and_reason_of_the_client_reach_the_upstream() {
    let (upstream, mut received) = listening().await;
    let gateway = Config::to(&upstream).start().await;
    let mut socket = gateway.websocket("/").await;
    let frame = close_frame(3001, "page closed");
    socket.close(Some(frame.clone())).await.expect("sent");
    assert_eq!(received.recv().await, Some(Some(Message::Close(Some(frame.clone())))));
    // The upstream's library echoes the close frame.
    assert_eq!(next(&mut socket).await, Some(Message::Close(Some(frame))));
    assert_eq!(next(&mut socket).await, None);
}

#[tokio::test]
async fn close_code_and_reason_of_the_upstream_reach_the_client() {
    for (code, reason) in [(1000, "bye"), (1001, ""), (4401, "token expired")] {
        let upstream = Upstream::websocket(move |mut socket, _| async move {
            let _ = socket.close(Some(close_frame(code, reason))).await;
            while let Some(Ok(_)) = socket.next().await {}
        })
        .await;
        let gateway = Config::to(&upstream).start().await;
        let mut socket = gateway.websocket("/").await;
        let frame = close_frame(code, reason);
        assert_eq!(next(&mut socket).await, Some(Message::Close(Some(frame))));
        assert_eq!(next(&mut socket).await, None);
    }
}

#[tokio::test]
async fn frames_sent_with_the_101_reach_the_client() {
    let upstream = Upstream::scripted(|mut wire, _| async move {
        let _ = wire.head().await;
        // One packet: the head of RFC 6455, section 1.3, and the frame `Hello`.
        wire.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x05Hello",
        )
        .await;
        wire.read_to_end().await;
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    for _ in 0..20 {
        let mut socket = gateway.websocket("/").await;
        assert_eq!(next(&mut socket).await, Some(Message::text("Hello")));
    }
}

#[tokio::test]
async fn handshake_refused_by_the_upstream_passes_unchanged() {
    for status in ["401 Unauthorized", "404 Not Found", "503 Service Unavailable", "200 OK"] {
        let upstream = Upstream::answering(move |_| {
            respond(status, &["WWW-Authenticate: Bearer", "X-Reason: theirs"], "{\"no\":\"way\"}")
        })
        .await;
        let gateway = Config::to(&upstream).start().await;
        let answer = gateway.refused(&Handshake::to("/")).await;
        assert_eq!(answer.head.line, format!("HTTP/1.1 {status}"));
        assert_eq!(answer.head.only("www-authenticate"), Some("Bearer"));
        assert_eq!(answer.head.only("x-reason"), Some("theirs"));
        assert_eq!(answer.text(), "{\"no\":\"way\"}");
    }
}

#[tokio::test]
async fn connection_is_reusable_or_closed_after_a_refused_handshake() {
    let upstream = Upstream::answering(|request| match request.head.get("upgrade") {
        Some(_) => respond("401 Unauthorized", &[], "no"),
        None => ok("polled"),
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    wire.send(Handshake::to("/").bytes()).await;
    let refusal = wire.response().await;
    assert_eq!((refusal.status(), refusal.text().as_str()), (401, "no"));
    if refusal.head.list("connection").contains(&"close".to_owned()) {
        assert!(wire.is_ended().await);
    } else {
        wire.send(tidegate_testing::get("/", &[])).await;
        assert_eq!(wire.response().await.text(), "polled");
    }
}

#[tokio::test]
async fn half_closed_client_is_read_to_its_end() {
    let (sender, mut received) = mpsc::unbounded_channel();
    let upstream = Upstream::scripted(move |mut wire, _| {
        let sender = sender.clone();
        async move {
            let head = wire.head().await;
            let mut wire = tidegate_testing::Wire::new(switch(wire, &head, "").await.into_inner());
            let _ = sender.send(wire.read_to_end().await);
        }
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let (_, mut wire) = Handshake::to("/").open_raw(&gateway).await;
    wire.send(b"\x81\x83\0\0\0\0bye\x88\x82\0\0\0\0\x03\xe8").await;
    wire.finish().await;
    let heard = within("the upstream's end", received.recv()).await.expect("bytes");
    assert_eq!(heard, b"\x81\x83\0\0\0\0bye\x88\x82\0\0\0\0\x03\xe8");
    assert!(wire.is_ended().await, "and its own socket ends");
}

#[tokio::test]
async fn client_frames_reach_a_half_closed_upstream() {
    let (sender, mut received) = mpsc::unbounded_channel();
    let upstream = Upstream::scripted(move |mut wire, _| {
        let sender = sender.clone();
        async move {
            let head = wire.head().await;
            let mut wire = tidegate_testing::Wire::new(switch(wire, &head, "").await.into_inner());
            wire.send(b"\x88\x02\x03\xe8").await;
            wire.finish().await;
            let _ = sender.send(wire.read_to_end().await);
        }
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let (_, mut wire) = Handshake::to("/").open_raw(&gateway).await;
    assert_eq!(wire.exactly(4).await, b"\x88\x02\x03\xe8");
    wire.send(b"\x88\x82\0\0\0\0\x03\xe8").await;
    assert!(wire.is_ended().await);
    let heard = within("the upstream's end", received.recv()).await.expect("bytes");
    assert_eq!(heard, b"\x88\x82\0\0\0\0\x03\xe8");
}

#[tokio::test]
async fn upstream_gets_1001_when_its_client_vanishes() {
    let (upstream, mut received) = listening().await;
    let gateway = Config::to(&upstream).start().await;
    let (_, wire) = Handshake::to("/").open_raw(&gateway).await;
    let mut told = async || {
        let close = within("a close frame", received.recv()).await;
        assert_eq!(within("the upstream's end", received.recv()).await, Some(None));
        match close {
            Some(Some(Message::Close(Some(frame)))) => u16::from(frame.code),
            other => panic!("{other:?}"),
        }
    };
    wire.reset();
    assert_eq!(told().await, 1001);
    let (_, wire) = Handshake::to("/").open_raw(&gateway).await;
    drop(wire);
    assert_eq!(told().await, 1001);
}

#[tokio::test]
async fn client_gets_1014_when_its_upstream_vanishes() {
    let upstream = Upstream::scripted(|mut wire, _| async move {
        let head = wire.head().await;
        let is_reset = head.target() == "/reset";
        let mut wire = tidegate_testing::Wire::new(switch(wire, &head, "").await.into_inner());
        wire.until("now").await;
        if is_reset {
            wire.reset();
        }
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    for target in ["/reset", "/end"] {
        let (_, mut wire) = Handshake::to(target).open_raw(&gateway).await;
        wire.send(b"\x81\x83\0\0\0\0now").await;
        let [opcode, length] = wire.exactly(2).await[..] else { panic!("a header") };
        assert_eq!(opcode, 0x88, "{target}");
        let payload = wire.exactly(length.into()).await;
        assert_eq!(payload.get(..2), Some(&1014_u16.to_be_bytes()[..]), "{target}");
        wire.send(b"\x88\x82\0\0\0\0\x03\xf3").await;
        assert!(wire.is_ended().await, "{target}");
        let closed = gateway
            .access("the session's end", |line| {
                line["event"] == "websocket.close" && line["url.path"] == target
            })
            .await;
        assert_eq!(closed["websocket.close.initiator"], "upstream");
        assert_eq!(closed["websocket.close.code"], 1014);
    }
}

#[tokio::test]
async fn upstream_lost_sets_the_close_code() {
    let upstream = Upstream::scripted(|mut wire, _| async move {
        let head = wire.head().await;
        let mut wire = tidegate_testing::Wire::new(switch(wire, &head, "").await.into_inner());
        wire.until("now").await;
    })
    .await;
    for (written, sent) in
        [("1011", &b"\x03\xf3"[..]), ("4014", b"\x0f\xae"), ("1012", b"\x03\xf4"), ("none", b"")]
    {
        let config =
            Config::to(&upstream).with(&format!("websocket: {{upstream_lost: {written}}}"));
        let gateway = config.start().await;
        let (_, mut wire) = Handshake::to("/ws").open_raw(&gateway).await;
        wire.send(b"\x81\x83\0\0\0\0now").await;
        if !sent.is_empty() {
            let [opcode, length] = wire.exactly(2).await[..] else { panic!("a header") };
            assert_eq!(opcode, 0x88, "{written}");
            assert!(wire.exactly(length.into()).await.starts_with(sent), "{written}");
            wire.send(b"\x88\x82\0\0\0\0\x03\xf3").await;
        }
        assert!(wire.is_ended().await, "{written}");
        let closed = |line: &serde_json::Value| line["event"] == "websocket.close";
        let closed = gateway.access("the session's end", closed).await;
        assert_eq!(closed["websocket.close.initiator"], "upstream", "{written}");
        let code = closed["websocket.close.code"].as_u64().map(|code| code.to_string());
        assert_eq!(code.as_deref().unwrap_or("none"), written);
    }
}

#[tokio::test]
async fn truncated_frame_ends_the_session_without_a_close_code() {
    let upstream = Upstream::scripted(|mut wire, _| async move {
        let head = wire.head().await;
        let mut wire = tidegate_testing::Wire::new(switch(wire, &head, "").await.into_inner());
        wire.send(b"\x81\x7dhalf of it").await;
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let (_, mut wire) = Handshake::to("/").open_raw(&gateway).await;
    assert_eq!(wire.exactly(12).await, b"\x81\x7dhalf of it");
    assert!(wire.is_ended().await);
    let closed =
        gateway.access("the session's end", |line| line["event"] == "websocket.close").await;
    assert_eq!(closed["websocket.close.initiator"], "upstream");
    assert!(closed.get("websocket.close.code").is_none(), "{closed}");
}

#[tokio::test]
async fn query_is_forwarded_byte_for_byte() {
    let upstream = Upstream::echo().await;
    let gateway = Config::to(&upstream).start().await;
    let targets = [
        "/ws?userId=user-1",
        "/ws?userId=a%20b+c&userId=&=x&&t=%E2%82%AC%2f..%2F%00",
        "/ws?a=/../b//c?d",
        "/ws?",
        "/ws?q=[1]{2}|3^`'",
    ];
    for (number, target) in targets.into_iter().enumerate() {
        let _socket = gateway.websocket(target).await;
        assert_eq!(upstream.request(number).await.head.target(), target);
    }
}

#[tokio::test]
async fn immediate_101_does_not_end_the_session() {
    // Pingora 0.9.1 ends a tunnel whose 101 it sees before the request's own end; the faster
    // the upstream, the more often.
    let upstream = Upstream::echo().await;
    let gateway = Config::to(&upstream).start().await;
    for number in 0..300 {
        let mut socket = gateway.websocket("/").await;
        echoes(&mut socket, &number.to_string()).await;
    }
}

#[tokio::test]
async fn concurrent_sockets_do_not_mix_messages() {
    let upstream = Upstream::echo().await;
    let gateway = Arc::new(Config::to(&upstream).start().await);
    let sockets = Arc::new(Mutex::new(Vec::new()));
    let mut opening = tokio::task::JoinSet::new();
    for number in 0..150 {
        let (gateway, sockets) = (Arc::clone(&gateway), Arc::clone(&sockets));
        opening.spawn(async move {
            let mut socket = gateway.websocket(&format!("/ws?userId=user-{number}")).await;
            echoes(&mut socket, &format!("first of {number}")).await;
            sockets.lock().await.push((number, socket));
        });
    }
    opening.join_all().await;
    let mut sockets = std::mem::take(&mut *sockets.lock().await);
    assert_eq!(upstream.requests().len(), 150);
    for (number, socket) in &mut sockets {
        socket.send(Message::text(format!("second of {number}"))).await.expect("sent");
    }
    for (number, socket) in &mut sockets {
        assert_eq!(next(socket).await, Some(Message::text(format!("second of {number}"))));
    }
}

#[tokio::test]
async fn polling_works_beside_an_open_websocket() {
    let upstream = Upstream::echo().await;
    let gateway = Config::to(&upstream).start().await;
    let mut socket = gateway.websocket("/ws").await;
    assert_eq!(gateway.get("/api/notification", &[]).await.text(), "polled");
    echoes(&mut socket, "still here").await;
}
