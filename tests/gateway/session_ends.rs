//! A session ends with an accurate close code on both sides.

use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::time::{Duration, Instant};
use tidegate_testing::{Config, Gateway, Handshake, Socket, Upstream, next, pool, until, within};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

/// An upstream that echoes, and tells each close code that it gets (0 for none).
async fn telling() -> (Upstream, mpsc::UnboundedReceiver<u16>) {
    let (sender, codes) = mpsc::unbounded_channel();
    let upstream = Upstream::websocket(move |mut socket, _| {
        let sender = sender.clone();
        async move {
            let mut code = 0;
            while let Some(Ok(message)) = socket.next().await {
                match message {
                    Message::Close(frame) => code = frame.map_or(1005, |it| it.code.into()),
                    Message::Text(_) => drop(socket.send(message).await),
                    _ => {}
                }
            }
            let _ = sender.send(code);
        }
    })
    .await;
    (upstream, codes)
}

/// The code that a client gets; 1006 when the connection just ends.
async fn closed(socket: &mut Socket) -> u16 {
    while let Some(message) = next(socket).await {
        if let Message::Close(frame) = message {
            while next(socket).await.is_some() {}
            return frame.map_or(1005, |frame| frame.code.into());
        }
    }
    1006
}

async fn end(gateway: &Gateway) -> Value {
    gateway.access("the session's end", |line| line["event"] == "websocket.close").await
}

fn ws(settings: &str, upstream: &Upstream) -> Config {
    Config::to(upstream).with(&format!("websocket: {{{settings}}}"))
}

#[tokio::test]
async fn sigterm_closes_1000_sessions_cleanly_spread_over_time() {
    let (upstream, mut codes) = telling().await;
    let config = Config::to(&upstream)
        .top("drain: {code: 1012, spread: 2s}")
        .top("shutdown: {grace: 15s}")
        .top("access_log: off");
    let mut gateway = config.start().await;
    let mut sockets = Vec::new();
    for _ in 0..1000 {
        sockets.push(gateway.websocket("/ws").await);
    }
    gateway.signal(Signal::SIGTERM);
    let ends = join_all(sockets.into_iter().map(|mut socket| async move {
        let code = closed(&mut socket).await;
        (code, Instant::now())
    }));
    let ends = within("all closes", ends).await;
    assert!(ends.iter().all(|(code, _)| *code == 1012), "none is cut");
    let first = ends.iter().map(|(_, at)| *at).min().expect("closes");
    let last = ends.iter().map(|(_, at)| *at).max().expect("closes");
    assert!(last - first > Duration::from_secs(1), "{:?}", last - first);
    assert_eq!(gateway.exited(Duration::from_secs(10)).await.code(), Some(0));
    for _ in 0..1000 {
        assert_eq!(within("the upstream's close", codes.recv()).await, Some(1012));
    }
}

#[tokio::test]
async fn injected_close_frame_waits_for_the_end_of_the_message() {
    let upstream = Upstream::scripted(|mut wire, _| async move {
        let head = wire.head().await;
        let socket = tidegate_testing::switch(wire, &head, "").await;
        let mut wire = tidegate_testing::Wire::new(socket.into_inner());
        // A fragment, and the half of another.
        wire.send(b"\x01\x02ab\x00\x04cd").await;
        // In this direction nothing is under way: the gateway's close frame comes at once.
        wire.exactly(6).await;
        wire.send(b"ef").await;
        wire.send(b"\x80\x01g\x81\x04late").await;
        wire.read_to_end().await;
    })
    .await;
    let mut gateway = Config::to(&upstream).top("drain: {spread: 0s}").start().await;
    let (_, mut wire) = Handshake::to("/ws").open_raw(&gateway).await;
    assert_eq!(wire.exactly(8).await, b"\x01\x02ab\x00\x04cd");
    gateway.signal(Signal::SIGTERM);
    let rest = wire.exactly(2 + 3 + 4).await;
    assert_eq!(rest[..5], *b"ef\x80\x01g");
    assert_eq!((rest[5], &rest[7..]), (0x88, &1012_u16.to_be_bytes()[..]));
    let length = usize::from(rest[6]) - 2;
    wire.exactly(length).await;
    wire.send(b"\x88\x82\0\0\0\0\x03\xf4").await;
    assert!(wire.is_ended().await, "nothing follows a close frame");
    assert_eq!(gateway.exited(Duration::from_secs(10)).await.code(), Some(0));
}

