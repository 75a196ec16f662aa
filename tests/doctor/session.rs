//! The WebSocket opens, and does not stay.

use crate::patient::{Found, examine, frame, plain_frame, switching, ws};
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
async fn cut_as_soon_as_it_is_open() {
    opened(|wire| async move { drop(wire) }).await.is("closed-at-once").blames("address");
    opened(|wire| async move { wire.reset() }).await.is("closed-at-once");
}

#[tokio::test]
async fn closed_with_a_reason() {
    let found = opened(|mut wire| async move {
        let reason = [&1008_u16.to_be_bytes()[..], b"no such user"].concat();
        wire.send(plain_frame(CLOSE, &reason)).await;
        let _ = wire.read_to_end().await;
    })
    .await;
    found.is("closed-by-service").saw("1008").saw("no such user");
}

#[tokio::test]
async fn no_frames_behind_the_101() {
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
async fn a_service_that_does_not_answer_pings() {
    let found = opened(|mut wire| async move {
        let _ = wire.read_to_end().await;
    })
    .await;
    found.is("no-pong");
    assert_eq!(found.outcome("handshake"), "ok");
    assert_eq!(found.outcome("ping"), "failed");
}

#[tokio::test]
async fn a_service_that_talks_without_end_and_never_answers() {
    let found = opened(|mut wire| async move {
        let message = [vec![0x82, 126, 0x40, 0], vec![7; 0x4000]].concat();
        while wire.try_send(&message).await.is_ok() {}
    })
    .await;
    found.is("no-pong");
}

#[tokio::test]
async fn cut_while_idle() {
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
async fn forgotten_while_idle() {
    let found = opened(|mut wire| async move {
        pong(&mut wire).await;
        let _ = wire.read_to_end().await;
    })
    .await;
    found.is("idle-dead");
}

#[tokio::test]
async fn messages_and_pings_of_the_service_are_no_fault() {
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
