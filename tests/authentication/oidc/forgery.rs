//! What strangers make up or copy logs in nobody: cookies, states, returns, ID tokens.

use super::browser::{Browser, CALLBACK, HTML};
use super::issuer::{Issuer, now};
use serde_json::{Value, json};
use tidegate_testing::{Config, Gateway, IdentityProvider, Upstream};

async fn site() -> (Issuer, Upstream, Gateway) {
    let (issuer, upstream) = (Issuer::start().await, Upstream::saying("page").await);
    let gateway = issuer.config(&upstream).start().await;
    (issuer, upstream, gateway)
}

#[tokio::test]
async fn changed_cookie_is_refused() {
    let (issuer, upstream, gateway) = site().await;
    let browser = Browser::logged_in(&gateway, &issuer, "alice").await;
    let cookie = browser.cookies["tg"].clone();
    let changed = |place: usize| {
        let mut bytes = cookie.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).expect("text")
    };
    let middle = cookie.len() / 2;
    for (what, value) in [
        ("salt", changed(3)),
        ("content", changed(middle)),
        ("tag", changed(cookie.len() - 3)),
        ("count", cookie.replacen("1.", "2.", 1)),
        ("cut", cookie[..middle].to_owned()),
        ("longer", format!("{cookie}A")),
        ("none", "1.".to_owned()),
        ("plain", "1.eyJzdWIiOiJhbGljZSJ9".to_owned()),
    ] {
        let mut forger = Browser::default();
        forger.cookies.insert("tg".into(), value);
        let answer = forger.fetch(&gateway, "/").await;
        assert_eq!(
            (answer.status(), &answer.error()["error"]),
            (401, &json!("authentication_failed")),
            "{what}"
        );
        assert_eq!(forger.navigate(&gateway, "/").await.status(), 302, "{what}");
    }
    let twice = format!("{}; tg={cookie}", browser.header());
    assert_eq!(gateway.get("/", &[&twice]).await.status(), 401, "two cookies");
    assert_eq!(upstream.requests().len(), 0);
}

#[tokio::test]
async fn cookie_of_another_purpose_scheme_or_issuer_is_refused() {
    let (issuer, upstream, gateway) = site().await;
    let mut browser = Browser::default();
    browser.begin(&gateway, "/").await;
    let pending = browser.cookies.values().next().expect("a cookie").clone();
    let mut forger = Browser::default();
    forger.cookies.insert("tg".into(), format!("1.{pending}"));
    assert_eq!(forger.fetch(&gateway, "/").await.status(), 401, "a login that has only begun");

    let browser = Browser::logged_in(&gateway, &issuer, "alice").await;
    let renamed = issuer.authentication("", "").replace("browser:", "another:");
    let renamed = Config::to(&upstream).top(&renamed).top("require: another").start().await;
    assert_eq!(browser.clone().fetch(&renamed, "/").await.status(), 401, "another scheme");
    let other = Issuer::start().await;
    let other = other.config(&upstream).start().await;
    assert_eq!(browser.clone().fetch(&other, "/").await.status(), 401, "another issuer");
    assert_eq!(upstream.requests().len(), 0);
}

#[tokio::test]
async fn return_without_its_own_state_is_refused() {
    let (issuer, _upstream, gateway) = site().await;
    let mut victim = Browser::default();
    let mut attacker = Browser::default();
    let of_victim = victim.begin(&gateway, "/").await;
    let of_attacker = attacker.begin(&gateway, "/").await;
    let attack = issuer.log_in(&of_attacker, "attacker");
    let refused = async |browser: &Browser, target: &str, what: &str| {
        let mut browser = browser.clone();
        let answer = browser.navigate(&gateway, target).await;
        assert_eq!(
            (answer.status(), &answer.error()["error"]),
            (401, &json!("authentication_failed")),
            "{what}"
        );
        assert!(!browser.cookies.contains_key("tg"), "{what}");
    };
    refused(&victim, &attack, "the attacker's return in the victim's browser").await;
    let state = &issuer.parameters(&of_victim)["state"];
    let code = attack.split_once("code=").expect("a code").1.split_once('&').expect("more").0;
    let mixed = format!("{CALLBACK}?code={code}&state={state}");
    refused(&victim, &mixed, "the attacker's code with the victim's state").await;

    let mut swapped = attacker.clone();
    let (name, _) = victim.cookies.first_key_value().expect("a cookie");
    let value = attacker.cookies.values().next().expect("a cookie").clone();
    swapped.cookies.insert(name.clone(), value);
    let own = issuer.log_in(&of_victim, "alice");
    refused(&swapped, &own, "a cookie under another name").await;
    for (what, target) in [
        ("no state", format!("{CALLBACK}?code={code}")),
        ("no query", CALLBACK.to_owned()),
        ("two states", format!("{attack}&state={state}")),
        ("two codes", format!("{attack}&code=x")),
        ("odd state", format!("{CALLBACK}?code={code}&state=../../x")),
        ("another issuer", format!("{attack}&iss=https%3A%2F%2Fevil.example")),
        ("no code", attack.replace("code=", "coda=")),
        ("an error", attack.replace("code=", "error=access_denied&c=")),
    ] {
        refused(&attacker.clone(), &target, what).await;
    }
}

#[tokio::test]
async fn return_works_once() {
    let (issuer, _upstream, gateway) = site().await;
    let mut browser = Browser::default();
    let location = browser.begin(&gateway, "/").await;
    let target = issuer.log_in(&location, "alice");
    let before = browser.clone();
    assert_eq!(browser.navigate(&gateway, &target).await.status(), 303);
    let requests = issuer.token_requests().len();
    assert_eq!(before.clone().navigate(&gateway, &target).await.status(), 401, "with its cookie");
    assert_eq!(browser.navigate(&gateway, &target).await.status(), 401, "without it");
    assert_eq!(issuer.token_requests().len(), requests, "the issuer is not asked again");
}