#[tokio::test]
async fn peers_that_stay_connected_after_closing_are_disconnected() {
    let upstream = Upstream::scripted(|mut wire, _| async move {
        let head = wire.head().await;
        let socket = tidegate_testing::switch(wire, &head, "").await;
        let mut wire = tidegate_testing::Wire::new(socket.into_inner());
        wire.send(b"\x88\x02\x03\xe8").await;
        wire.read_to_end().await;
    })
    .await;
    let gateway = Config::to(&upstream).start().await;
    let (_, mut wire) = Handshake::to("/ws").open_raw(&gateway).await;
    assert_eq!(wire.exactly(4).await, b"\x88\x02\x03\xe8");
    wire.send(b"\x88\x82\0\0\0\0\x03\xe8").await;
    assert!(wire.is_ended().await);
    assert_eq!(end(&gateway).await["websocket.close.initiator"], "upstream");
}

#[tokio::test]
async fn idle_timeout_and_max_lifetime_close_with_1001() {
    for (settings, initiator) in
        [("idle_timeout: 300ms", "idle"), ("max_lifetime: 300ms", "lifetime")]
    {
        let (upstream, mut codes) = telling().await;
        let gateway = ws(settings, &upstream).start().await;
        let mut socket = gateway.websocket("/ws").await;
        assert_eq!(closed(&mut socket).await, 1001, "{settings}");
        assert_eq!(within("the upstream's close", codes.recv()).await, Some(1001));
        let line = end(&gateway).await;
        assert_eq!(line["websocket.close.initiator"], initiator);
        assert_eq!(line["websocket.close.code"], 1001);
    }
}

#[tokio::test]
async fn oversized_message_is_not_forwarded_and_closes_with_1009() {
    for (settings, frames) in [
        ("max_frame_size: 10B", &[Message::text("x".repeat(11))][..]),
        ("max_message_size: 10B", &[Message::text("x".repeat(11))]),
    ] {
        let (upstream, mut codes) = telling().await;
        let gateway = ws(settings, &upstream).start().await;
        let mut socket = gateway.websocket("/ws").await;
        socket.send(Message::text("0123456789")).await.expect("sent");
        assert_eq!(next(&mut socket).await, Some(Message::text("0123456789")), "{settings}");
        for frame in frames {
            socket.send(frame.clone()).await.expect("sent");
        }
        assert_eq!(closed(&mut socket).await, 1009, "{settings}");
        assert_eq!(within("the upstream's close", codes.recv()).await, Some(1009));
        let line = end(&gateway).await;
        assert_eq!(line["websocket.close.initiator"], "limit");
        assert_eq!(line["websocket.frames_sent"], 2, "an echo and a close frame: {line}");
    }
}

#[tokio::test]
async fn fragments_count_together_under_every_split() {
    let (upstream, mut codes) = telling().await;
    let gateway = ws("max_message_size: 10B", &upstream).start().await;
    // Eight bytes, a ping, then three more: only then it is too much.
    let frames = b"\x01\x88\0\0\0\0abcdefgh\x89\x80\0\0\0\0\x80\x83\0\0\0\0ijk";
    for split in [1, 7, frames.len()] {
        let (_, mut wire) = Handshake::to("/ws").open_raw(&gateway).await;
        for part in frames.chunks(split) {
            if wire.try_send(part).await.is_err() {
                break;
            }
        }
        assert_eq!(within("the upstream's close", codes.recv()).await, Some(1009), "{split}");
        let got = wire.read_to_end().await;
        assert!(got.windows(4).any(|part| part[0] == 0x88 && part[2..] == 1009_u16.to_be_bytes()));
        assert!(!got.windows(3).any(|part| part == b"ijk"), "it never arrives, nor is it echoed");
    }
}

#[tokio::test]
async fn message_rate_over_the_limit_closes_with_1008() {
    let (upstream, _codes) = telling().await;
    let gateway = ws("max_messages_per_second: 5", &upstream).start().await;
    let mut socket = gateway.websocket("/ws").await;
    for _ in 0..50 {
        if socket.send(Message::text("x")).await.is_err() {
            break;
        }
    }
    assert_eq!(closed(&mut socket).await, 1008);
}

