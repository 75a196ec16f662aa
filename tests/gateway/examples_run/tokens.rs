//! The example of a route for users with a JSON Web Token.

use crate::example::Example;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};
use tidegate_testing::{IdentityProvider, Upstream};

#[tokio::test]
async fn authentication_jwt() {
    let (chat, issuer) = (Upstream::saying("chat").await, IdentityProvider::start().await);
    let gateway = Example::from_file("examples/authentication-jwt.yaml")
        .at("127.0.0.1:3000")
        .with("127.0.0.1:4001", chat.address())
        .with("https://id.example.com/.well-known/jwks.json", issuer.jwks_url())
        .with("https://id.example.com/", issuer.issuer())
        .run_with(&[("MACHINES_SECRET", "a secret of the machines that is long enough")])
        .await;
    let of_user = |claims: Value| {
        let mut header = issuer.header("ES256");
        header["typ"] = json!("at+jwt");
        issuer.sign(header, &issuer.claims(claims))
    };
    let of_machine = |secret: &str| {
        let claims = json!({"iss": "machines", "aud": "chat", "sub": "alice", "scope": "chat:read",
            "exp": 4_000_000_000_u64});
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(json!({"alg": "HS256"})), part(claims));
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
    };
    let scope = json!({"scope": "chat:read chat:write"});
    assert_eq!(gateway.get("/health", &[]).await.status(), 200);
    for (target, token, status) in [
        ("/ws?userId=alice", of_user(scope.clone()), 200),
        ("/ws?userId=alice", of_machine("a secret of the machines that is long enough"), 200),
        ("/ws?userId=victim", of_user(scope.clone()), 403),
        ("/ws?userId=alice", of_user(json!({"scope": "mail"})), 403),
        ("/ws?userId=alice", issuer.token(scope), 401),
        ("/ws?userId=alice", of_machine("a secret of nobody here that is long enough."), 401),
    ] {
        let field = format!("Authorization: Bearer {token}");
        let answer = gateway.get(target, &[&field, "X-User-Id: victim"]).await;
        assert_eq!(answer.status(), status, "{target}: {}", answer.text());
    }
    let requests = chat.requests();
    assert_eq!(requests.len(), 3);
    for request in &requests[1..] {
        assert_eq!(request.head.only("x-user-id"), Some("alice"));
        assert_eq!(request.head.get("authorization"), None);
    }
}
