//! A route that requires a JSON Web Token admits requests with a valid one of its issuer, wherever the token is, and no
//! others; the upstream never sees it.

use futures_util::SinkExt;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};
use tidegate_testing::{
    Config, Gateway, Handshake, IdentityProvider, Upstream, next, switch, until,
};
use tokio_tungstenite::tungstenite::Message;

/// A gateway whose only route requires a token of this issuer; `more` are further keys of the scheme.
async fn guarded(issuer: &IdentityProvider, upstream: &Upstream, more: &str) -> Gateway {
    let config = Config::to(upstream).top(&issuer.authentication("accounts", more));
    config.with("require: accounts").start().await
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

/// The seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Sends a token; the status, and the reason in the access log.
async fn status_and_reason(gateway: &Gateway, path: &str, token: &str) -> (u16, Value) {
    let status = gateway.get(path, &[&bearer(token)]).await.status();
    (status, gateway.access_of(path).await["auth.reason"].clone())
}

#[tokio::test]
async fn tokens_of_the_three_algorithms_are_accepted_and_removed() {
    let (issuer, upstream) = (IdentityProvider::start().await, Upstream::saying("ok").await);
    let gateway = guarded(&issuer, &upstream, "").await;
    for algorithm in ["ES256", "RS256", "EdDSA"] {
        let token = issuer.token_by(algorithm, json!({"sub": algorithm}));
        // Verified, and from the cache.
        for _ in 0..2 {
            let path = format!("/{algorithm}");
            let answer = gateway.get(&path, &[&bearer(&token), "X-Other: kept"]).await;
            assert_eq!(answer.status(), 200, "{algorithm}: {}", answer.text());
        }
        let line = gateway.access_of(&format!("/{algorithm}")).await;
        assert_eq!(
            (&line["auth.scheme"], &line["auth.result"]),
            (&json!("accounts"), &json!("verified"))
        );
    }
    for request in upstream.requests() {
        assert_eq!(request.head.get("authorization"), None);
        assert_eq!(request.head.get("x-other"), Some("kept"));
    }
    assert_eq!(upstream.requests().len(), 6);
}

#[tokio::test]
async fn missing_and_invalid_tokens_are_challenged_as_rfc_6750_says() {
    let (issuer, upstream) = (IdentityProvider::start().await, Upstream::saying("ok").await);
    let gateway = Config::to(&upstream)
        .top(&issuer.authentication("accounts", ""))
        .with("require: {any: [accounts], claims: {scope: {contains: \"chat:read\"}}}")
        .start()
        .await;
    let answer = gateway.get("/none", &[]).await;
    assert_eq!(
        (answer.status(), &answer.error()["error"]),
        (401, &json!("authentication_required"))
    );
    assert_eq!(answer.head.only("www-authenticate"), Some("Bearer realm=\"accounts\""));
    assert_eq!(answer.head.only("cache-control"), Some("no-store"));

    let other_scheme = gateway.get("/basic", &["Authorization: Basic dTpw"]).await;
    assert_eq!(other_scheme.error()["error"], "authentication_required");

    let old = issuer.token(json!({"exp": now() - 3600}));
    let answer = gateway.get("/old", &[&bearer(&old)]).await;
    assert_eq!((answer.status(), &answer.error()["error"]), (401, &json!("authentication_failed")));
    let challenge = "Bearer realm=\"accounts\", error=\"invalid_token\", \
                     error_description=\"the token has expired\"";
    assert_eq!(answer.head.only("www-authenticate"), Some(challenge));
    let line = gateway.access_of("/old").await;
    assert_eq!(
        (&line["auth.result"], &line["auth.reason"]),
        (&json!("refused"), &json!("expired"))
    );

    for (path, scope, status) in [
        ("/none", Value::Null, 403),
        ("/words", json!("openid chat:read"), 200),
        ("/list", json!(["chat:read"]), 200),
        ("/part", json!("chat:readers"), 403),
        ("/number", json!(7), 403),
    ] {
        let token = issuer.token(json!({"scope": scope}));
        let answer = gateway.get(path, &[&bearer(&token)]).await;
        assert_eq!(answer.status(), status, "{path}");
        if status == 403 {
            assert_eq!(answer.error()["error"], "not_permitted");
            let challenge = answer.head.only("www-authenticate").unwrap_or_default().to_owned();
            assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
        }
    }
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn times_are_compared_with_the_leeway() {
    let (issuer, upstream) = (IdentityProvider::start().await, Upstream::saying("ok").await);
    let gateway = guarded(&issuer, &upstream, ", leeway: 2m").await;
    for (number, (claims, reason)) in [
        (json!({"exp": now() - 60}), None),
        (json!({"exp": now() - 180}), Some("expired")),
        (json!({"nbf": now() + 60}), None),
        (json!({"nbf": now() + 600}), Some("not_yet_valid")),
        (json!({"iat": now() + 60}), None),
        (json!({"iat": now() + 600}), Some("issued_in_future")),
        (json!({"iat": null}), None),
        (json!({"exp": now() as f64 + 0.5}), None),
        (json!({"exp": null}), Some("missing_claim")),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{number}");
        let seen = status_and_reason(&gateway, &path, &issuer.token(claims.clone())).await;
        let status = if reason.is_some() { 401 } else { 200 };
        assert_eq!(seen, (status, reason.map_or(Value::Null, Value::from)), "{claims}");
    }
}

#[tokio::test]
async fn cached_token_is_refused_once_it_has_expired() {
    let (issuer, upstream) = (IdentityProvider::start().await, Upstream::saying("ok").await);
    let gateway = guarded(&issuer, &upstream, ", leeway: 0s").await;
    // Cached by this, even if the machine is slow: the first request waits for the keys.
    let keys = issuer.token(json!({}));
    assert_eq!(gateway.get("/", &[&bearer(&keys)]).await.status(), 200);
    let expiry = now() + 3;
    let token = issuer.token(json!({"exp": expiry}));
    until("the token expires", async || {
        let sent = SystemTime::now();
        let status = gateway.get("/expiring", &[&bearer(&token)]).await.status();
        let has_expired = SystemTime::now() >= UNIX_EPOCH + std::time::Duration::from_secs(expiry);
        assert!(status == 401 || status == 200);
        assert!(status == 401 || sent < UNIX_EPOCH + std::time::Duration::from_secs(expiry));
        assert!(status == 200 || has_expired, "refused too early");
        status == 401
    })
    .await;
}

#[tokio::test]
async fn audience_must_contain_one_of_those_configured() {
    let (issuer, upstream) = (IdentityProvider::start().await, Upstream::saying("ok").await);
    let gateway = guarded(&issuer, &upstream, "").await;
    for (audience, reason) in [
        (json!("chat"), None),
        (json!(["other", "chat"]), None),
        (json!("chat "), Some("audience")),
        (json!("Chat"), Some("audience")),
        (json!("chat.example"), Some("audience")),
        (json!(["other"]), Some("audience")),
        (json!([]), Some("audience")),
        (json!(["chat", 1]), Some("invalid_claim")),
        (json!({"chat": true}), Some("invalid_claim")),
        (Value::Null, Some("missing_claim")),
    ] {
        let token = issuer.token(json!({"aud": audience}));
        let answer = gateway.get("/audience", &[&bearer(&token)]).await;
        assert_eq!(answer.status(), if reason.is_some() { 401 } else { 200 }, "{audience}");
    }
}

#[tokio::test]
async fn first_place_with_a_token_wins_and_all_are_removed() {
    let (issuer, upstream) = (IdentityProvider::start().await, Upstream::saying("ok").await);
    let from = ", from: [{header: authorization}, {header: x-token}, {cookie: session}, {query: access_token}]";
    let gateway = guarded(&issuer, &upstream, from).await;
    let (good, bad) = (issuer.token(json!({})), issuer.token(json!({"aud": "other"})));
    let good_in = |place: usize, token: &str| match place {
        0 => (String::from("/p?a=1"), bearer(token)),
        1 => (String::from("/p?a=1"), format!("X-Token: {token}")),
        2 => (String::from("/p?a=1"), format!("Cookie: a=1; session={token}; b=2")),
        _ => (format!("/p?a=1&access_token={token}"), String::from("X-None: 1")),
    };
    for place in 0..4 {
        let (target, field) = good_in(place, &good);
        assert_eq!(gateway.get(&target, &[&field]).await.status(), 200, "{target} {field}");
        let (target, field) = good_in(place, &bad);
        assert_eq!(gateway.get(&target, &[&field]).await.status(), 401, "{target} {field}");
    }
    // A bad token in an earlier place is not excused by a good one in a later place.
    let cookie = format!("Cookie: session={good}");
    assert_eq!(gateway.get("/p?a=1", &[&bearer(&bad), &cookie]).await.status(), 401);
    let both = gateway.get(&format!("/p?a=1&access_token={bad}"), &[&bearer(&good), &cookie]).await;
    assert_eq!(both.status(), 200);
    for request in upstream.requests() {
        assert_eq!(request.head.target(), "/p?a=1");
        for name in ["authorization", "x-token"] {
            assert_eq!(request.head.get(name), None);
        }
        assert!(matches!(request.head.get("cookie"), None | Some("a=1; b=2")));
    }
    assert_eq!(upstream.requests().len(), 5);
    let line = gateway.access_of("/p").await.to_string();
    assert!(!line.contains(&good[..20]), "the log has a token: {line}");
}

#[tokio::test]
async fn several_tokens_in_one_place_are_refused() {
    let (issuer, upstream) = (IdentityProvider::start().await, Upstream::saying("ok").await);
    let gateway =
        guarded(&issuer, &upstream, ", from: [{header: authorization}, {cookie: session}]").await;
    let token = issuer.token(json!({}));
    let cookies = format!("Cookie: session={token}; session={token}");
    for fields in [vec![cookies], vec![bearer(&token), bearer(&token)]] {
        let fields: Vec<_> = fields.iter().map(String::as_str).collect();
        let answer = gateway.get("/twice", &fields).await;
        assert!(matches!(answer.status(), 400 | 401), "{}", answer.status());
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[tokio::test]
async fn token_is_forwarded_where_that_is_on() {
    let (issuer, upstream) = (IdentityProvider::start().await, Upstream::saying("ok").await);
    let gateway = guarded(&issuer, &upstream, ", forward: on").await;
    let token = issuer.token(json!({}));
    assert_eq!(gateway.get("/", &[&bearer(&token)]).await.status(), 200);
    let request = upstream.only_request().await;
    assert_eq!(request.head.get("authorization"), Some(&*format!("Bearer {token}")));
}

#[tokio::test]
async fn subprotocol_token_is_removed_and_the_real_subprotocol_is_negotiated() {
    let issuer = IdentityProvider::start().await;
    let upstream = Upstream::scripted(|mut wire, recorder| async move {
        let Some(head) = wire.try_head().await else { return };
        recorder.record(&head);
        let line = match head.list("sec-websocket-protocol").as_slice() {
            [first, ..] => format!("Sec-WebSocket-Protocol: {first}\r\n"),
            [] => String::new(),
        };
        let mut socket = switch(wire, &head, &line).await;
        let _ = socket.send(Message::from("welcome")).await;
    })
    .await;
    let gateway = guarded(&issuer, &upstream, ", from: [{subprotocol: access_token.}]").await;
    let token = issuer.token(json!({}));
    for (offered, selected) in [
        (format!("chat.v1, access_token.{token}"), Some("chat.v1")),
        (format!("access_token.{token}, chat.v1"), Some("chat.v1")),
        (format!("access_token.{token},chat.v2,chat.v1"), Some("chat.v2")),
        (format!("access_token.{token}"), None),
    ] {
        let handshake = Handshake::to("/ws").set("Sec-WebSocket-Protocol", &offered);
        let (head, mut socket) = handshake.open(&gateway).await;
        assert_eq!(head.only("sec-websocket-protocol"), selected, "{offered}");
        assert_eq!(next(&mut socket).await, Some(Message::from("welcome")));
    }
    for request in upstream.requests() {
        assert!(!request.head.text.contains(&token), "{}", request.head.text);
        assert!(!request.head.text.contains("access_token"), "{}", request.head.text);
    }
    let refused = Handshake::to("/ws").set("Sec-WebSocket-Protocol", "chat.v1");
    assert_eq!(gateway.refused(&refused).await.status(), 401);
    let line = gateway.access_of("/ws").await.to_string();
    assert!(!line.contains(&token), "{line}");
    assert_eq!(upstream.connections(), 4);
}

#[tokio::test]
async fn verified_claim_is_the_user_that_the_request_must_name() {
    let (issuer, upstream) = (IdentityProvider::start().await, Upstream::saying("ok").await);
    let gateway = Config::to(&upstream)
        .top(&issuer.authentication("accounts", ""))
        .top("identity: {user_id: [{claim: sub}, {query: userId}]}")
        .with("require: {any: [accounts], user_matches: {query: userId}}")
        .start()
        .await;
    let token = issuer.token(json!({"sub": "alice"}));
    for (target, status) in [
        ("/?userId=alice", 200),
        ("/?userId=victim", 403),
        ("/?userId=alice&userId=victim", 403),
        ("/?userId=victim&userId=alice", 403),
        ("/?userId=", 403),
        ("/", 403),
        ("/?userid=alice", 403),
        ("/?userId=alice%00", 403),
        ("/?userId=%61lice", 200),
    ] {
        assert_eq!(gateway.get(target, &[&bearer(&token)]).await.status(), status, "{target}");
    }
    assert_eq!(gateway.get("/?userId=alice", &[]).await.status(), 401);
}
