//! Logout: here, at the issuer, and only by pages of the same origin.

use super::browser::{Browser, LOGOUT};
use super::issuer::{CLIENT, Issuer};
use futures_util::SinkExt;
use serde_json::json;
use tidegate_testing::{Upstream, next};
use tokio_tungstenite::tungstenite::Message;

const SAME_ORIGIN: &str = "Sec-Fetch-Site: same-origin";

#[tokio::test]
async fn logout_ends_the_login_here_and_at_the_issuer() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::saying("page").await);
    let gateway = issuer.config(&upstream).start().await;
    let mut browser = Browser::logged_in(&gateway, &issuer, "alice").await;
    let copy = browser.clone();
    let answer = browser
        .send(&gateway, &format!("{LOGOUT}?next=https://evil.example"), &[SAME_ORIGIN])
        .await;
    assert_eq!(answer.status(), 303);
    let location = answer.head.only("location").expect("a location");
    let query =
        location.strip_prefix(&format!("{}/end?", issuer.provider.issuer())).expect("the issuer");
    let parameters: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let expected = [("client_id", CLIENT), ("post_logout_redirect_uri", "http://localhost/")];
    assert_eq!(parameters, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert!(browser.cookies.is_empty(), "{:?}", browser.cookies);
    assert_eq!(copy.clone().fetch(&gateway, "/").await.status(), 401, "a copy of the cookie");
    let answer = browser.send(&gateway, LOGOUT, &[SAME_ORIGIN]).await;
    assert_eq!(
        (answer.status(), answer.head.only("location")),
        (303, Some("/")),
        "logged out already"
    );
}

#[tokio::test]
async fn other_sites_cannot_log_out() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::saying("page").await);
    let gateway = issuer.config(&upstream).start().await;
    let mut browser = Browser::logged_in(&gateway, &issuer, "alice").await;
    for fields in [
        &["Sec-Fetch-Site: cross-site"][..],
        &["Sec-Fetch-Site: same-site", "Origin: http://localhost"],
        &["Origin: https://evil.example"],
        &["Origin: null"],
        &[],
    ] {
        let answer = browser.send(&gateway, LOGOUT, fields).await;
        assert_eq!(
            (answer.status(), &answer.error()["error"]),
            (403, &json!("origin_not_allowed")),
            "{fields:?}"
        );
        assert!(answer.head.get("set-cookie").is_none(), "{fields:?}");
    }
    assert_eq!(browser.fetch(&gateway, "/").await.status(), 200);
    let request = format!(
        "POST {LOGOUT} HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n{}\r\nContent-Length: 0\r\n\r\n",
        browser.header()
    );
    assert_eq!(gateway.send(request).await.status(), 303);
    let put = format!("PUT {LOGOUT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    let answer = gateway.send(put).await;
    assert_eq!((answer.status(), answer.head.only("allow")), (405, Some("GET, POST")));
}

/// The code of the close frame that ends a socket.
async fn closed(socket: &mut tidegate_testing::Socket) -> u16 {
    match next(socket).await {
        Some(Message::Close(Some(frame))) => frame.code.into(),
        other => panic!("no close frame: {other:?}"),
    }
}

#[tokio::test]
async fn logout_ends_the_sockets_of_this_login_alone() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::echo().await);
    let gateway = issuer.config(&upstream).start().await;
    let mut browser = Browser::logged_in(&gateway, &issuer, "alice").await;
    let other = Browser::logged_in(&gateway, &issuer, "alice").await;
    let (_, mut ended) = browser.handshake("/ws", "http://localhost").open(&gateway).await;
    let (_, mut kept) = other.handshake("/ws", "http://localhost").open(&gateway).await;
    assert_eq!(browser.send(&gateway, LOGOUT, &[SAME_ORIGIN]).await.status(), 303);
    assert_eq!(closed(&mut ended).await, 3000);
    kept.send(Message::text("still here")).await.expect("sent");
    assert_eq!(next(&mut kept).await, Some(Message::text("still here")));
    // Whoever logs out can log in again.
    let again = Browser::logged_in(&gateway, &issuer, "alice").await;
    again.handshake("/ws", "http://localhost").open(&gateway).await;
}

#[tokio::test]
async fn issuer_logs_a_user_out_by_back_channel_logout() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::echo().await);
    let section = "revocation: {back_channel_logout: /.tidegate/back-channel}";
    let gateway = issuer.config(&upstream).top(section).start().await;
    let mut browsers = Vec::new();
    for sid in ["one", "two"] {
        issuer.state().claims = json!({"sid": sid});
        browsers.push(Browser::logged_in(&gateway, &issuer, "alice").await);
    }
    let (_, mut ended) = browsers[0].handshake("/ws", "http://localhost").open(&gateway).await;
    let token = issuer.provider.logout_token(json!({"aud": CLIENT, "sid": "one"}));
    let body = format!("logout_token={token}");
    let request = format!(
        "POST /.tidegate/back-channel HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(gateway.send(request).await.status(), 200);
    assert_eq!(closed(&mut ended).await, 3000);
    assert_eq!(browsers[0].fetch(&gateway, "/").await.status(), 401);
    assert_eq!(browsers[0].navigate(&gateway, "/").await.status(), 302);
    assert_eq!(browsers[1].fetch(&gateway, "/").await.status(), 200);
}
