//! The login of a session over HTTP/2 (RFC 8441) is renewed on the same connection, and ends like any other.

use crate::session_support::{RENEW, at, config, expiring, now};
use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::client::SendRequest;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use tidegate_testing::{IdentityProvider, Upstream, http2, within};

/// The frames of a session, as the server sends them.
struct Frames {
    receive: RecvStream,
    held: BytesMut,
}

impl Frames {
    async fn exactly(&mut self, count: usize) -> Bytes {
        while self.held.len() < count {
            let data = within("bytes", self.receive.data()).await.expect("more").expect("sound");
            self.receive.flow_control().release_capacity(data.len()).expect("capacity");
            self.held.extend_from_slice(&data);
        }
        self.held.split_to(count).freeze()
    }

    /// The first byte of the next frame, and its payload, which is short.
    async fn next(&mut self) -> (u8, Bytes) {
        let head = self.exactly(2).await;
        assert!(head[1] < 126, "a short frame");
        (head[0], self.exactly(head[1].into()).await)
    }
}

/// The status of a renewal over this connection, with this cookie.
async fn renew(client: &mut SendRequest<Bytes>, cookie: &str, token: &str) -> StatusCode {
    let request = Request::post(format!("http://localhost{RENEW}"))
        .header("authorization", format!("Bearer {token}"))
        .header("cookie", cookie)
        .body(())
        .expect("a request");
    let (answer, _) = client.send_request(request, true).expect("sent");
    within("an answer", answer).await.expect("an answer").status()
}

#[tokio::test]
async fn session_over_http2_is_renewed_and_ends_with_its_login() {
    let (issuer, upstream) = (IdentityProvider::start().await, Upstream::echo().await);
    let settings = "renew: {path: /.tidegate/session, warn: 1h}";
    let config = config(&issuer, &upstream, settings).listening("protocols: [h2c, h1]");
    let gateway = config.start().await;
    let mut client = http2::client(gateway.address()).await;
    // The server's settings have come when a first request is answered.
    let first = Request::get("http://localhost/").body(()).expect("a request");
    let (first, _) = client.send_request(first, true).expect("sent");
    assert_eq!(within("an answer", first).await.expect("an answer").status(), 401);
    let expires = now() + 5;
    let handshake = Request::builder()
        .method("CONNECT")
        .uri("http://localhost/ws")
        .extension(h2::ext::Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .header("authorization", format!("Bearer {}", issuer.token(expiring(expires))))
        .body(())
        .expect("a request");
    let (answer, mut send) = client.send_request(handshake, false).expect("sent");
    let answer = within("an answer", answer).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let cookie = answer.headers()["set-cookie"].to_str().expect("text").to_owned();
    let cookie = cookie.split_once(';').expect("attributes").0.to_owned();
    let mut frames = Frames { receive: answer.into_body(), held: BytesMut::new() };
    let (first, warning) = frames.next().await;
    let warning: Value = serde_json::from_slice(&warning).expect("JSON");
    assert_eq!((first, &warning["type"]), (0x81, &json!("session.expiring")));
    assert_eq!(format!("tidegate_session={}", warning["session"].as_str().expect("an id")), cookie);

    let foreign = issuer.token(json!({"sub": "mallory"}));
    assert_eq!(renew(&mut client, &cookie, &foreign).await, 403);
    let renewed = expires + 4;
    assert_eq!(renew(&mut client, &cookie, &issuer.token(expiring(renewed))).await, 200);
    assert_eq!(frames.next().await.0, 0x81, "the warning of the new expiry");
    while SystemTime::now() <= at(expires) + Duration::from_millis(500) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    send.send_data(Bytes::from_static(b"\x81\x82\0\0\0\0hi"), false).expect("sent");
    assert_eq!(frames.next().await, (0x81, Bytes::from_static(b"hi")), "beyond its first expiry");
    let (first, close) = frames.next().await;
    assert_eq!((first, &close[..2]), (0x88, &3000_u16.to_be_bytes()[..]));
    assert_eq!(&close[2..], b"the login has expired");
    assert!(SystemTime::now() >= at(renewed));
}
