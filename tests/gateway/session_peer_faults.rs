//! Faults of one side end a session as documented, and other behaviour does not.

use futures_util::SinkExt;
use serde_json::Value;
use std::time::Duration;
use tidegate_testing::{Config, Gateway, Handshake, Upstream, Wire, next, switch, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

async fn end(gateway: &Gateway) -> Value {
    gateway.access("the session's end", |line| line["event"] == "websocket.close").await
}

fn websocket(settings: &str, upstream: &Upstream) -> Config {
    Config::to(upstream).with(&format!("websocket: {{{settings}}}"))
}

/// An upstream that sends these bytes once a session is open, and reports all that comes until its end.
async fn sending(bytes: &'static [u8]) -> (Upstream, mpsc::UnboundedReceiver<Vec<u8>>) {
    let (sender, came) = mpsc::unbounded_channel();
    let upstream = Upstream::scripted(move |mut wire, _| {
        let sender = sender.clone();
        async move {
            let head = wire.head().await;
            let mut wire = Wire::new(switch(wire, &head, "").await.into_inner());
            wire.send(bytes).await;
            let _ = sender.send(wire.read_to_end().await);
        }
    })
    .await;
    (upstream, came)
}

/// The payload of the only frame in these bytes of a client.
fn unmasked(frame: &[u8]) -> Vec<u8> {
    let key = &frame[2..6];
    frame[6..].iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
}

#[tokio::test]
async fn unanswered_close_frame_ends_the_session() {
    // The upstream keeps silent.
    let (upstream, mut came) = sending(b"").await;
    let gateway = websocket("max_sessions_per_address: 1", &upstream).start().await;
    let (_, mut wire) = Handshake::to("/ws").open_raw(&gateway).await;
    let close = b"\x88\x82\0\0\0\0\x0f\xa1";
    wire.send(close).await;
    assert_eq!(wire.exactly(4).await, b"\x88\x02\x0f\xa1", "answered in the upstream's place");
    assert!(wire.is_ended().await);
    assert_eq!(within("the upstream's end", came.recv()).await, Some(close.to_vec()));
    let line = end(&gateway).await;
    assert_eq!(line["websocket.close.initiator"], "client");
    assert_eq!(line["websocket.close.code"], 4001);
    // Its place is free.
    let _open = Handshake::to("/ws").open_raw(&gateway).await;

    // The client keeps silent.
    let (upstream, mut came) = sending(b"\x88\x02\x0f\xa2").await;
    let gateway = websocket("strict: false", &upstream).start().await;
    let (_, mut wire) = Handshake::to("/ws").open_raw(&gateway).await;
    assert_eq!(wire.exactly(4).await, b"\x88\x02\x0f\xa2");
    let answer = within("the upstream's end", came.recv()).await.expect("a frame");
    assert_eq!((answer[0], unmasked(&answer)), (0x88, b"\x0f\xa2".to_vec()));
    assert!(wire.is_ended().await);
    assert_eq!(end(&gateway).await["websocket.close.initiator"], "upstream");
}

/// Close frames that RFC 6455, sections 5.5.1 and 7.4, forbids: their payloads.
const WRONG: [&[u8]; 10] = [
    b"\x03",
    &999_u16.to_be_bytes(),
    &1004_u16.to_be_bytes(),
    &1005_u16.to_be_bytes(),
    &1006_u16.to_be_bytes(),
    &1015_u16.to_be_bytes(),
    &2999_u16.to_be_bytes(),
    &5000_u16.to_be_bytes(),
    b"\x03\xe8\xff\xfe",
    b"\x03\xe8caf\xc3",
];

fn close_frame(payload: &[u8], masked: bool) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a length");
    let mut frame = vec![0x88, length | if masked { 0x80 } else { 0 }];
    frame.extend_from_slice(if masked { &[0; 4] } else { &[] });
    frame.extend_from_slice(payload);
    frame
}

#[tokio::test]
async fn rfc6455_5_5_1_malformed_close_frame_closes_strict_session_with_1002() {
    for payload in WRONG {
        let (upstream, mut came) = sending(b"").await;
        let gateway = websocket("strict: true", &upstream).start().await;
        let (_, mut wire) = Handshake::to("/ws").open_raw(&gateway).await;
        // In pieces, so that it has to be put together.
        for byte in close_frame(payload, true) {
            wire.send([byte]).await;
        }
        let got = wire.exactly(4).await;
        assert_eq!((got[0], &got[2..]), (0x88, &1002_u16.to_be_bytes()[..]), "{payload:?}");
        drop(wire);
        let frame = within("the upstream's end", came.recv()).await.expect("a frame");
        assert_eq!(unmasked(&frame)[..2], 1002_u16.to_be_bytes(), "{payload:?}");
        let line = end(&gateway).await;
        assert_eq!(line["websocket.close.code"], 1002, "{line}");
        assert_eq!(line["websocket.close.initiator"], "limit", "{line}");

        let frame: &'static [u8] = close_frame(payload, false).leak();
        let (upstream, mut came) = sending(frame).await;
        let gateway = websocket("strict: true", &upstream).start().await;
        let (_, mut wire) = Handshake::to("/ws").open_raw(&gateway).await;
        let got = wire.exactly(4).await;
        assert_eq!((got[0], &got[2..]), (0x88, &1002_u16.to_be_bytes()[..]), "{payload:?}");
        drop(wire);
        let frame = within("the upstream's end", came.recv()).await.expect("a frame");
        assert_eq!(unmasked(&frame)[..2], 1002_u16.to_be_bytes(), "{payload:?}");
    }
}

