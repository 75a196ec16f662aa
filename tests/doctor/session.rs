//! The WebSocket opens and then fails.

use crate::harness::{Found, examine, frame, plain_frame, switching, ws};
use tidegate_testing::{Upstream, Wire};

const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// What the doctor says of a service that does this behind its 101.
async fn opened<F, Fut>(script: F) -> Found
where
    F: Fn(Wire) -> Fut + Send + Sync + Clone + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let server = Upstream::scripted(move |mut wire, _| {
        let script = script.clone();
        async move {
            let Some(head) = wire.try_head().await else { return };
            wire.send(switching(&head, "")).await;
            script(wire).await;
        }
    })
    .await;
    examine(ws(server.address()), &["--timeout", "1200ms"]).await
}

/// Answers the first ping.
async fn pong(wire: &mut Wire) {
    let (opcode, payload) = frame(wire).await;
    assert_eq!(opcode, PING);
    wire.send(plain_frame(PONG, &payload)).await;
}

#[tokio::test]
async fn session_cut_at_once_is_closed_at_once() {
    opened(|wire| async move { drop(wire) }).await.is("closed-at-once").blames("address");
    opened(|wire| async move { wire.reset() }).await.is("closed-at-once");
}

#[tokio::test]
async fn close_frame_of_the_service_is_closed_by_service() {
    let found = opened(|mut wire| async move {
        let reason = [&1008_u16.to_be_bytes()[..], b"no such user"].concat();
        wire.send(plain_frame(CLOSE, &reason)).await;
        let _ = wire.read_to_end().await;
    })
    .await;
    found.is("closed-by-service").saw("1008").saw("no such user");
}

#[tokio::test]
async fn invalid_frames_after_the_101_are_bad_frames() {
    let bodies: [&[u8]; 3] = [b"<html>hello</html>", &[0x81, 0x81, 1, 2, 3, 4, 5], &[0x83, 0]];
    for body in bodies {
        let found = opened(move |mut wire| async move {
            wire.send(body).await;
            let _ = wire.read_to_end().await;
        })
        .await;
        found.is("bad-frames");
    }
}

#[tokio::test]
async fn unanswered_ping_is_no_pong() {
    let found = opened(|mut wire| async move {
        let _ = wire.read_to_end().await;
    })
    .await;
    found.is("no-pong");
    assert_eq!(found.outcome("handshake"), "ok");
    assert_eq!(found.outcome("ping"), "failed");
}

#[tokio::test]
async fn endless_messages_without_a_pong_are_no_pong() {
    let found = opened(|mut wire| async move {
        let message = [vec![0x82, 126, 0x40, 0], vec![7; 0x4000]].concat();
        while wire.try_send(&message).await.is_ok() {}
    })
    .await;
    found.is("no-pong");
}

#[tokio::test]
async fn session_cut_while_idle_is_idle_cut() {
    let found = opened(|mut wire| async move { pong(&mut wire).await }).await;
    found.is("idle-cut");
    assert_eq!(found.outcome("ping"), "ok");
    assert_eq!(found.outcome("idle"), "failed");
    let found = opened(|mut wire| async move {
        pong(&mut wire).await;
        wire.send(plain_frame(CLOSE, &1001_u16.to_be_bytes())).await;
        let _ = wire.read_to_end().await;
    })
    .await;
    found.is("idle-cut").saw("1001");
}

#[tokio::test]
async fn session_that_stops_answering_while_idle_is_idle_dead() {
    let found = opened(|mut wire| async move {
        pong(&mut wire).await;
        let _ = wire.read_to_end().await;
    })
    .await;
    found.is("idle-dead");
}

#[tokio::test]
async fn messages_and_pings_of_the_service_are_healthy() {
    let found = opened(|mut wire| async move {
        wire.send([vec![0x82, 126, 0x10, 0], vec![7; 0x1000]].concat()).await;
        wire.send(plain_frame(PING, b"are you there")).await;
        pong(&mut wire).await;
        assert_eq!(frame(&mut wire).await, (PONG, b"are you there".to_vec()));
        pong(&mut wire).await;
        assert_eq!(frame(&mut wire).await.0, CLOSE);
    })
    .await;
    found.is_healthy();
}