#[tokio::test]
async fn protocol_violation_closes_only_strict_sessions_with_1002() {
    // A frame of a client's that is not masked.
    let unmasked = b"\x81\x02hi";
    let strict = |strict: bool| format!("strict: {strict}");
    let (upstream, mut codes) = telling().await;
    let gateway = ws(&strict(true), &upstream).start().await;
    let (_, mut wire) = Handshake::to("/ws").open_raw(&gateway).await;
    wire.send(unmasked).await;
    let got = wire.exactly(4).await;
    assert_eq!((got[0], &got[2..]), (0x88, &1002_u16.to_be_bytes()[..]));
    assert_eq!(within("the upstream's close", codes.recv()).await, Some(1002));

    let (sender, mut heard) = mpsc::unbounded_channel();
    let upstream = Upstream::scripted(move |mut wire, _| {
        let sender = sender.clone();
        async move {
            let head = wire.head().await;
            let socket = tidegate_testing::switch(wire, &head, "").await;
            let mut wire = tidegate_testing::Wire::new(socket.into_inner());
            let _ = sender.send(wire.exactly(4).await);
        }
    })
    .await;
    let gateway = ws(&strict(false), &upstream).start().await;
    let (_, mut wire) = Handshake::to("/ws").open_raw(&gateway).await;
    wire.send(unmasked).await;
    assert_eq!(within("the bytes", heard.recv()).await, Some(unmasked.to_vec()));
    drop(wire);
    assert_eq!(end(&gateway).await["websocket.protocol_errors"], 1);
}

#[tokio::test]
async fn session_limits_are_exact_under_concurrency_and_freed_on_close() {
    let (upstream, _codes) = telling().await;
    let config = ws("max_sessions: 30, max_sessions_per_user: 5", &upstream)
        .top("identity: {user_id: [{query: userId}]}");
    let gateway = config.start().await;
    let open = |number: usize| {
        let gateway = &gateway;
        async move {
            let mut wire = gateway.connect().await;
            let user = number % 10;
            wire.send(Handshake::to(&format!("/ws?userId=user-{user}")).bytes()).await;
            let head = wire.head().await;
            (user, head.status(), wire)
        }
    };
    let answers = join_all((0..100).map(open)).await;
    let opened: Vec<_> = answers.iter().filter(|(_, status, _)| *status == Some(101)).collect();
    assert_eq!(opened.len(), 30);
    for user in 0..10 {
        assert!(opened.iter().filter(|(of, ..)| *of == user).count() <= 5);
    }
    assert!(answers.iter().all(|(_, status, _)| matches!(status, Some(101 | 429))));
    drop(answers);
    let free = async || {
        let (_, status, _wire) = open(1).await;
        status == Some(101)
    };
    until("a place", free).await;
}

#[tokio::test]
async fn oldest_session_is_closed_where_the_route_evicts() {
    let (upstream, mut codes) = telling().await;
    let gateway = ws("max_sessions_per_address: 1, evict: oldest", &upstream).start().await;
    let mut old = gateway.websocket("/ws").await;
    let mut new = gateway.websocket("/ws").await;
    assert_eq!(closed(&mut old).await, 1008);
    assert_eq!(within("the upstream's close", codes.recv()).await, Some(1008));
    new.send(Message::text("hello")).await.expect("sent");
    assert_eq!(next(&mut new).await, Some(Message::text("hello")));
}

