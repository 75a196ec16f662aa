//! A session ends with the credential that opened it.

use crate::session_support::{at, closed, config, expiring, handshake, now, open};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use std::time::SystemTime;
use tidegate_testing::{Admin, Config, IdentityProvider, Upstream, cli, next, within};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

/// An upstream that echoes, and reports each close code that it gets.
async fn reporting() -> (Upstream, mpsc::UnboundedReceiver<u16>) {
    let (sender, codes) = mpsc::unbounded_channel();
    let upstream = Upstream::websocket(move |mut socket, _| {
        let sender = sender.clone();
        async move {
            while let Some(Ok(message)) = socket.next().await {
                match message {
                    Message::Close(frame) => {
                        let _ = sender.send(frame.map_or(1005, |frame| frame.code.into()));
                    }
                    Message::Text(_) => drop(socket.send(message).await),
                    _ => {}
                }
            }
        }
    })
    .await;
    (upstream, codes)
}

#[tokio::test]
async fn session_closes_when_its_login_has_expired() {
    let issuer = IdentityProvider::start().await;
    for (settings, code, grace) in [("", 3000, 0), ("on_expiry: {code: 4403, grace: 2s}", 4403, 2)]
    {
        let (upstream, mut codes) = reporting().await;
        let gateway = config(&issuer, &upstream, settings).start().await;
        let expires = now() + 3;
        let mut socket = open(&gateway, &issuer.token(expiring(expires))).await;
        let mut lasting = open(&gateway, &issuer.token(json!({}))).await;
        assert_eq!(closed(&mut socket).await, (code, "the login has expired".to_owned()));
        assert!(SystemTime::now() >= at(expires + grace), "not before");
        assert_eq!(within("the upstream's close", codes.recv()).await, Some(code));
        let line = gateway.access("the end", |line| line["event"] == "websocket.close").await;
        assert_eq!(line["websocket.close.initiator"], "expiry");
        assert_eq!(line["websocket.close.code"], code);
        assert_eq!(line["websocket.close.reason"], "the login has expired");
        assert_eq!((&line["user.id"], &line["auth.scheme"]), (&json!("alice"), &json!("accounts")));
        lasting.send(Message::text("still here")).await.expect("sent");
        assert_eq!(next(&mut lasting).await, Some(Message::text("still here")));
    }
}

#[tokio::test]
async fn client_that_reads_nothing_is_cut_off_when_its_login_has_expired() {
    let issuer = IdentityProvider::start().await;
    // Sends until the socket of the client is full.
    let upstream = Upstream::websocket(|mut socket, _| async move {
        let message = Message::binary(vec![0; 65536]);
        while socket.send(message.clone()).await.is_ok() {}
    })
    .await;
    let gateway = config(&issuer, &upstream, "").start().await;
    let (_, wire) = handshake(&issuer.token(expiring(now() + 2))).open_raw(&gateway).await;
    let line = gateway.access("the end", |line| line["event"] == "websocket.close").await;
    assert_eq!(line["websocket.close.initiator"], "expiry");
    drop(wire);
}

#[tokio::test]
async fn session_is_listed_with_its_login() {
    let issuer = IdentityProvider::start().await;
    let (upstream, _codes) = reporting().await;
    let admin = Admin::new();
    let gateway = config(&issuer, &upstream, "").top(&admin.section()).start().await;
    let expires = now() + 3600;
    let _socket = open(&gateway, &issuer.token(expiring(expires))).await;
    let listed = admin.get("/sessions").await;
    let session = &listed["sessions"][0];
    let when = humantime::format_rfc3339_seconds(at(expires)).to_string();
    assert_eq!(session["user.id"], "alice");
    assert_eq!(session["user.id.verified"], true);
    assert_eq!(session["auth.scheme"], "accounts");
    assert_eq!(session["expires"], when);
    let table = admin.cli(gateway.folder(), &["sessions"]).await;
    for word in ["LOGIN", "EXPIRES", "accounts", &when] {
        assert!(table.stdout.contains(word), "{}", table.all());
    }
}

#[tokio::test]
async fn other_close_codes_and_renewal_without_a_login_are_refused_at_their_line() {
    let folder = tempfile::TempDir::new().expect("a folder");
    for (settings, at, reason) in [
        ("on_expiry: {code: 1000}", "on_expiry.code", "must be 1008 (policy violation) or a code"),
        ("on_expiry: {code: 5000}", "on_expiry.code", "from 3000 to 4999, not `5000`"),
        ("on_expiry: {kode: 3000}", "on_expiry", "did you mean `code`"),
        ("renew: {path: /renew}", "websocket.renew", "needs `require`"),
    ] {
        let config = Config::to_address("127.0.0.1:1").with(&format!("websocket: {{{settings}}}"));
        let text = config.yaml(18080);
        std::fs::write(folder.path().join("tidegate.yaml"), &text).expect("a file");
        let run = cli(folder.path(), &["check", "--config", "tidegate.yaml"], &[]).await;
        assert_eq!(run.code, Some(78), "{settings}: {}", run.all());
        let line = text.lines().position(|line| line.contains("websocket:")).expect("a line") + 1;
        for part in [format!("tidegate.yaml:{line}:"), at.to_owned(), reason.to_owned()] {
            assert!(run.all().contains(&part), "{settings}: {part}: {}", run.all());
        }
    }
}
