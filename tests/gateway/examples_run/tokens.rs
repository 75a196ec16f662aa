//! The examples of routes for users with a JSON Web Token, and of admitted client addresses.

use crate::example::Example;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};
use tidegate_testing::{IdentityProvider, Upstream, free_port};

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

#[tokio::test]
async fn authentication_everywhere() {
    let (shop, issuer) = (Upstream::saying("shop").await, IdentityProvider::start().await);
    let gateway = Example::from_file("examples/authentication-everywhere.yaml")
        .at("127.0.0.1:3000")
        .with("127.0.0.1:4001", shop.address())
        .with("https://id.example.com/keys", issuer.jwks_url())
        .with("https://id.example.com/", issuer.issuer())
        .run()
        .await;
    let token = |claims: Value| {
        let mut all = json!({"aud": "shop", "scope": "shop"});
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        issuer.token(all)
    };
    let customer = token(json!({"role": "customer"}));
    assert_eq!(gateway.get("/public/a", &[]).await.status(), 200);
    for (target, token, field, status) in [
        ("/", &customer, "X-A: b", 200),
        ("/", &token(json!({"role": "robot"})), "X-A: b", 403),
        ("/orders?userId=alice", &customer, "X-A: b", 200),
        ("/orders?userId=bob", &customer, "X-A: b", 403),
        ("/basket", &customer, "Cookie: basket_of=alice", 200),
        ("/basket", &customer, "Cookie: basket_of=bob", 403),
        ("/reports", &customer, "X-User-Id: alice", 401),
    ] {
        let answer = gateway.get(target, &[&format!("Authorization: Bearer {token}"), field]).await;
        assert_eq!(answer.status(), status, "{target} {field}: {}", answer.text());
    }
    assert_eq!(gateway.get("/", &[]).await.status(), 401);
}

#[tokio::test]
async fn clients() {
    let service = Upstream::saying("ok").await;
    let gateway = Example::from_file("examples/clients.yaml")
        .at("127.0.0.1:3000")
        .with("127.0.0.1:3001", format!("127.0.0.1:{}", free_port()))
        .with("127.0.0.1:4001", service.address())
        .run()
        .await;
    for (target, client, status) in [
        ("/", "192.0.2.1", 200),
        ("/", "192.0.2.66", 403),
        ("/metrics", "10.0.0.1", 200),
        ("/metrics", "10.0.9.1", 403),
        ("/metrics", "192.0.2.1", 403),
    ] {
        let answer = gateway.get(target, &[&format!("X-Forwarded-For: {client}")]).await;
        assert_eq!(answer.status(), status, "{target} {client}");
    }
}

#[tokio::test]
async fn tidegate_auth() {
    let (service, issuer) = (Upstream::saying("ok").await, IdentityProvider::start().await);
    let (origin, keys) = (issuer.issuer(), issuer.jwks_url());
    let origin = origin.trim_end_matches('/');
    let notifications = service.address().to_string();
    let example = Example::from_file("tidegate-auth.yaml");
    let address = format!("127.0.0.1:{}", example.port());
    let variables = [
        ("GATEWAY_ADDRESS", &*address),
        ("PAGE_ORIGIN", origin),
        ("ISSUER_KEYS", &*keys),
        ("NOTIFICATIONS", &*notifications),
    ];
    let gateway = example.run_with(&variables).await;
    let alice = issuer.token(json!({"iss": origin, "aud": "notifications"}));
    let field = format!("Authorization: Bearer {alice}");
    for (target, fields, status) in [
        ("/api/notification?userId=alice", &[&*field][..], 200),
        ("/api/notification?userId=bob", &[&*field], 403),
        ("/api/notifications/ws?userId=alice", &[], 401),
        ("/health", &[], 200),
    ] {
        assert_eq!(gateway.get(target, fields).await.status(), status, "{target}");
    }
}
