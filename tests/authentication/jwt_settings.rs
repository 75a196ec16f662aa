//! Faulty settings of JSON Web Tokens are refused where they are written, and `explain` fetches no keys.

use serde_json::json;
use tempfile::TempDir;
use tidegate_testing::{Config, IdentityProvider, Upstream, cli};

#[tokio::test]
async fn faulty_settings_are_refused_at_their_line() {
    let text = r#"listeners: [{address: "127.0.0.1:3000"}]
access_log: {fields: {request: [x-proof]}}
authentication:
  plain: {jwt: {issuer: a, audience: [chat], keys: {url: "http://id.test/keys"}}}
  file_url: {jwt: {issuer: a, audience: [chat], keys: {url: "file:///etc/passwd"}}}
  login: {jwt: {issuer: a, audience: [chat], keys: {url: "https://u:hidden@id.test/"}}}
  nowhere: {jwt: {issuer: accounts, audience: [chat]}}
  two: {jwt: {issuer: a, audience: [chat], keys: {url: "https://id.test/", file: a.pem}}}
  nobody: {jwt: {issuer: "https://id.test", audience: []}}
  lenient: {jwt: {issuer: "https://id.test", audience: [chat], leeway: 10m}}
  mixed: {jwt: {issuer: "https://id.test", audience: [chat], algorithms: [RS256, HS256]}}
  none: {jwt: {issuer: "https://id.test", audience: [chat], algorithms: [none]}}
  short: {jwt: {issuer: a, audience: [chat], algorithms: [HS256], keys: {secret: hidden-secret}}}
  longer: {jwt: {issuer: a, audience: [chat], algorithms: [HS512], keys: {secret: hidden-secret-of-thirty-two-bytes}}}
  public: {jwt: {issuer: a, audience: [chat], keys: {secret: hidden-secret-of-thirty-two-bytes}}}
  missing: {jwt: {issuer: a, audience: [chat], keys: {file: missing.pem}}}
  weak: {jwt: {issuer: a, audience: [chat], keys: {file: weak.json}}}
  private: {jwt: {issuer: a, audience: [chat], keys: {file: private.pem}}}
  eager: {jwt: {issuer: a, audience: [chat], keys: {url: "https://id.test/", refresh: 10ms}}}
  forgetful: {jwt: {issuer: a, audience: [chat], keys: {url: "https://id.test/", keep: 1m}}}
  still: {jwt: {issuer: a, audience: [chat], keys: {file: good.json, refresh: 1m}}}
  shown: {jwt: {issuer: "https://id.test", audience: [chat], from: [{query: t}, {header: x-proof}, {cookie: ""}]}}
routes:
  - {name: all, match: {path_prefix: /}, respond: {status: 204}, require: plain}
"#;
    let issuer = IdentityProvider::start().await;
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("t.yaml", text);
    write("good.json", &issuer.key_set().to_string());
    // 1024 bits.
    let modulus = "w".repeat(171);
    write("weak.json", &json!({"keys": [{"kty": "RSA", "n": modulus, "e": "AQAB"}]}).to_string());
    write("private.pem", "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n");
    let run = cli(folder.path(), &["check", "--config", "t.yaml"], &[]).await;
    let told = run.all();
    assert_eq!(run.code, Some(78), "{told}");
    assert!(!told.contains("hidden"), "{told}");
    for (place, key, reason) in [
        ("t.yaml:4:", "authentication.plain.jwt.keys.url", "must be a URL with `https`"),
        ("t.yaml:5:", "authentication.file_url.jwt.keys.url", "must be a URL with `https`"),
        ("t.yaml:6:", "authentication.login.jwt.keys.url", "without a user name"),
        ("t.yaml:7:", "authentication.nowhere.jwt.issuer", "must be a URL with `https`"),
        ("t.yaml:8:", "authentication.two.jwt.keys", "only one of `url`, `file` and `secret`"),
        ("t.yaml:9:", "authentication.nobody.jwt.audience", "must not be empty"),
        ("t.yaml:10:", "authentication.lenient.jwt.leeway", "must be at most 5m"),
        ("t.yaml:11:", "authentication.mixed.jwt.algorithms", "HS256 needs `keys.secret`"),
        ("t.yaml:12:", "authentication.none.jwt.algorithms", "none"),
        ("t.yaml:13:", "authentication.short.jwt.keys.secret", "at least 32 characters for HS256"),
        ("t.yaml:14:", "authentication.longer.jwt.keys.secret", "at least 64 characters for HS512"),
        ("t.yaml:15:", "authentication.public.jwt.algorithms", "does not work with a secret"),
        ("t.yaml:16:", "authentication.missing.jwt.keys.file", "missing.pem"),
        ("t.yaml:17:", "authentication.weak.jwt.keys.file", "2048 to 8192 bits"),
        ("t.yaml:18:", "authentication.private.jwt.keys.file", "BEGIN PUBLIC KEY"),
        ("t.yaml:19:", "authentication.eager.jwt.keys.refresh", "must be at least 1s"),
        (
            "t.yaml:20:",
            "authentication.forgetful.jwt.keys.keep",
            "must not be shorter than `refresh`",
        ),
        ("t.yaml:21:", "authentication.still.jwt.keys.refresh", "only for keys that are fetched"),
        ("t.yaml:2:", "access_log.fields.request[0]", "carries secrets"),
        ("t.yaml:22:", "authentication.shown.jwt.from[2]", "must not be empty"),
    ] {
        let has = |line: &str| line.contains(place) && line.contains(key) && line.contains(reason);
        assert!(told.lines().any(has), "{place} {key} {reason}\n{told}");
    }
}

#[tokio::test]
async fn explain_fetches_no_keys_and_shows_no_token() {
    let (issuer, upstream) = (IdentityProvider::start().await, Upstream::saying("ok").await);
    let folder = TempDir::new().unwrap();
    let config =
        Config::to(&upstream).top(&issuer.authentication("accounts", "")).with("require: accounts");
    std::fs::write(folder.path().join("t.yaml"), config.yaml(3000)).unwrap();
    let header = format!("Authorization: Bearer {}", issuer.token(json!({})));
    for more in [vec![], vec!["--header", &header]] {
        let mut arguments = vec!["explain", "--config", "t.yaml", "http://localhost:3000/a"];
        arguments.extend(more);
        let run = cli(folder.path(), &arguments, &[]).await;
        let told = run.all();
        assert_eq!(run.code, Some(0), "{told}");
        let described = format!("accounts (jwt: issuer {}, from header", issuer.issuer());
        assert!(told.contains(&described), "{told}");
        assert!(!told.contains("eyJ"), "{told}");
    }
    assert_eq!((issuer.targets().len(), upstream.connections()), (0, 0));
}
