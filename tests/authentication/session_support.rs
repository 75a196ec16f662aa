//! What the tests of sessions with a login share. It knows nothing of what they expect.

use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tidegate_testing::{
    Config, Gateway, Handshake, IdentityProvider, Response, Socket, Upstream, next,
};
use tokio_tungstenite::tungstenite::Message;

/// Where logins are renewed.
pub(crate) const RENEW: &str = "/.tidegate/session";

/// The seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// The instant of a time in seconds since 1970.
pub(crate) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// One upstream whose route requires tokens of this issuer, with these settings of its sessions.
pub(crate) fn config(issuer: &IdentityProvider, upstream: &Upstream, websocket: &str) -> Config {
    Config::to(upstream)
        .with("require: accounts")
        .with(&format!("websocket: {{{websocket}}}"))
        .top(&issuer.authentication("accounts", ""))
        .top("identity: {user_id: [{claim: sub}]}")
}

/// A handshake with this token.
pub(crate) fn handshake(token: &str) -> Handshake {
    Handshake::to("/ws").set("Authorization", &format!("Bearer {token}"))
}

/// A socket opened by this token.
pub(crate) async fn open(gateway: &Gateway, token: &str) -> Socket {
    handshake(token).open(gateway).await.1
}

/// A POST with these headers, each as `Name: value`.
pub(crate) async fn post(gateway: &Gateway, target: &str, fields: &[&str], body: &str) -> Response {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let length = body.len();
    gateway
        .send(format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Length: {length}\r\n{fields}\r\n{body}"
        ))
        .await
}

/// A renewal of the session with this id by this token.
pub(crate) async fn renew(gateway: &Gateway, session: &str, token: &str) -> Response {
    let bearer = format!("Authorization: Bearer {token}");
    post(gateway, RENEW, &[&bearer, &format!("X-Tidegate-Session: {session}")], "").await
}

/// Code and reason of the close frame that a client gets; other messages are skipped.
pub(crate) async fn closed(socket: &mut Socket) -> (u16, String) {
    while let Some(message) = next(socket).await {
        if let Message::Close(Some(frame)) = message {
            return (frame.code.into(), frame.reason.to_string());
        }
    }
    (1006, String::new())
}

/// The next message of text, as JSON.
pub(crate) async fn json_message(socket: &mut Socket) -> Value {
    match next(socket).await {
        Some(Message::Text(text)) => serde_json::from_str(&text).expect("JSON"),
        other => panic!("no text: {other:?}"),
    }
}

/// The id in the next message, which is the warning.
pub(crate) async fn warned_id(socket: &mut Socket) -> String {
    let warning = json_message(socket).await;
    assert_eq!(warning["type"], "session.expiring", "{warning}");
    warning["session"].as_str().expect("an id").to_owned()
}

/// Claims that expire at this time.
pub(crate) fn expiring(at: u64) -> Value {
    json!({"exp": at})
}
