//! The keys of an issuer are fetched by a task: rotation refuses no token, an issuer that is away locks nobody out, and
//! strangers cannot make the gateway fetch.

use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tidegate_testing::{
    Config, Gateway, IdentityProvider, Upstream, Wire, get, replace_file, until,
};

/// The section with a scheme `accounts` of this issuer, with these keys, in braces, and further settings.
fn scheme(issuer: &IdentityProvider, keys: &str, more: &str) -> String {
    let issuer = issuer.issuer();
    format!(
        "authentication: {{accounts: {{jwt: {{issuer: \"{issuer}\", audience: [chat], keys: {keys}{more}}}}}}}"
    )
}

fn fetched(issuer: &IdentityProvider, more: &str) -> String {
    format!("{{url: \"{}\"{more}}}", issuer.jwks_url())
}

fn config(upstream: &Upstream, authentication: &str) -> Config {
    Config::to(upstream).top(authentication).with("require: accounts")
}

async fn status(gateway: &Gateway, path: &str, token: &str) -> u16 {
    gateway.get(path, &[&format!("Authorization: Bearer {token}")]).await.status()
}

#[tokio::test]
async fn rotation_under_load_refuses_no_token() {
    let (issuer, upstream) = (IdentityProvider::start().await, Upstream::saying("ok").await);
    let issuer = Arc::new(issuer);
    let gateway = config(&upstream, &scheme(&issuer, &fetched(&issuer, ""), "")).start().await;
    let (ends, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let (issuer, ends, sent) = (Arc::clone(&issuer), Arc::clone(&ends), Arc::clone(&sent));
            let address = gateway.address();
            tokio::spawn(async move {
                let mut wire = Wire::connect(address).await;
                let old = issuer.token(json!({"sub": format!("old-{client}")}));
                for number in 0.. {
                    if ends.load(Ordering::Relaxed) {
                        return;
                    }
                    let algorithm = ["ES256", "RS256", "EdDSA"][number % 3];
                    let new =
                        issuer.token_by(algorithm, json!({"jti": format!("{client}-{number}")}));
                    for token in [&new, &old] {
                        let field = format!("Authorization: Bearer {token}");
                        wire.send(get("/", &[&field])).await;
                        let answer = wire.response().await;
                        assert_eq!(answer.status(), 200, "{}", answer.text());
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    let more = async |count: usize| {
        let from = sent.load(Ordering::Relaxed);
        let has_failed = || clients.iter().any(tokio::task::JoinHandle::is_finished);
        until("requests", async || has_failed() || sent.load(Ordering::Relaxed) >= from + count)
            .await;
    };
    more(50).await;
    // Nobody has announced the new keys: the first tokens by them come before they have been fetched.
    issuer.rotate();
    more(200).await;
    ends.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("no token is refused");
    }
    assert_eq!(issuer.fetches(), 2, "at the start, and for the rotation");
}

/// A key without an id fits the id of every token.
#[tokio::test]
async fn new_key_is_fetched_although_another_key_has_no_id() {
    let (issuer, upstream) = (IdentityProvider::start().await, Upstream::saying("ok").await);
    let mut key_set = issuer.key_set();
    let nameless = key_set["keys"][0].as_object_mut().unwrap();
    nameless.remove("kid");
    issuer.set_key_set(key_set);
    let gateway = config(&upstream, &scheme(&issuer, &fetched(&issuer, ""), "")).start().await;
    assert_eq!(status(&gateway, "/", &issuer.token(json!({}))).await, 200);
    issuer.rotate();
    assert_eq!(status(&gateway, "/", &issuer.token(json!({}))).await, 200);
}

#[tokio::test]
async fn unknown_key_ids_make_one_fetch_and_tokens_of_others_none() {
    let (issuer, upstream) = (IdentityProvider::start().await, Upstream::saying("ok").await);
    let gateway = config(&upstream, &scheme(&issuer, &fetched(&issuer, ""), "")).start().await;
    assert_eq!(status(&gateway, "/", &issuer.token(json!({}))).await, 200);
    let by_unknown_key = |number: usize, claims: Value| {
        let header = json!({"alg": "ES256", "kid": format!("unknown-{number}")});
        issuer.sign(header, &issuer.claims(claims))
    };
    for (number, claims) in
        [json!({"iss": "http://other"}), json!({"aud": "other"}), json!({"exp": 1})]
            .into_iter()
            .enumerate()
    {
        assert_eq!(status(&gateway, "/other", &by_unknown_key(number, claims)).await, 401);
    }
    assert_eq!(issuer.fetches(), 1, "a token that is refused anyway makes no fetch");
    for number in 0..50 {
        assert_eq!(status(&gateway, "/unknown", &by_unknown_key(number, json!({}))).await, 401);
    }
    assert_eq!(gateway.access_of("/unknown").await["auth.reason"], "unknown_key");
    assert_eq!(issuer.fetches(), 2, "one fetch for all unknown ids of 30 seconds");
}

#[tokio::test]
async fn issuer_that_is_away_locks_nobody_out_and_its_new_keys_are_found_when_it_is_back() {
    let (mut issuer, upstream) = (IdentityProvider::start().await, Upstream::saying("ok").await);
    let keys = fetched(&issuer, ", refresh: 1s");
    let gateway = config(&upstream, &scheme(&issuer, &keys, "")).start().await;
    assert_eq!(status(&gateway, "/", &issuer.token(json!({}))).await, 200);
    let mark = gateway.mark();
    issuer.go_away().await;
    gateway.says(mark, "are not available").await;
    for number in 0..5 {
        let token = issuer.token(json!({"jti": number.to_string()}));
        assert_eq!(status(&gateway, "/", &token).await, 200, "a new token by a known key");
    }
    // A reload meanwhile needs no keys either.
    gateway.rewrite(&config(&upstream, &scheme(&issuer, &keys, ", leeway: 31s")));
    gateway.says(mark, "version 2").await;
    assert_eq!(status(&gateway, "/", &issuer.token(json!({"jti": "r"}))).await, 200);
    issuer.replace_keys();
    let (mark, token) = (gateway.mark(), issuer.token(json!({})));
    assert_eq!(status(&gateway, "/", &token).await, 401);
    issuer.come_back().await;
    gateway.says(mark, "are available again").await;
    assert_eq!(status(&gateway, "/", &token).await, 200);
}

#[tokio::test]
async fn after_keep_tokens_are_answered_503_until_the_issuer_is_back() {
    let (mut issuer, upstream) = (IdentityProvider::start().await, Upstream::saying("ok").await);
    let keys = fetched(&issuer, ", refresh: 1s, keep: 2s");
    let gateway = config(&upstream, &scheme(&issuer, &keys, "")).start().await;
    let token = issuer.token(json!({}));
    assert_eq!(status(&gateway, "/", &token).await, 200);
    issuer.go_away().await;
    until("the keys are too old", async || status(&gateway, "/", &token).await == 503).await;
    let answer = gateway.get("/old", &[&format!("Authorization: Bearer {token}")]).await;
    assert_eq!(
        (answer.status(), &answer.error()["error"]),
        (503, &json!("authentication_unavailable"))
    );
    assert!(answer.head.only("retry-after").is_some());
    assert_eq!(gateway.access_of("/old").await["auth.reason"], "keys_too_old");
    // Without a token nothing is unavailable.
    assert_eq!(gateway.get("/", &[]).await.status(), 401);
    issuer.come_back().await;
    until("the keys are back", async || status(&gateway, "/", &token).await == 200).await;
}

#[tokio::test]
async fn before_the_first_keys_tokens_are_answered_503() {
    let (mut issuer, upstream) = (IdentityProvider::start().await, Upstream::saying("ok").await);
    issuer.go_away().await;
    let gateway = config(&upstream, &scheme(&issuer, &fetched(&issuer, ""), "")).start().await;
    let token = issuer.token(json!({}));
    let answer = gateway.get("/early", &[&format!("Authorization: Bearer {token}")]).await;
    assert_eq!(answer.status(), 503, "{}", answer.text());
    assert!(answer.head.only("retry-after").is_some());
    assert_eq!(gateway.access_of("/early").await["auth.reason"], "no_keys");
    issuer.come_back().await;
    until("the keys are here", async || status(&gateway, "/", &token).await == 200).await;
    assert!(gateway.log_lines().iter().any(|line| line.contains("are not available")));
}

#[tokio::test]
async fn keys_are_found_through_the_discovery_document_of_the_issuer() {
    let (issuer, upstream) = (IdentityProvider::start().await, Upstream::saying("ok").await);
    let discovery = |issuer: &IdentityProvider| {
        format!(
            "authentication: {{accounts: {{jwt: {{issuer: \"{}\", audience: [chat]}}}}}}",
            issuer.issuer()
        )
    };
    let gateway = config(&upstream, &discovery(&issuer)).start().await;
    assert_eq!(status(&gateway, "/", &issuer.token(json!({}))).await, 200);
    assert_eq!(issuer.targets(), ["/.well-known/openid-configuration", "/jwks.json"]);

    for (member, value, said) in [
        ("issuer", json!("http://other.example"), "does not name"),
        ("issuer", json!(format!("{}/", issuer.issuer())), "does not name"),
        ("issuer", Value::Null, "does not name"),
        ("jwks_uri", json!("http://192.0.2.1/jwks.json"), "`jwks_uri` is not a URL with https"),
        ("jwks_uri", json!("file:///etc/passwd"), "`jwks_uri` is not a URL with https"),
    ] {
        let other = IdentityProvider::start().await;
        let mut document = other.discovery();
        document[member] = value.clone();
        other.set_discovery(document);
        let gateway = config(&upstream, &discovery(&other)).start().await;
        gateway.says(0, said).await;
        assert_eq!(status(&gateway, "/", &other.token(json!({}))).await, 503, "{member}: {value}");
        assert_eq!(other.fetches(), 0);
    }
}

#[tokio::test]
async fn keys_of_a_file_are_read_and_read_again_when_it_changes() {
    let (issuer, upstream) = (IdentityProvider::start().await, Upstream::saying("ok").await);
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("keys");
    let section = scheme(&issuer, &format!("{{file: \"{}\"}}", file.display()), "");
    replace_file(&file, &issuer.key_set().to_string());
    let gateway = config(&upstream, &section).start().await;
    for algorithm in ["ES256", "RS256", "EdDSA"] {
        assert_eq!(status(&gateway, "/", &issuer.token_by(algorithm, json!({}))).await, 200);
    }
    let old = issuer.token(json!({}));
    issuer.replace_keys();
    for algorithm in ["ES256", "RS256", "EdDSA"] {
        let new = issuer.token_by(algorithm, json!({}));
        let pem = issuer.public_pem(algorithm);
        replace_file(&file, &pem);
        until("the new key", async || status(&gateway, "/", &new).await == 200).await;
        assert_eq!(status(&gateway, "/", &old).await, 401, "cached, and by a key that is gone");
    }
    assert_eq!(issuer.fetches(), 0);
}

#[tokio::test]
async fn keys_are_used_only_for_what_they_say() {
    let (issuer, upstream) = (IdentityProvider::start().await, Upstream::saying("ok").await);
    let key = |changes: Value| {
        let mut key = issuer.jwk("ES256");
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(key.as_object_mut().unwrap().remove(name)),
                value => key[name] = value.clone(),
            }
        }
        key
    };
    let token = issuer.token(json!({}));
    for (changes, expected) in [
        (json!({}), 200),
        (json!({"use": null, "alg": null}), 200),
        (json!({"kid": null}), 200),
        (json!({"key_ops": ["verify"]}), 200),
        (json!({"use": "enc"}), 401),
        (json!({"key_ops": ["sign"]}), 401),
        (json!({"alg": "ES384"}), 401),
        (json!({"crv": "P-384"}), 401),
        (json!({"crv": "secp256k1"}), 401),
        (json!({"kid": "other"}), 401),
        // A point that is not on the curve (RFC 8725, section 2.5).
        (json!({"y": issuer.jwk("ES256")["x"]}), 401),
    ] {
        // Beside a key that is always usable, so that the set is.
        issuer.set_key_set(json!({"keys": [key(changes.clone()), issuer.jwk("EdDSA")]}));
        let gateway = config(&upstream, &scheme(&issuer, &fetched(&issuer, ""), "")).start().await;
        assert_eq!(status(&gateway, "/", &token).await, expected, "{changes}");
        assert_eq!(status(&gateway, "/", &issuer.token_by("EdDSA", json!({}))).await, 200);
    }
}
