//! The verified user is the user everywhere: in limits, in headers to the upstream, in the log, in the cache. What a
//! client merely says is not.

use serde_json::json;
use tidegate_testing::{Config, Gateway, Handshake, IdentityProvider, Upstream, respond};

const IDENTITY: &str = "identity: {user_id: [{claim: sub}, {query: userId}]}";

async fn gateway(issuer: &IdentityProvider, upstream: &Upstream, more: &str) -> Gateway {
    let mut config = Config::new()
        .top(&issuer.authentication("accounts", ""))
        .top(IDENTITY)
        .upstream("service", &[upstream.address()])
        .route("private", "path_prefix: /private", "service")
        .with("require: accounts");
    for line in more.lines().filter(|line| !line.is_empty()) {
        config = config.with(line);
    }
    config.route("open", "path_prefix: /", "service").start().await
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

#[tokio::test]
async fn claimed_user_id_counts_only_where_no_identity_is_verified() {
    let issuer = IdentityProvider::start().await;
    let upstream = Upstream::saying("ok").await;
    let gateway = gateway(&issuer, &upstream, "").await;
    let alice = bearer(&issuer.token(json!({})));
    assert_eq!(gateway.get("/private?userId=victim", &[&alice]).await.status(), 200);
    let line = gateway.access_of("/private").await;
    assert_eq!(line["user.id"], "alice");
    assert_eq!(line["user.id.source"], "claim");
    assert_eq!(line["user.id.verified"], true);
    assert_eq!(line["auth.scheme"], "accounts");
    assert_eq!(line["auth.result"], "verified");
    gateway.get("/open?userId=victim", &[&alice]).await;
    let line = gateway.access_of("/open").await;
    assert_eq!((&line["user.id"], &line["user.id.verified"]), (&json!("victim"), &json!(false)));
    assert!(line.get("auth.result").is_none(), "{line}");
    gateway.get("/private/refused?userId=victim", &[]).await;
    let line = gateway.access_of("/private/refused").await;
    assert_eq!((&line["user.id"], &line["user.id.verified"]), (&json!("victim"), &json!(false)));
    assert_eq!(
        (&line["auth.result"], &line["auth.reason"]),
        (&json!("missing"), &json!("missing"))
    );
}

#[tokio::test]
async fn claims_fill_headers_and_a_forged_header_is_replaced_or_removed() {
    let issuer = IdentityProvider::start().await;
    let upstream = Upstream::saying("ok").await;
    let headers =
        "headers: {request: {set: {X-User: \"{user.id}\", X-Tenant: \"{claim.tenant}\"}}}";
    let gateway = gateway(&issuer, &upstream, headers).await;
    let forged = ["X-User: root", "X-Tenant: all", "X_Tenant: all"];
    let with = bearer(&issuer.token(json!({"tenant": "t1"})));
    gateway.get("/private", &[&forged[..], &[&with]].concat()).await;
    let request = upstream.request(0).await.head;
    assert_eq!(request.only("x-user"), Some("alice"));
    assert_eq!(request.only("x-tenant"), Some("t1"));
    assert_eq!(request.only("x_tenant"), None);
    assert_eq!(request.only("authorization"), None, "the token is removed");
    let without = bearer(&issuer.token(json!({})));
    gateway.get("/private", &[&forged[..], &[&without]].concat()).await;
    assert_eq!(upstream.request(1).await.head.only("x-tenant"), None);
}

#[tokio::test]
async fn identity_without_the_claim_does_not_let_the_client_name_a_user() {
    let issuer = IdentityProvider::start().await;
    let upstream = Upstream::saying("ok").await;
    let headers = "headers: {request: {set: {X-User: \"{user.id}\"}}}";
    let gateway = gateway(&issuer, &upstream, headers).await;
    let token = bearer(&issuer.token(json!({"sub": null})));
    assert_eq!(gateway.get("/private?userId=victim", &[&token]).await.status(), 200);
    assert_eq!(upstream.only_request().await.head.only("x-user"), None);
    let line = gateway.access_of("/private").await;
    assert_eq!((&line["auth.result"], line.get("user.id")), (&json!("verified"), None));
}

#[tokio::test]
async fn user_named_in_the_request_must_be_the_verified_one() {
    let issuer = IdentityProvider::start().await;
    let upstream = Upstream::echo().await;
    let require = "require: {any: [accounts], user_matches: {query: userId}}";
    let gateway = Config::new()
        .top(&issuer.authentication("accounts", ""))
        .top(IDENTITY)
        .upstream("service", &[upstream.address()])
        .route("private", "path_prefix: /private", "service")
        .with(require)
        .start()
        .await;
    let alice = format!("Bearer {}", issuer.token(json!({})));
    for (query, is_admitted) in [
        ("?userId=alice", true),
        ("?userId=%61lice", true),
        ("?userId=victim", false),
        ("", false),
        ("?userId=", false),
        ("?userId=alice&userId=victim", false),
        ("?userId=victim&userId=alice", false),
        ("?user%49d=victim&userId=alice", false),
        ("?userid=alice", false),
        ("?x=1;userId=victim&userId=alice", false),
        ("?userId=alice&userId[]=victim", false),
        ("?userId=alice&%20userId=victim", false),
    ] {
        let handshake = Handshake::to(&format!("/private/ws{query}")).set("Authorization", &alice);
        if is_admitted {
            drop(handshake.open(&gateway).await);
            continue;
        }
        let refused = gateway.refused(&handshake).await;
        assert_eq!(refused.status(), 403, "{query}");
        assert_eq!(refused.error()["error"], "not_permitted", "{query}");
    }
    let line = gateway.access("the refusal", |line| line["auth.result"] == "forbidden").await;
    assert_eq!(line["auth.reason"], "user_mismatch");
}

#[tokio::test]
async fn header_that_names_the_user_has_no_twin_with_an_underscore() {
    let issuer = IdentityProvider::start().await;
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::new()
        .top(&issuer.authentication("accounts", ""))
        .upstream("service", &[upstream.address()])
        .route("private", "path_prefix: /", "service")
        .with("require: {any: [accounts], user_matches: {header: X-User-Id}}")
        .start()
        .await;
    let alice = bearer(&issuer.token(json!({})));
    let fields = [&alice, "X-User-Id: alice", "X_User_Id: victim"];
    assert_eq!(gateway.get("/", &fields).await.status(), 200);
    let head = upstream.request(0).await.head;
    assert_eq!((head.only("x-user-id"), head.only("x_user_id")), (Some("alice"), None));
    assert_eq!(gateway.get("/", &[&alice, "X-User-Id: victim"]).await.status(), 403);
}

#[tokio::test]
async fn response_to_an_authenticated_request_is_shared_only_if_the_upstream_says_so() {
    let issuer = IdentityProvider::start().await;
    for (cache_control, is_shared) in
        [("max-age=60", false), ("public, max-age=60", true), ("s-maxage=60", true)]
    {
        let upstream = Upstream::answering(move |_| {
            respond("200 OK", &[&format!("Cache-Control: {cache_control}")], "body")
        })
        .await;
        let gateway = gateway(&issuer, &upstream, "cache: {default_ttl: 60s}").await;
        for user in ["alice", "bob"] {
            let token = bearer(&issuer.token(json!({"sub": user})));
            assert_eq!(gateway.get("/private/x", &[&token]).await.status(), 200);
        }
        let asked = if is_shared { 1 } else { 2 };
        assert_eq!(upstream.requests().len(), asked, "{cache_control}");
        assert_eq!(gateway.get("/private/x", &[]).await.status(), 401, "also where it is stored");
    }
}

#[tokio::test]
async fn session_limit_counts_the_verified_user() {
    let issuer = IdentityProvider::start().await;
    let upstream = Upstream::echo().await;
    let gateway = gateway(&issuer, &upstream, "websocket: {max_sessions_per_user: 1}").await;
    let alice = format!("Bearer {}", issuer.token(json!({})));
    let handshake = |user: &str| {
        Handshake::to(&format!("/private/ws?userId={user}")).set("Authorization", &alice)
    };
    let kept = handshake("alice").open(&gateway).await;
    let refused = gateway.refused(&handshake("somebody-else")).await;
    assert_eq!(refused.status(), 429, "another userId does not evade the limit");
    drop(kept);
}

/// The background request would carry no credential: the gateway has removed it.
#[tokio::test]
async fn stale_response_to_an_authenticated_request_is_revalidated_before_it_is_served() {
    let issuer = IdentityProvider::start().await;
    let fields = "Cache-Control: s-maxage=10, stale-while-revalidate=600";
    let upstream =
        Upstream::answering(move |_| respond("200 OK", &[fields, "Age: 100"], "body")).await;
    let gateway = gateway(&issuer, &upstream, "cache: on").await;
    let alice = bearer(&issuer.token(json!({})));
    for _ in 0..3 {
        assert_eq!(gateway.get("/private/x", &[&alice]).await.status(), 200);
    }
    assert_eq!(upstream.requests().len(), 3);
    let lines = gateway.access_lines();
    assert!(!lines.iter().any(|line| line.contains("\"missing\"")), "{lines:#?}");
}
