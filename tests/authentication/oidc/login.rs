//! Login: to the issuer, back to the page, through to the upstream.

use super::browser::{Browser, CALLBACK};
use super::issuer::{CLIENT, Issuer};
use serde_json::json;
use tidegate_testing::{Handshake, Upstream, until};

#[tokio::test]
async fn login_leads_to_the_issuer_and_back_to_the_page() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::saying("page").await);
    let gateway = issuer
        .config(&upstream)
        .top("identity: {user_id: [{claim: sub}]}")
        .top("headers: {request: {set: {X-User: \"{user.id}\"}}}")
        .start()
        .await;
    let mut browser = Browser::default();
    let location = browser.begin(&gateway, "/page?a=1&b=%2F").await;
    let parameters = issuer.parameters(&location);
    for (name, value) in [
        ("tenant", "1"),
        ("response_type", "code"),
        ("client_id", CLIENT),
        ("scope", "openid profile"),
        ("code_challenge_method", "S256"),
        ("redirect_uri", &*format!("http://localhost{CALLBACK}")),
    ] {
        assert_eq!(parameters[name], value, "{name}");
    }
    assert_eq!(browser.pending(), [format!("tg-{}", parameters["state"])]);

    let answer = browser.navigate(&gateway, &issuer.log_in(&location, "alice")).await;
    assert_eq!((answer.status(), answer.head.only("location")), (303, Some("/page?a=1&b=%2F")));
    assert_eq!(answer.head.only("cache-control"), Some("no-store"));
    let cookies = answer.head.all("set-cookie");
    let cookie = cookies.iter().find(|cookie| cookie.starts_with("tg=1.")).expect("the cookie");
    for attribute in ["; Path=/", "; HttpOnly", "; SameSite=Lax"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Domain") && !cookie.contains("Secure"), "{cookie}");
    assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), ["tg"], "no login is pending any more");
    assert_eq!(upstream.requests().len(), 0);

    browser.cookies.insert("own".into(), "1".into());
    assert_eq!(browser.navigate(&gateway, "/page?a=1").await.text(), "page");
    assert_eq!(browser.fetch(&gateway, "/api").await.text(), "page");
    let request = upstream.request(0).await;
    assert_eq!(request.head.only("cookie"), Some("own=1"), "the upstream gets no login");
    assert_eq!(request.head.only("x-user"), Some("alice"));
    let line = gateway.access_of("/api").await;
    assert_eq!(line["auth.scheme"], "browser");
    assert_eq!(line["auth.result"], "verified");
    assert_eq!(line["user.id"], "alice");
    let sealed = browser.cookies["tg"].clone();
    let lines = [gateway.access_lines(), gateway.log_lines()].concat();
    for secret in [&*sealed, "code-1", "access", &parameters["nonce"]] {
        assert!(!lines.iter().any(|line| line.contains(secret)), "a log has {secret}");
    }
}

#[tokio::test]
async fn only_navigation_is_sent_to_the_issuer() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::echo().await);
    let gateway = issuer.config(&upstream).start().await;
    let mut browser = Browser::default();
    browser.begin(&gateway, "/").await;
    let answer = Browser::default().fetch(&gateway, "/api").await;
    assert_eq!(
        (answer.status(), &answer.error()["error"]),
        (401, &json!("authentication_required"))
    );
    assert_eq!(answer.head.only("www-authenticate"), Some("Cookie cookie-name=\"tg\""));
    assert!(answer.head.get("set-cookie").is_none());
    let handshake =
        Handshake::to("/ws").set("Accept", "text/html").set("Origin", "http://localhost");
    assert_eq!(gateway.refused(&handshake).await.status(), 401);
    let post = gateway
        .send(
            "POST / HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\nContent-Length: 0\r\n\r\n",
        )
        .await;
    assert_eq!(post.status(), 401);
    assert_eq!(upstream.requests().len(), 0);
}

#[tokio::test]
async fn several_tabs_log_in_at_once_and_a_ninth_replaces_the_first() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::saying("page").await);
    let gateway = issuer.config(&upstream).start().await;
    let mut browser = Browser::default();
    let first = browser.begin(&gateway, "/first").await;
    let second = browser.begin(&gateway, "/second").await;
    assert_eq!(browser.pending().len(), 2);
    for (location, page) in [(&second, "/second"), (&first, "/first")] {
        let answer = browser.navigate(&gateway, &issuer.log_in(location, "alice")).await;
        assert_eq!((answer.status(), answer.head.only("location")), (303, Some(page)));
    }
    browser.cookies.clear();
    for _ in 0..12 {
        browser.begin(&gateway, "/").await;
    }
    assert_eq!(browser.pending().len(), 8);
}

#[tokio::test]
async fn browser_never_returns_to_another_origin() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::saying("page").await);
    let gateway = issuer.config(&upstream).start().await;
    let mut browser = Browser::default();
    browser.begin(&gateway, "/").await;
    for (target, back) in [
        ("//evil.example/a", "/"),
        ("http://localhost/a?b", "/a?b"),
        ("/a/../b", "/a/../b"),
        ("/?next=//evil.example", "/?next=//evil.example"),
    ] {
        let answer = browser.navigate(&gateway, target).await;
        let Some(location) = answer.head.only("location").filter(|_| answer.status() == 302) else {
            assert_eq!(answer.status(), 400, "{target}");
            continue;
        };
        let answer = browser.navigate(&gateway, &issuer.log_in(location, "alice")).await;
        assert_eq!(answer.head.only("location"), Some(back), "{target}");
        browser.cookies.clear();
    }
}

