//! A user never gets another user's response.

use super::{cache_status, counting, gateway, is_hit};
use tidegate_testing::http2::get_over_http2;
use tidegate_testing::{Config, Https, SITES, Upstream, ok};

/// Headers in which clients and proxies name a user.
const USERS: [&str; 9] = [
    "x-user-id",
    "x-api-key",
    "x-forwarded-user",
    "x-goog-iap-jwt-assertion",
    "x-amzn-oidc-identity",
    "x-ms-client-principal",
    "tailscale-user-login",
    "remote-name",
    "dpop",
];

#[tokio::test]
async fn default_ttl_does_not_share_responses_between_users() {
    let upstream = Upstream::answering(|request| {
        ok(USERS.iter().find_map(|name| request.head.get(name)).unwrap_or("nobody"))
    })
    .await;
    for (number, name) in USERS.into_iter().enumerate() {
        let gateway = Config::to(&upstream)
            .with("cache: {default_ttl: 1m}")
            .top("identity: {user_id: [{query: u}, {header: x-user-id}]}")
            .start()
            .await;
        let target = format!("/{number}?u=same");
        for user in ["alice", "bob", "alice"] {
            let answer = gateway.get(&target, &[&format!("{name}: {user}")]).await;
            assert_eq!(answer.text(), user, "{name}");
        }
        // What is kept for nobody is nobody's alone.
        gateway.get(&target, &[]).await;
        assert!(is_hit(&gateway.get(&target, &[]).await), "{name}");
        let answer = gateway.get(&target, &[&format!("{name}: carol")]).await;
        assert_eq!(answer.text(), "carol", "{name}");
        assert_eq!(gateway.get(&target, &[]).await.text(), "nobody", "{name}");
    }
    // Where the header is a part of the key, each user has what is his.
    let gateway = gateway(&upstream, "{default_ttl: 1m, key_headers: [x-user-id]}").await;
    for user in ["alice", "bob"] {
        let field = format!("X-User-Id: {user}");
        assert_eq!(gateway.get("/", &[&field]).await.text(), user);
        let second = gateway.get("/", &[&field]).await;
        assert_eq!((second.text().as_str(), is_hit(&second)), (user, true));
    }
}

#[tokio::test]
async fn default_ttl_does_not_apply_with_a_cookie_or_credentials() {
    let upstream = counting(&[]).await;
    let gateway = Config::to(&upstream)
        .listening("protocols: [h1, h2c]")
        .with("cache: {default_ttl: 1m}")
        .start()
        .await;
    gateway.get("/", &[]).await;
    for field in [("cookie", "s=1"), ("authorization", "Basic x"), ("x-scope-orgid", "a")] {
        let answer = gateway.get("/", &[&format!("{}: {}", field.0, field.1)]).await;
        assert_eq!(cache_status(&answer), "tidegate; fwd=miss", "{field:?}");
        let head = get_over_http2(&gateway, "/", &[field]).await;
        assert_eq!(head.headers["cache-status"], "tidegate; fwd=miss", "{field:?}");
    }
    assert_eq!(gateway.get("/", &[]).await.text(), "answer 1");
}

#[tokio::test]
async fn response_with_explicit_freshness_is_shared_between_users() {
    let upstream = counting(&["Cache-Control: public, max-age=60"]).await;
    let gateway = gateway(&upstream, "{default_ttl: 1m}").await;
    gateway.get("/", &["X-Api-Key: one"]).await;
    assert!(is_hit(&gateway.get("/", &["X-Api-Key: two"]).await));
}

#[tokio::test]
async fn default_ttl_does_not_apply_to_clients_with_a_certificate() {
    let tls = format!("{SITES}, client_auth: {{ca: ca.pem, mode: request}}");
    let https = Https::with(&tls, |config| config.with("cache: {default_ttl: 1m}")).await;
    let folder = https.gateway.folder().to_owned();
    https.authority.issue_client(&folder, "billing");
    let nobody = https.authority.client();
    let billing = nobody.clone().showing(folder.join("billing"));
    let get = async |client: &tidegate_testing::Client| {
        cache_status(&client.get(&https.gateway, "site.test", "/").await).to_owned()
    };
    assert_eq!(get(&billing).await, "tidegate; fwd=miss");
    assert_eq!(get(&nobody).await, "tidegate; fwd=miss; stored");
    assert!(!get(&billing).await.contains("hit"));
    assert!(get(&nobody).await.contains("hit"));
}