#[tokio::test]
async fn code_that_the_issuer_refuses_logs_in_nobody() {
    let (issuer, _upstream, gateway) = site().await;
    let mut browser = Browser::default();
    let location = browser.begin(&gateway, "/").await;
    let target = issuer.log_in(&location, "alice").replace("code=code", "code=expired");
    let answer = browser.navigate(&gateway, &target).await;
    assert_eq!(answer.status(), 401);
    assert!(answer.text().contains("invalid_grant"), "{}", answer.text());
    let line = gateway.access_of(CALLBACK).await;
    assert_eq!(
        (&line["auth.result"], &line["auth.reason"]),
        (&json!("refused"), &json!("issuer_refused"))
    );
    issuer.state().outage = Some("500 Internal Server Error");
    let answer = browser.log_in(&gateway, &issuer, "/", "alice").await;
    assert_eq!(
        (answer.status(), &answer.error()["error"]),
        (503, &json!("authentication_unavailable"))
    );
    assert!(!browser.cookies.contains_key("tg"));
}

#[tokio::test]
async fn codes_that_the_issuer_refuses_hold_up_their_sender_alone() {
    let (issuer, upstream) = (Issuer::start().await, Upstream::saying("page").await);
    {
        let mut state = issuer.state();
        state.refreshes = true;
        state.expires_in = vec![0];
    }
    let gateway = issuer.config(&upstream).top("trusted_proxies: [127.0.0.0/8]").start().await;
    let mut user = Browser::logged_in(&gateway, &issuer, "alice").await;
    let stranger = [HTML, "X-Forwarded-For: 203.0.113.9"];
    let mut refused = 0;
    let requests = loop {
        let requests = issuer.token_requests().len();
        let mut browser = Browser::default();
        let location = browser.begin(&gateway, "/").await;
        let target = issuer.log_in(&location, "eve").replace("code=code", "code=junk");
        match browser.send(&gateway, &target, &stranger).await.status() {
            401 => refused += 1,
            503 => break requests,
            status => panic!("{status}"),
        }
        assert!(refused < 200, "the issuer is asked about every code");
    };
    assert!(refused >= 20, "{refused}");
    assert_eq!(issuer.token_requests().len(), requests, "the issuer is asked no more");
    Browser::logged_in(&gateway, &issuer, "bob").await;
    assert_eq!(user.fetch(&gateway, "/").await.status(), 200);
    assert_eq!(issuer.token_requests().len(), requests + 2, "a login and a refresh");
}

#[tokio::test]
async fn id_token_of_another_login_client_or_issuer_is_refused() {
    let (issuer, upstream, gateway) = site().await;
    let refused = async |what: &str| {
        let mut browser = Browser::default();
        let answer = browser.log_in(&gateway, &issuer, "/", "alice").await;
        assert_eq!(answer.status(), 401, "{what}: {}", answer.text());
        assert!(!browser.cookies.contains_key("tg"), "{what}");
    };
    for claims in [
        json!({"nonce": "of-another-login"}),
        json!({"nonce": null}),
        json!({"nonce": 1}),
        json!({"aud": "another-client"}),
        json!({"aud": ["tidegate-client", "another"]}),
        json!({"aud": ["tidegate-client", "another"], "azp": "another"}),
        json!({"azp": "another"}),
        json!({"iss": "https://evil.example"}),
        json!({"sub": ""}),
        json!({"sub": null}),
        json!({"iat": null}),
        json!({"iat": now() + 3600}),
        json!({"exp": now() - 3600}),
        json!({"exp": null}),
        json!({"nbf": now() + 3600}),
    ] {
        issuer.state().claims = claims.clone();
        refused(&claims.to_string()).await;
    }
    issuer.state().claims = json!({});
    let stranger = IdentityProvider::start().await;
    let claims = issuer.provider.claims(json!({"aud": "tidegate-client"}));
    let forged = |header: Value| stranger.sign(header, &claims);
    let unsigned = stranger.sign_text("ES256", r#"{"alg":"none"}"#, &claims.to_string());
    for (what, token) in [
        ("signed by a stranger", forged(issuer.provider.header("ES256"))),
        ("alg none", format!("{}.", unsigned.rsplit_once('.').expect("parts").0)),
        ("no token", "no.token".to_owned()),
        (
            "logout token",
            issuer.provider.logout_token(json!({"aud": "tidegate-client", "sub": "alice"})),
        ),
    ] {
        issuer.state().id_token = Some(token);
        refused(what).await;
    }
    Browser::logged_in(&gateway, &issuer, "alice").await;
    assert_eq!(upstream.requests().len(), 0);
}

#[tokio::test]
async fn issuer_that_promises_to_name_itself_must() {
    let issuer = Issuer::start().await;
    let mut discovery = issuer.provider.discovery();
    discovery["authorization_response_iss_parameter_supported"] = json!(true);
    issuer.provider.set_discovery(discovery);
    let upstream = Upstream::saying("page").await;
    let gateway = issuer.config(&upstream).start().await;
    let mut browser = Browser::default();
    assert_eq!(browser.log_in(&gateway, &issuer, "/", "alice").await.status(), 401);
    let location = browser.begin(&gateway, "/").await;
    let encoded: String =
        form_urlencoded::byte_serialize(issuer.provider.issuer().as_bytes()).collect();
    let target = format!("{}&iss={encoded}", issuer.log_in(&location, "alice"));
    assert_eq!(browser.navigate(&gateway, &target).await.status(), 303);
}