/// An upstream that accepts handshakes with `good` in them, and leaves or answers 401 the others.
async fn choosy() -> Upstream {
    Upstream::scripted(|mut wire, _| async move {
        let head = wire.head().await;
        if head.target().contains("slow") {
            wire.read_to_end().await;
        } else if head.target().contains("good") {
            let mut socket = tidegate_testing::switch(wire, &head, "").await;
            while let Some(Ok(message)) = socket.next().await {
                let _ = socket.send(message).await;
            }
        } else {
            wire.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await
}

#[tokio::test]
async fn handshake_refused_by_the_upstream_evicts_nobody() {
    let upstream = choosy().await;
    let gateway = ws("max_sessions_per_user: 1, evict: oldest", &upstream)
        .top("identity: {user_id: [{query: userId}]}")
        .start()
        .await;
    let mut own = gateway.websocket("/good?userId=user-1").await;
    for _ in 0..3 {
        let stranger = gateway.refused(&Handshake::to("/ws?userId=user-1")).await;
        assert_eq!(stranger.status(), 401);
    }
    own.send(Message::text("still here")).await.expect("sent");
    assert_eq!(next(&mut own).await, Some(Message::text("still here")));
    let _new = gateway.websocket("/good?userId=user-1").await;
    assert_eq!(closed(&mut own).await, 1008, "one that is accepted evicts");
}

#[tokio::test]
async fn handshakes_in_flight_are_bounded_without_blocking_users() {
    let upstream = choosy().await;
    let gateway = ws("max_sessions_per_user: 2", &upstream)
        .top("identity: {user_id: [{query: userId}]}")
        .start()
        .await;
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut wire = gateway.connect().await;
        wire.send(Handshake::to("/slow?userId=user-1").bytes()).await;
        slow.push(wire);
        until("a handshake", async || upstream.connections() == slow.len()).await;
    }
    let _own = gateway.websocket("/good?userId=user-1").await;
    let oldest = slow[0].response().await;
    assert_eq!((oldest.status(), &oldest.error()["error"]), (429, &"too_many_handshakes".into()));
    let _second = gateway.websocket("/good?userId=user-1").await;
    let third = gateway.refused(&Handshake::to("/good?userId=user-1")).await;
    assert_eq!((third.status(), &third.error()["error"]), (429, &"too_many_sessions".into()));
}

#[tokio::test]
async fn handshake_over_the_limit_when_accepted_is_answered_429() {
    let (sender, mut codes) = mpsc::unbounded_channel();
    let (release, released) = tokio::sync::watch::channel(false);
    let upstream = Upstream::scripted(move |mut wire, _| {
        let (sender, mut released) = (sender.clone(), released.clone());
        async move {
            let head = wire.head().await;
            let _ = released.wait_for(|released| *released).await;
            let mut socket = tidegate_testing::switch(wire, &head, "").await;
            while let Some(Ok(message)) = socket.next().await {
                if let Message::Close(Some(frame)) = message {
                    let _ = sender.send(u16::from(frame.code));
                }
            }
        }
    })
    .await;
    let gateway = ws("max_sessions: 1", &upstream).start().await;
    let mut wires = [gateway.connect().await, gateway.connect().await];
    for wire in &mut wires {
        wire.send(Handshake::to("/ws").bytes()).await;
    }
    until("both handshakes", async || upstream.connections() == 2).await;
    release.send(true).expect("released");
    let [mut first, mut second] = wires;
    let (first, second) = (first.head().await, second.head().await);
    let mut statuses = [first.status(), second.status()];
    statuses.sort();
    assert_eq!(statuses, [Some(101), Some(429)]);
    assert_eq!(within("the upstream's close", codes.recv()).await, Some(1008));
}

#[tokio::test]
async fn pongs_to_gateway_pings_are_not_forwarded() {
    let (sender, mut seen) = mpsc::unbounded_channel();
    let upstream = Upstream::websocket(move |mut socket, _| {
        let sender = sender.clone();
        async move {
            let _ = socket.send(Message::Ping("mine".into())).await;
            while let Some(Ok(message)) = socket.next().await {
                let _ = sender.send(message);
            }
        }
    })
    .await;
    let gateway = ws("ping: {interval: 1s, timeout: 5s}", &upstream).start().await;
    let mut socket = gateway.websocket("/ws").await;
    let mut pings = 0;
    while pings < 2 {
        match next(&mut socket).await {
            // tungstenite answers them when it is next used.
            Some(Message::Ping(_)) => pings += 1,
            other => panic!("{other:?}"),
        }
    }
    socket.send(Message::text("done")).await.expect("sent");
    let mut messages = Vec::new();
    loop {
        let message = within("a message", seen.recv()).await.expect("a message");
        if message == Message::text("done") {
            break;
        }
        messages.push(message);
    }
    assert_eq!(messages, [Message::Pong("mine".into())], "only what it asked for");
}

#[tokio::test]
async fn unresponsive_client_is_detected_and_its_upstream_closed() {
    let (upstream, mut codes) = telling().await;
    let gateway = ws("ping: {interval: 1s, timeout: 1s}", &upstream).start().await;
    // It neither reads nor answers, as a frozen process would.
    let (_, _frozen) = Handshake::to("/ws").open_raw(&gateway).await;
    assert_eq!(within("the upstream's close", codes.recv()).await, Some(1001));
    let line = end(&gateway).await;
    assert_eq!(line["websocket.close.initiator"], "network");
    assert!(line["websocket.close.reason"].to_string().contains("no ping"), "{line}");
}

#[tokio::test]
async fn unresponsive_upstream_is_detected_and_its_client_closed() {
    let upstream = Upstream::scripted(|mut wire, _| async move {
        let head = wire.head().await;
        let _frozen = tidegate_testing::switch(wire, &head, "").await;
        std::future::pending::<()>().await;
    })
    .await;
    let gateway = ws("ping: {interval: 1s, timeout: 1s, to: upstream}", &upstream).start().await;
    // By hand: tungstenite does not know 1014, which IANA has registered.
    let (_, mut wire) = Handshake::to("/ws").open_raw(&gateway).await;
    let frame = wire.exactly(4).await;
    assert_eq!((frame[0], &frame[2..]), (0x88, &1014_u16.to_be_bytes()[..]));
    wire.send(b"\x88\x82\0\0\0\0\x03\xf6").await;
    assert_eq!(end(&gateway).await["websocket.close.initiator"], "network");
}

#[tokio::test]
async fn reload_keeps_drains_or_closes_sessions_by_policy() {
    let (first, _codes) = telling().await;
    let (second, _more) = telling().await;
    let config = |policy: &str, changed: bool| {
        let upstream = if changed { "second" } else { "first" };
        Config::new()
            .top("drain: {spread: 100ms}")
            .upstream("first", &[first.address()])
            .upstream("second", &[second.address()])
            .route("other", "path_prefix: /other", "first")
            .with("websocket: {on_change: close}")
            .route("changing", "path_prefix: /changing", upstream)
            .with(&format!("websocket: {{on_change: {policy}}}"))
    };
    for policy in ["keep", "drain", "close"] {
        let gateway = config(policy, false).start().await;
        let mut other = gateway.websocket("/other").await;
        let mut socket = gateway.websocket("/changing").await;
        let mark = gateway.mark();
        gateway.rewrite(&config(policy, true));
        let said = gateway.says(mark, "reloaded").await;
        assert!(said.contains("1 sessions affected"), "{said}");
        if policy == "keep" {
            socket.send(Message::text("still here")).await.expect("sent");
            assert_eq!(next(&mut socket).await, Some(Message::text("still here")));
        } else {
            assert_eq!(closed(&mut socket).await, 1012, "{policy}");
            assert_eq!(end(&gateway).await["websocket.close.initiator"], "reload");
        }
        other.send(Message::text("untouched")).await.expect("sent");
        assert_eq!(next(&mut other).await, Some(Message::text("untouched")));
    }
}

#[tokio::test]
async fn removed_endpoint_closes_only_its_sessions() {
    let (first, _codes) = telling().await;
    let (second, _more) = telling().await;
    let config = |endpoints: &[std::net::SocketAddr]| {
        Config::new()
            .upstream("pool", endpoints)
            .route("all", "path_prefix: /", "pool")
            .with("websocket: {on_change: close}")
    };
    let both = [first.address(), second.address()];
    let gateway = config(&both).start().await;
    let mut sockets = [gateway.websocket("/a").await, gateway.websocket("/b").await];
    let mark = gateway.mark();
    gateway.rewrite(&config(&both[..1]));
    let said = gateway.says(mark, "reloaded").await;
    assert!(said.contains("1 sessions affected"), "{said}");
    let line = end(&gateway).await;
    assert_eq!(line["upstream.address"], second.address().to_string());
    let gone = usize::from(line["url.path"] == "/b");
    assert_eq!(closed(&mut sockets[gone]).await, 1012);
    let left = &mut sockets[1 - gone];
    left.send(Message::text("still here")).await.expect("sent");
    assert_eq!(next(left).await, Some(Message::text("still here")));
}

#[tokio::test]
async fn handshake_ended_by_the_gateway_does_not_count_as_failure() {
    let (a, b) = (choosy().await, choosy().await);
    let gateway = pool(&[&a, &b], &["ejection: {server_errors: 1, max_percent: 100}"])
        .with("websocket: {max_sessions_per_user: 1}")
        .top("identity: {user_id: [{query: userId}]}")
        .start()
        .await;
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut wire = gateway.connect().await;
        wire.send(Handshake::to("/slow?userId=user-1").bytes()).await;
        slow.push(wire);
        let count = slow.len();
        until("a handshake", async || a.connections() + b.connections() == count).await;
    }
    for wire in &mut slow[..4] {
        let answer = wire.response().await;
        assert_eq!(
            (answer.status(), &answer.error()["error"]),
            (429, &"too_many_handshakes".into())
        );
    }
    let line = gateway.access("a refusal", |line| line["http.response.status_code"] == 429).await;
    let error = line["error.message"].as_str().expect("an error");
    assert!(error.starts_with("the gateway ended the WebSocket handshake (limit): "), "{error}");
    assert!(!gateway.log_lines().iter().any(|line| line.contains("is ejected")));
    let _own = gateway.websocket("/good?userId=user-2").await;
}
