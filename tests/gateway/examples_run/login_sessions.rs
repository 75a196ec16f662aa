//! The example of sessions that live as long as the login of their user.

use crate::example::Example;
use serde_json::{Value, json};
use tidegate_testing::{Handshake, IdentityProvider, Upstream, next};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn authentication_sessions() {
    let (service, issuer) = (Upstream::echo().await, IdentityProvider::start().await);
    let admin = tidegate_testing::Admin::new();
    let gateway = Example::from_file("examples/authentication-sessions.yaml")
        .at("127.0.0.1:3000")
        .with("127.0.0.1:4009", service.address())
        .with("http://127.0.0.1:4020", issuer.issuer())
        .with("127.0.0.1:9901", admin.address())
        .with("warn: 60s", "warn: 2h")
        .run()
        .await;
    let token = issuer.token(json!({"scope": "chat:read", "sid": "s"}));
    let offered = format!("chat.v1, access_token.{token}");
    let (_, mut socket) =
        Handshake::to("/ws").set("Sec-WebSocket-Protocol", &offered).open(&gateway).await;
    let warning = match next(&mut socket).await {
        Some(Message::Text(text)) => serde_json::from_str::<Value>(&text).expect("JSON"),
        other => panic!("no warning: {other:?}"),
    };
    let id = warning["session"].as_str().expect("an id");
    let post = async |target: &str, fields: &str, body: &str| {
        let length = body.len();
        gateway
            .send(format!(
                "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\
                 Connection: close\r\n{fields}\r\n{body}"
            ))
            .await
    };
    let fresh = issuer.token(json!({"scope": "chat:read", "sid": "s"}));
    let fields = format!("Authorization: Bearer {fresh}\r\nX-Tidegate-Session: {id}\r\n");
    let renewed = post("/.tidegate/session", &fields, "").await;
    assert_eq!(renewed.status(), 200, "{}", renewed.text());
    let listed = admin.get("/sessions").await;
    assert_eq!(listed["sessions"][0]["auth.scheme"], "accounts", "{listed:#}");
    let form = format!("logout_token={}", issuer.logout_token(json!({"sid": "s"})));
    assert_eq!(post("/.tidegate/logout", "", &form).await.status(), 200);
    loop {
        match next(&mut socket).await.expect("a close frame") {
            Message::Close(frame) => {
                assert_eq!(u16::from(frame.expect("a code").code), 3000);
                break;
            }
            // The warning of the renewed login.
            other => assert!(other.is_text(), "{other:?}"),
        }
    }
}