#[tokio::test]
async fn login_needs_https_except_on_localhost() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::saying("page").await);
    let gateway = issuer.config(&upstream).top("trusted_proxies: [127.0.0.1]").start().await;
    Browser::default().begin(&gateway, "/").await;
    let get = |more: &str| {
        format!("GET / HTTP/1.1\r\nHost: app.example.com\r\nAccept: text/html\r\n{more}\r\n")
    };
    let answer = gateway.send(get("")).await;
    assert_eq!(answer.status(), 401);
    assert!(answer.text().contains("need https"), "{}", answer.text());
    let answer = gateway
        .send(get("X-Forwarded-Proto: https\r\nX-Forwarded-Host: public.example.com\r\n"))
        .await;
    assert_eq!(answer.status(), 302);
    let parameters = issuer.parameters(answer.head.only("location").expect("a location"));
    assert_eq!(parameters["redirect_uri"], format!("https://public.example.com{CALLBACK}"));
    assert!(answer.head.only("set-cookie").expect("a cookie").ends_with("; Secure"));
}

#[tokio::test]
async fn new_keys_of_the_issuer_are_fetched_at_the_next_login() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::saying("page").await);
    let gateway = issuer.config(&upstream).start().await;
    Browser::logged_in(&gateway, &issuer, "alice").await;
    issuer.provider.replace_keys();
    Browser::logged_in(&gateway, &issuer, "alice").await;
}

#[tokio::test]
async fn issuer_that_is_away_locks_out_no_one_who_is_logged_in() {
    let mut issuer = Issuer::start().await;
    let upstream = Upstream::saying("page").await;
    let gateway = issuer.config(&upstream).start().await;
    let mut browser = Browser::logged_in(&gateway, &issuer, "alice").await;
    let config = issuer.config(&upstream).top("log: {level: info}");
    let provider = std::sync::Arc::get_mut(&mut issuer.provider);
    if let Some(provider) = provider {
        provider.go_away().await;
    }
    issuer.state().outage = Some("503 Service Unavailable");
    assert_eq!(browser.fetch(&gateway, "/").await.text(), "page");
    // A new gateway knows nothing of the issuer, and the cookie all the same.
    let other = config.start().await;
    assert_eq!(browser.fetch(&other, "/").await.text(), "page");
}

#[tokio::test]
async fn logins_survive_a_reload_and_new_keys_of_the_cookie() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::saying("page").await);
    let keys = |keys: &str| {
        let authentication = issuer.authentication("", "");
        let authentication = authentication.replace(super::issuer::KEY, keys);
        tidegate_testing::Config::to(&upstream).top(&authentication).top("require: browser")
    };
    const OLD: &str = "old-key-of-the-cookie-of-many-characters";
    const NEW: &str = "new-key-of-the-cookie-of-many-characters";
    let gateway = keys(OLD).start().await;
    let mut browser = Browser::logged_in(&gateway, &issuer, "alice").await;
    gateway.rewrite(&keys(&format!("{NEW}, {OLD}")));
    gateway.says(0, "version 2 is in force").await;
    assert_eq!(browser.fetch(&gateway, "/").await.status(), 200);
    let mut by_new = Browser::logged_in(&gateway, &issuer, "bob").await;
    gateway.rewrite(&keys(NEW));
    until("the old key to be gone", async || browser.fetch(&gateway, "/").await.status() == 401)
        .await;
    assert_eq!(by_new.fetch(&gateway, "/").await.status(), 200);
}

#[tokio::test]
async fn large_login_is_divided_among_cookies_and_a_huge_one_refused() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::saying("page").await);
    let gateway = issuer.config(&upstream).start().await;
    let groups = |count: usize| json!({"groups": vec!["group-of-many-characters"; count]});
    issuer.state().claims = groups(150);
    let mut browser = Browser::logged_in(&gateway, &issuer, "alice").await;
    assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), ["tg", "tg.1"]);
    assert!(browser.cookies.values().all(|value| value.len() < 4000));
    assert_eq!(browser.fetch(&gateway, "/").await.status(), 200);
    assert_eq!(upstream.request(0).await.head.get("cookie"), None);
    browser.cookies.remove("tg.1");
    assert_eq!(browser.fetch(&gateway, "/").await.status(), 401, "a part is missing");
    issuer.state().claims = groups(4);
    let answer = browser.log_in(&gateway, &issuer, "/", "alice").await;
    assert_eq!((answer.status(), browser.cookies.len()), (303, 1));
}

#[tokio::test]
async fn strict_cookie_is_set_by_a_page_that_leads_on() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::saying("page").await);
    let config = tidegate_testing::Config::to(&upstream)
        .top(&issuer.authentication(", same_site: strict", ""))
        .top("require: browser");
    let gateway = config.start().await;
    let mut browser = Browser::default();
    let answer = browser.log_in(&gateway, &issuer, "/a?b=1&c=\"<x>", "alice").await;
    assert_eq!(answer.status(), 200);
    assert!(answer.text().contains("content=\"0;url=/a?b=1&amp;c="), "{}", answer.text());
    assert!(!answer.text().contains("<x>"), "{}", answer.text());
    let cookies = answer.head.all("set-cookie");
    assert!(cookies.iter().any(|it| it.starts_with("tg=1.") && it.contains("SameSite=Strict")));
    assert_eq!(browser.navigate(&gateway, "/").await.text(), "page");
}