#[tokio::test]
async fn strict_session_forwards_valid_close_frames() {
    for payload in [
        b"".as_slice(),
        b"\x03\xe8",
        b"\x0f\xa0caf\xc3\xa9",
        &[b"\x03\xf6", [b'x'; 123].as_slice()].concat(),
    ] {
        let (upstream, mut came) = sending(b"").await;
        let gateway = websocket("strict: true", &upstream).start().await;
        let (_, mut wire) = Handshake::to("/ws").open_raw(&gateway).await;
        let frame = close_frame(payload, true);
        for byte in &frame {
            wire.send([*byte]).await;
        }
        drop(wire);
        assert_eq!(within("the upstream's end", came.recv()).await, Some(frame));
    }
}

/// A frame that no socket has room for many of.
fn large_frame(masked: bool) -> Vec<u8> {
    let mut frame = vec![0x82, if masked { 0x80 | 126 } else { 126 }];
    frame.extend_from_slice(&60_000_u16.to_be_bytes());
    frame.extend_from_slice(if masked { &[0; 4] } else { &[] });
    frame.extend_from_slice(&[b'x'; 60_000]);
    frame
}

/// Longer than `interval` and `timeout` of a ping together: the time itself is what is tried.
const PAUSE: Duration = Duration::from_millis(3500);

/// So much arrives only if the session has outlived the pause: no buffers have as much room.
const MANY: usize = 1000;

#[tokio::test]
async fn slow_client_is_not_closed_by_pings_to_the_upstream() {
    let upstream = Upstream::scripted(|mut wire, _| async move {
        let head = wire.head().await;
        let (mut reader, mut writer) = switch(wire, &head, "").await.into_inner().into_split();
        let (sender, mut pings) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut frame = [0; 14];
            // The gateway's pings alone come: eight bytes, masked.
            while reader.read_exact(&mut frame).await.is_ok() {
                let _ = sender.send(unmasked(&frame));
            }
        });
        let frame = large_frame(false);
        loop {
            while let Ok(payload) = pings.try_recv() {
                if writer.write_all(&[b"\x8a\x08", payload.as_slice()].concat()).await.is_err() {
                    return;
                }
            }
            if writer.write_all(&frame).await.is_err() {
                return;
            }
        }
    })
    .await;
    let gateway =
        websocket("ping: {interval: 1s, timeout: 1s, to: upstream}", &upstream).start().await;
    let (_, mut wire) = Handshake::to("/ws").open_raw(&gateway).await;
    tokio::time::sleep(PAUSE).await;
    for number in 0..MANY {
        let frame = wire.try_exactly(60_004).await;
        assert!(frame.is_some(), "the session ended after {number} frames");
    }
}

#[tokio::test]
async fn slow_upstream_is_not_closed_by_pings_to_the_client() {
    let (sender, mut read) = mpsc::unbounded_channel();
    let upstream = Upstream::scripted(move |mut wire, _| {
        let sender = sender.clone();
        async move {
            let head = wire.head().await;
            let mut wire = Wire::new(switch(wire, &head, "").await.into_inner());
            tokio::time::sleep(PAUSE).await;
            let mut frames = 0;
            while frames < MANY && wire.try_exactly(60_008).await.is_some() {
                frames += 1;
            }
            let _ = sender.send(frames);
        }
    })
    .await;
    let gateway =
        websocket("ping: {interval: 1s, timeout: 1s, to: client}", &upstream).start().await;
    let (_, wire) = Handshake::to("/ws").open_raw(&gateway).await;
    let (mut stream, _): (TcpStream, _) = wire.into_parts();
    let frame = large_frame(true);
    for _ in 0..MANY {
        let sent = within("room", stream.write_all(&frame)).await;
        assert!(sent.is_ok(), "the session ended");
    }
    assert_eq!(within("what the upstream read", read.recv()).await, Some(MANY));
}

#[tokio::test]
async fn user_ids_that_differ_by_whitespace_are_different_users() {
    let upstream = Upstream::echo().await;
    let gateway = websocket("max_sessions_per_user: 1, evict: oldest", &upstream)
        .top("identity: {user_id: [{query: userId}]}")
        .start()
        .await;
    let mut first = gateway.websocket("/ws?userId=v1").await;
    for other in ["v1%C2%A0", "%20v1", "v1%20", "%E2%80%83v1", "%0Av1", "v1%09", "v1%00"] {
        let _other = gateway.websocket(&format!("/ws?userId={other}")).await;
        first.send(Message::text(other)).await.expect("sent");
        assert_eq!(next(&mut first).await, Some(Message::text(other)), "{other}");
    }
}
