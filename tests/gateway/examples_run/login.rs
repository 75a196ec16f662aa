//! The example of a login with OpenID Connect, as far as a browser comes without its issuer's page;
//! tests/authentication/oidc.rs and tests/browser go on from there.

use crate::example::Example;
use tidegate_testing::{Handshake, IdentityProvider, Upstream, until};

#[tokio::test]
async fn authentication_oidc() {
    let (app, issuer) = (Upstream::saying("app").await, IdentityProvider::start().await);
    let gateway = Example::from_file("examples/authentication-oidc.yaml")
        .at("127.0.0.1:3000")
        .with("127.0.0.1:4000", app.address())
        .with("https://id.example.com", issuer.issuer())
        .run()
        .await;
    let fields = ["Host: app.example.com", "X-Forwarded-Proto: https", "Accept: text/html"];
    let mut answer = None;
    until("the gateway to know the issuer", async || {
        let page = gateway.get("/page", &fields).await;
        let is_there = page.status() != 503;
        answer = Some(page);
        is_there
    })
    .await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status(), 302, "{}", answer.text());
    let location = answer.head.only("location").expect("a location");
    for part in [
        "redirect_uri=https%3A%2F%2Fapp.example.com%2F.login%2Fcallback",
        "scope=openid+profile+offline_access",
        "client_id=tidegate",
    ] {
        assert!(location.contains(part), "{location}");
    }
    let cookie = answer.head.only("set-cookie").expect("a cookie");
    assert!(cookie.starts_with("__Host-app-") && cookie.ends_with("; Secure"), "{cookie}");
    assert_eq!(gateway.refused(&Handshake::to("/ws")).await.status(), 401);
    assert_eq!(gateway.get("/goodbye", &[]).await.text(), "Goodbye");
    let logout = gateway.get("/.login/logout", &["Sec-Fetch-Site: same-origin"]).await;
    assert_eq!((logout.status(), logout.head.only("location")), (303, Some("/goodbye")));
    assert_eq!(app.requests().len(), 0);
}
