//! The login of a living session is renewed in place, by its own user alone.

use crate::session_support::{
    RENEW, at, closed, config, expiring, handshake, now, open, post, renew, warned_id,
};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use futures_util::SinkExt;
use serde_json::json;
use std::time::{Duration, SystemTime};
use tidegate_testing::{
    Admin, Config, Gateway, Handshake, IdentityProvider, Response, Socket, Upstream, Wire, next,
    respond, switch,
};
use tokio_tungstenite::tungstenite::Message;

/// A warning long before each expiry, so that a loaded machine has time for the renewal.
const WARNED: &str = "renew: {path: /.tidegate/session, warn: 7s}";

/// When a token of the long test expires.
const VALID: u64 = 8;

/// A frame from a server.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u8::try_from(payload.len()) {
        Ok(short @ ..126) => frame.push(short),
        _ => {
            frame.push(126);
            frame.extend_from_slice(&u16::try_from(payload.len()).expect("short").to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// An upstream that sends numbered messages without end, each in two frames with a pause between them.
async fn counting(deflates: bool) -> Upstream {
    Upstream::scripted(move |mut wire, _| async move {
        let head = wire.head().await;
        let extension = match deflates {
            true => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
            false => "",
        };
        let socket = switch(wire, &head, extension).await;
        let mut wire = Wire::new(socket.into_inner());
        let mut compress = Compress::new(Compression::default(), false);
        for number in 0_u64.. {
            let text = format!("{{\"type\":\"number\",\"number\":{number}}}");
            let (mut payload, mut first) = (text.into_bytes(), 0x01);
            if deflates {
                let mut out = Vec::with_capacity(1024);
                compress.compress_vec(&payload, &mut out, FlushCompress::Sync).expect("deflated");
                out.truncate(out.len() - 4);
                (payload, first) = (out, 0x41);
            }
            let (begin, end) = payload.split_at(payload.len() / 2);
            if wire.try_send(frame(first, begin)).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
            if wire.try_send(frame(0x80, end)).await.is_err() {
                return;
            }
        }
    })
    .await
}

/// A client that reads messages of text, compressed or not.
struct Client {
    wire: Wire,
    inflate: Decompress,
}

impl Client {
    /// The next message, and whether it came compressed.
    async fn message(&mut self) -> (String, bool) {
        let (mut message, mut is_deflated) = (Vec::new(), false);
        loop {
            let head = self.wire.exactly(2).await;
            let length = match head[1] {
                126 => {
                    let length = self.wire.exactly(2).await;
                    usize::from(u16::from_be_bytes([length[0], length[1]]))
                }
                short => usize::from(short),
            };
            let payload = self.wire.exactly(length).await;
            let is_first = head[0] & 0x0f == 1;
            assert!(head[0] & 0x0f <= 1, "only text: {head:?} {payload:?}");
            assert_eq!(is_first, message.is_empty(), "nothing within a message");
            is_deflated |= head[0] & 0x40 != 0;
            message.extend_from_slice(&payload);
            if head[0] & 0x80 != 0 {
                break;
            }
        }
        if is_deflated {
            message.extend_from_slice(&[0, 0, 0xff, 0xff]);
            let mut text = Vec::with_capacity(4096);
            self.inflate
                .decompress_vec(&message, &mut text, FlushDecompress::Sync)
                .expect("inflated");
            message = text;
        }
        (String::from_utf8(message).expect("text"), is_deflated)
    }
}

async fn live_through_three_expiries(deflates: bool) {
    let issuer = IdentityProvider::start().await;
    let upstream = counting(deflates).await;
    let gateway = config(&issuer, &upstream, WARNED).start().await;
    let mut expiries = vec![now() + VALID];
    let token = issuer.token(expiring(expiries[0]));
    let handshake = handshake(&token);
    let handshake = match deflates {
        true => handshake.set("Sec-WebSocket-Extensions", "permessage-deflate"),
        false => handshake,
    };
    let (_, wire) = handshake.open_raw(&gateway).await;
    let mut client = Client { wire, inflate: Decompress::new(false) };
    let mut expected = 0;
    // Beyond the third expiry that it has been told.
    while expiries.len() < 3 || SystemTime::now() <= at(expiries[2] + 1) {
        let (text, is_deflated) = client.message().await;
        let message: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        if message["type"] == "session.expiring" {
            assert!(!is_deflated);
            let left = message["in"].as_u64().expect("seconds");
            assert!(left <= 7, "{message}");
            let session = message["session"].as_str().expect("an id");
            let expires = now() + VALID;
            let answer = renew(&gateway, session, &issuer.token(expiring(expires))).await;
            assert_eq!(answer.status(), 200, "{}", answer.text());
            let when = humantime::format_rfc3339_seconds(at(expires)).to_string();
            assert_eq!(json_of(&answer)["expires"], when);
            assert_eq!(answer.head.get("cache-control"), Some("no-store"));
            expiries.push(expires);
        } else {
            assert_eq!((message["number"].as_u64(), is_deflated), (Some(expected), deflates));
            expected += 1;
        }
    }
    assert!(expected > 100, "{expected} messages");
}

#[tokio::test]
async fn socket_lives_through_three_expiries_without_losing_a_message() {
    live_through_three_expiries(false).await;
}

#[tokio::test]
async fn compressed_socket_lives_through_three_expiries_without_losing_a_message() {
    live_through_three_expiries(true).await;
}

/// A session with a long time to its expiry, and its id.
async fn warned(gateway: &Gateway, issuer: &IdentityProvider) -> (Socket, String) {
    let mut socket = open(gateway, &issuer.token(json!({"scope": "chat:read chat:write"}))).await;
    let id = warned_id(&mut socket).await;
    (socket, id)
}

/// Whether the socket answers; further warnings are skipped.
async fn echoes(socket: &mut Socket) {
    socket.send(Message::text("still here")).await.expect("sent");
    loop {
        match next(socket).await {
            Some(Message::Text(text)) if text.contains("session.expiring") => {}
            other => break assert_eq!(other, Some(Message::text("still here"))),
        }
    }
}

fn json_of(answer: &Response) -> serde_json::Value {
    serde_json::from_slice(&answer.body).expect("JSON")
}

/// A warning at once: tokens are valid for an hour.
const WARNED_AT_ONCE: &str = "renew: {path: /.tidegate/session, warn: 2h}";

#[tokio::test]
async fn renewal_needs_the_id_of_the_session_and_a_credential_of_its_user() {
    let issuer = IdentityProvider::start().await;
    let upstream = Upstream::echo().await;
    let admin = Admin::new();
    let config = config(&issuer, &upstream, WARNED_AT_ONCE).top(&admin.section());
    let gateway = config.start().await;
    let (mut socket, id) = warned(&gateway, &issuer).await;
    let expires = async || admin.get("/sessions").await["sessions"][0]["expires"].clone();
    let before = expires().await;
    let token = issuer.token(json!({"exp": now() + 7200}));
    let foreign = issuer.token(json!({"sub": "mallory"}));
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    let session = format!("X-Tidegate-Session: {id}");
    for (fields, body, status, error) in [
        (vec![bearer(&token)], "", 404, "no_such_session"),
        (
            vec![bearer(&token), "X-Tidegate-Session: AAAAAAAAAAAAAAAAAAAAAA".into()],
            "",
            404,
            "no_such_session",
        ),
        (
            vec![
                bearer(&token),
                "X-Tidegate-Session: x".into(),
                format!("Cookie: tidegate_session={id}"),
            ],
            "",
            404,
            "no_such_session",
        ),
        (vec![bearer(&token)], "{\"session\": 1}", 404, "no_such_session"),
        (vec![session.clone()], "", 401, "authentication_required"),
        (vec![bearer("x.y.z"), session.clone()], "", 401, "authentication_failed"),
        (
            vec![bearer(&issuer.token(json!({"exp": now() - 3600}))), session.clone()],
            "",
            401,
            "authentication_failed",
        ),
        (vec![bearer(&foreign), session.clone()], "", 403, "not_permitted"),
        (
            vec![bearer(&token), session.clone(), "Origin: https://evil.example".into()],
            "",
            403,
            "origin_not_allowed",
        ),
    ] {
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let answer = post(&gateway, RENEW, &fields, body).await;
        assert_eq!(answer.status(), status, "{fields:?} {body}: {}", answer.text());
        assert_eq!(answer.error()["error"], error, "{fields:?} {body}");
        assert_eq!(expires().await, before, "{fields:?}");
    }
    assert_eq!(gateway.get(RENEW, &[&bearer(&token), &session]).await.status(), 405);
    echoes(&mut socket).await;
    // By the body, and from a page of the same origin.
    let body = json!({"session": id}).to_string();
    let answer = post(&gateway, RENEW, &[&bearer(&token), "Origin: http://localhost"], &body).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_ne!(expires().await, before);
    echoes(&mut socket).await;
    let lines = [gateway.access_lines(), gateway.log_lines()].concat().join("\n");
    assert!(lines.contains("foreign_user") && !lines.contains(&id), "{lines}");
    assert_eq!(upstream.requests().len(), 1, "no renewal reaches the upstream");
}

#[tokio::test]
async fn cookie_of_the_handshake_renews_the_session() {
    let issuer = IdentityProvider::start().await;
    let upstream = Upstream::echo().await;
    let settings = "renew: {path: /.tidegate/session}";
    let gateway = config(&issuer, &upstream, settings).start().await;
    let expires = now() + 4;
    let (head, mut socket) = handshake(&issuer.token(expiring(expires))).open(&gateway).await;
    let cookie = head.only("set-cookie").expect("a cookie").to_owned();
    let (pair, attributes) = cookie.split_once("; ").expect("attributes");
    assert!(pair.starts_with("tidegate_session="), "{cookie}");
    assert_eq!(attributes, format!("Path={RENEW}; HttpOnly; SameSite=Strict"));
    // Nothing is said to the client unless `warn` or `message` is written: this is its own message.
    echoes(&mut socket).await;
    let bearer = format!("Authorization: Bearer {}", issuer.token(json!({})));
    let answer = post(&gateway, RENEW, &[&bearer, &format!("Cookie: {pair}")], "").await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    while SystemTime::now() <= at(expires + 1) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    echoes(&mut socket).await;
}

#[tokio::test]
async fn service_decides_about_the_place_of_the_session_that_is_renewed() {
    let service = Upstream::answering(move |request| {
        let head = &request.head;
        let place = ["x-forwarded-method", "x-forwarded-host", "x-forwarded-uri"]
            .map(|name| head.only(name).unwrap_or_default().to_owned());
        let may_enter = head.only("cookie").is_some_and(|it| it.contains("room=7"));
        if place == ["GET", "chat.test", "/ws/7?a=b"].map(str::to_owned) && may_enter {
            let expires = format!("X-Expires: {}", now() + 600);
            return respond("200 OK", &["X-User-Id: ann", &expires], "");
        }
        respond("403 Forbidden", &[], "")
    })
    .await;
    let upstream = Upstream::echo().await;
    let gateway = Config::to(&upstream)
        .with("require: legacy")
        .with(&format!("websocket: {{renew: {{path: {RENEW}}}}}"))
        .top(&format!(
            "authentication: {{legacy: {{forward: {{url: \"http://{}/check\", user: x-user-id, \
             take: [x-user-id, x-expires], expires: x-expires}}}}}}",
            service.address()
        ))
        .start()
        .await;
    let handshake = Handshake::to("/ws/7?a=b").set("Host", "chat.test").set("Cookie", "room=7");
    let (head, mut socket) = handshake.open(&gateway).await;
    let (session, _) = head.only("set-cookie").expect("a cookie").split_once("; ").expect("more");
    for (room, status) in [("room=7", 200), ("room=8", 401)] {
        let cookie = format!("Cookie: {session}; {room}");
        let answer = post(&gateway, RENEW, &[&cookie], "").await;
        assert_eq!(answer.status(), status, "{room}: {}", answer.text());
    }
    echoes(&mut socket).await;
}

#[tokio::test]
async fn renewal_with_fewer_rights_than_the_route_requires_ends_the_session() {
    let issuer = IdentityProvider::start().await;
    let upstream = Upstream::echo().await;
    let require = "{any: [accounts], claims: {scope: {contains: \"chat:read\"}}, user_matches: {query: userId}}";
    let config = Config::to(&upstream)
        .with(&format!("require: {require}"))
        .with(&format!("websocket: {{{WARNED_AT_ONCE}}}"))
        .top(&issuer.authentication("accounts", ""))
        .top("identity: {user_id: [{claim: sub}]}");
    let gateway = config.start().await;
    let token = issuer.token(json!({"scope": "chat:read chat:write"}));
    let to = Handshake::to("/ws?userId=alice").set("Authorization", &format!("Bearer {token}"));
    let (_, mut socket) = to.open(&gateway).await;
    let id = warned_id(&mut socket).await;
    let answer = renew(&gateway, &id, &issuer.token(json!({"scope": "chat:read"}))).await;
    assert_eq!(answer.status(), 200, "fewer, and enough: {}", answer.text());
    assert_eq!(warned_id(&mut socket).await, id, "of the new expiry");
    let answer = renew(&gateway, &id, &issuer.token(json!({"scope": "chat:write"}))).await;
    assert_eq!((answer.status(), &answer.error()["error"]), (403, &json!("not_permitted")));
    let reason = "the renewed login does not allow this session";
    assert_eq!(closed(&mut socket).await, (3000, reason.to_owned()));
    let answer = renew(&gateway, &id, &token).await;
    assert_eq!(answer.status(), 404, "{}", answer.text());
}
