//! Logins last longer than tokens: the gateway refreshes them, once for all requests of a login.

use super::browser::Browser;
use super::issuer::Issuer;
use serde_json::json;
use std::time::Duration;
use tidegate_testing::{Upstream, until};

#[tokio::test]
async fn concurrent_requests_refresh_a_login_once() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::saying("page").await);
    {
        let mut state = issuer.state();
        state.refreshes = true;
        state.expires_in = vec![0];
    }
    let gateway = issuer.config(&upstream).start().await;
    let browser = Browser::logged_in(&gateway, &issuer, "alice").await;
    assert_eq!(issuer.token_requests().len(), 1);
    let requests = (0..24).map(|_| {
        let (mut browser, gateway) = (browser.clone(), &gateway);
        async move {
            let answer = browser.fetch(gateway, "/").await;
            (answer, browser)
        }
    });
    let answers = futures_util::future::join_all(requests).await;
    for (answer, _) in &answers {
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.head.all("set-cookie").len(), 1, "each gets the new cookie");
        assert_eq!(answer.head.only("cache-control"), Some("no-store"));
    }
    assert_eq!(issuer.token_requests().len(), 2, "the issuer is asked once");
    // A request that was sent before the new cookie came.
    assert_eq!(browser.clone().fetch(&gateway, "/").await.status(), 200);
    let mut renewed = answers[0].1.clone();
    let answer = renewed.fetch(&gateway, "/").await;
    assert_eq!((answer.status(), answer.head.get("set-cookie")), (200, None));
    assert_eq!(issuer.token_requests().len(), 2);
    assert_ne!(renewed.cookies, browser.cookies);
}

#[tokio::test]
async fn refresh_that_the_issuer_refuses_ends_the_login() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::saying("page").await);
    {
        let mut state = issuer.state();
        state.refreshes = true;
        state.expires_in = vec![0, 0];
    }
    let gateway = issuer.config(&upstream).start().await;
    let mut browser = Browser::logged_in(&gateway, &issuer, "alice").await;
    let stolen = browser.clone();
    assert_eq!(browser.fetch(&gateway, "/").await.status(), 200);
    // Another gateway uses the same refresh token: the issuer ends the login.
    let other = issuer.config(&upstream).start().await;
    Browser::default().begin(&other, "/").await;
    assert_eq!(stolen.clone().fetch(&other, "/").await.status(), 401);
    assert_eq!(browser.fetch(&gateway, "/").await.status(), 401);
    assert_eq!(browser.navigate(&gateway, "/").await.status(), 302);
}

#[tokio::test]
async fn refreshed_id_token_of_another_user_is_refused() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::saying("page").await);
    {
        let mut state = issuer.state();
        state.refreshes = true;
        state.expires_in = vec![0];
    }
    let gateway = issuer.config(&upstream).start().await;
    let mut browser = Browser::logged_in(&gateway, &issuer, "alice").await;
    issuer.state().claims = json!({"sub": "mallory"});
    assert_eq!(browser.fetch(&gateway, "/").await.status(), 401);
}

#[tokio::test]
async fn outage_of_the_issuer_is_answered_503_once_tokens_have_expired() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::saying("page").await);
    {
        let mut state = issuer.state();
        state.refreshes = true;
        state.expires_in = vec![3600];
    }
    let gateway = issuer.config(&upstream).start().await;
    let mut browser = Browser::logged_in(&gateway, &issuer, "alice").await;
    issuer.state().outage = Some("503 Service Unavailable");
    assert_eq!(browser.fetch(&gateway, "/").await.status(), 200);
    issuer.state().expires_in = vec![0];
    issuer.state().outage = None;
    let mut expired = Browser::logged_in(&gateway, &issuer, "bob").await;
    issuer.state().outage = Some("503 Service Unavailable");
    let answer = expired.fetch(&gateway, "/").await;
    assert_eq!(
        (answer.status(), &answer.error()["error"]),
        (503, &json!("authentication_unavailable"))
    );
    assert!(answer.head.get("retry-after").is_some());
    issuer.state().outage = None;
    issuer.state().refuses_client = true;
    let before = issuer.token_requests().len();
    until("an attempt with a secret that the issuer refuses", async || {
        let answer = expired.clone().fetch(&gateway, "/").await;
        assert_eq!(answer.status(), 503, "no fault of the login");
        issuer.token_requests().len() > before
    })
    .await;
    issuer.state().refuses_client = false;
    until("another attempt", async || expired.fetch(&gateway, "/").await.status() == 200).await;
}

#[tokio::test]
async fn login_without_refresh_token_ends_with_its_id_token() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::saying("page").await);
    let gateway = issuer.config(&upstream).start().await;
    issuer.state().claims = json!({"exp": super::issuer::now() + 2});
    let mut browser = Browser::default();
    let answer = browser.log_in(&gateway, &issuer, "/", "alice").await;
    if answer.status() == 303 {
        let cookies = answer.head.all("set-cookie");
        let cookie = cookies.iter().find(|it| it.starts_with("tg=")).expect("the cookie");
        assert!(
            ["Max-Age=2", "Max-Age=1", "Max-Age=0"].iter().any(|it| cookie.contains(it)),
            "{cookie}"
        );
    }
    let expired = async || browser.clone().fetch(&gateway, "/").await.status() == 401;
    tokio::time::sleep(Duration::from_millis(10)).await;
    until("the end of the login", expired).await;
}

#[tokio::test]
async fn login_ends_after_its_ttl_even_with_a_refresh_token() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::saying("page").await);
    issuer.state().refreshes = true;
    let config = tidegate_testing::Config::to(&upstream)
        .top(&issuer.authentication(", ttl: 1s", ""))
        .top("require: browser");
    let gateway = config.start().await;
    let mut browser = Browser::default();
    browser.log_in(&gateway, &issuer, "/", "alice").await;
    until("the end of the login", async || browser.fetch(&gateway, "/").await.status() == 401)
        .await;
}
