//! WebSockets of browsers that have logged in.

use super::browser::Browser;
use super::issuer::Issuer;
use crate::session_support::closed;
use futures_util::SinkExt;
use serde_json::json;
use tidegate_testing::{Handshake, Upstream, next};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn socket_needs_the_cookie_and_the_own_origin() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::echo().await);
    let gateway = issuer.config(&upstream).start().await;
    let browser = Browser::logged_in(&gateway, &issuer, "alice").await;
    let none = Handshake::to("/ws").set("Origin", "http://localhost");
    assert_eq!(gateway.refused(&none).await.status(), 401);
    let foreign = browser.handshake("/ws", "https://evil.example");
    let answer = gateway.refused(&foreign).await;
    assert_eq!((answer.status(), &answer.error()["error"]), (403, &json!("origin_not_allowed")));
    assert_eq!(upstream.requests().len(), 0);
    let (_, mut socket) = browser.handshake("/ws", "http://localhost").open(&gateway).await;
    socket.send(Message::text("hello")).await.expect("sent");
    assert_eq!(next(&mut socket).await, Some(Message::text("hello")));
    assert_eq!(upstream.only_request().await.head.get("cookie"), None);
}

#[tokio::test]
async fn handshake_refreshes_the_login_and_sets_the_new_cookie() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::echo().await);
    {
        let mut state = issuer.state();
        state.refreshes = true;
        state.expires_in = vec![0];
    }
    let gateway = issuer.config(&upstream).start().await;
    let browser = Browser::logged_in(&gateway, &issuer, "alice").await;
    let (head, _socket) = browser.handshake("/ws", "http://localhost").open(&gateway).await;
    assert!(head.only("set-cookie").expect("the new cookie").starts_with("tg=1."));
    assert_eq!(issuer.token_requests().len(), 2);
}

#[tokio::test]
async fn socket_ends_with_the_tokens_even_with_a_refresh_token() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::echo().await);
    {
        let mut state = issuer.state();
        state.refreshes = true;
        // The handshake refreshes the first ones.
        state.expires_in = vec![0, 3];
    }
    let gateway = issuer.config(&upstream).start().await;
    let browser = Browser::logged_in(&gateway, &issuer, "alice").await;
    let (_, mut socket) = browser.handshake("/ws", "http://localhost").open(&gateway).await;
    assert_eq!(closed(&mut socket).await, (3000, "the login has expired".to_owned()));
    assert_eq!(issuer.token_requests().len(), 2, "an open socket refreshes nothing");
}
