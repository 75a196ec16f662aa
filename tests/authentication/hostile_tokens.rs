//! No hostile token lets anybody in: a corpus of headers, claims, forms and forgeries, each refused for its own reason. The
//! attacks of RFC 8725, section 2, are all in it.

#[path = "hostile_tokens/corpus.rs"]
mod corpus;
#[path = "hostile_tokens/forgeries.rs"]
mod forgeries;

use corpus::{CLAIMS, HEADERS, Row};
use forgeries::{FIELDS, FORGERIES, FORMS};
use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};
use tidegate_testing::{Config, Gateway, IdentityProvider, Upstream};

const HEADER: &str = r#"{"alg":"ES256","kid":"{kid}"}"#;
const VALID: &str = r#"{"iss":"{iss}","aud":"chat","sub":"alice","iat":{now},"exp":{exp}}"#;

/// A gateway that requires a token, and the issuer of the tokens.
struct Target {
    gateway: Gateway,
    issuer: IdentityProvider,
    upstream: Upstream,
}

impl Target {
    async fn start() -> Self {
        let (issuer, upstream) = (IdentityProvider::start().await, Upstream::saying("ok").await);
        let config = Config::to(&upstream).top(&issuer.authentication("accounts", ""));
        let gateway = config.with("require: accounts").start().await;
        Self { gateway, issuer, upstream }
    }

    /// A text with its places filled in.
    fn fill(&self, text: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let kid = self.issuer.jwk("ES256")["kid"].as_str().unwrap().to_owned();
        text.replace("{iss}", &self.issuer.issuer())
            .replace("{kid}", &kid)
            .replace("{now}", &now.to_string())
            .replace("{exp}", &(now + 3600).to_string())
    }

    fn sign(&self, header: &str, claims: &str) -> String {
        self.issuer.sign_text("ES256", &self.fill(header), &self.fill(claims))
    }

    /// Sends these headers and compares the reason in the access log; `""` is for requests that are admitted.
    async fn expect(&self, what: &str, name: &str, fields: &[String], reason: &str) {
        let path = format!("/{what}/{}", name.replace(|it: char| !it.is_ascii_alphanumeric(), "-"));
        let fields: Vec<_> = fields.iter().map(String::as_str).collect();
        let before = self.upstream.requests().len();
        let answer = self.gateway.get(&path, &fields).await;
        let line = self.gateway.access_of(&path).await;
        let seen = line["auth.reason"].as_str().unwrap_or_default();
        assert_eq!(seen, reason, "{what}: {name}: {} {line}", answer.text());
        assert_eq!(answer.status(), if reason.is_empty() { 200 } else { 401 }, "{what}: {name}");
        assert_eq!(answer.head.get("x-injected"), None, "{what}: {name}");
        let admitted = self.upstream.requests().len() - before;
        assert_eq!(admitted, usize::from(reason.is_empty()), "{what}: {name}");
    }

    async fn expect_token(&self, what: &str, name: &str, token: &str, reason: &str) {
        self.expect(what, name, &[format!("Authorization: Bearer {token}")], reason).await;
    }
}

#[tokio::test]
async fn hostile_headers_are_refused() {
    let target = Target::start().await;
    for (name, _, header, reason) in HEADERS {
        target.expect_token("header", name, &target.sign(header, VALID), reason).await;
    }
    let long = format!(r#"{{"alg":"ES256","kid":"{{kid}}","x":"{}"}}"#, "x".repeat(3000));
    target.expect_token("header", "long", &target.sign(&long, VALID), "too_long").await;
    let long_id = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "k".repeat(300));
    target.expect_token("header", "long id", &target.sign(&long_id, VALID), "malformed").await;
    let deep =
        format!(r#"{{"alg":"ES256","kid":"{{kid}}","x":{}{}}}"#, "[".repeat(500), "]".repeat(500));
    target.expect_token("header", "deep", &target.sign(&deep, VALID), "malformed").await;
    assert!(target.issuer.fetches() <= 2, "unknown key ids make one fetch");
}

#[tokio::test]
async fn hostile_claims_are_refused() {
    let target = Target::start().await;
    for (name, _, claims, reason) in CLAIMS {
        target.expect_token("claims", name, &target.sign(HEADER, claims), reason).await;
    }
    let with = |member: String| VALID.replace("\"iat\"", &format!("\"x\":{member},\"iat\""));
    let deep = with(format!("{}{}", "[".repeat(1000), "]".repeat(1000)));
    target.expect_token("claims", "deep", &target.sign(HEADER, &deep), "malformed").await;
    let digits = with("9".repeat(4000));
    target.expect_token("claims", "digits", &target.sign(HEADER, &digits), "malformed").await;
    let large = with(format!("\"{}\"", "x".repeat(7000)));
    target.expect_token("claims", "large", &target.sign(HEADER, &large), "too_long").await;
    let many = with(format!("[{}1]", "0,".repeat(2500)));
    target.expect_token("claims", "many", &target.sign(HEADER, &many), "").await;
}

#[tokio::test]
async fn texts_that_are_no_tokens_are_refused() {
    let target = Target::start().await;
    let token = target.sign(HEADER, VALID);
    target.expect_token("form", "control", &token, "").await;
    for (name, _, make, reason) in FORMS {
        target.expect_token("form", name, &make(&token), reason).await;
    }
    for (name, field, reason) in FIELDS {
        let field = field.replace("{token}", &token);
        target.expect("field", name, &[field], reason).await;
    }
    // Every token that lacks its end.
    for length in (1..token.len()).step_by(7) {
        let part = &token[..length];
        let answer = target.gateway.get("/part", &[&format!("Authorization: Bearer {part}")]).await;
        assert_eq!(answer.status(), 401, "{part}");
    }
    // Every token with one other character.
    for at in (0..token.len()).step_by(5) {
        let mut other = token.clone().into_bytes();
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(other).unwrap();
        let answer =
            target.gateway.get("/other", &[&format!("Authorization: Bearer {other}")]).await;
        assert_eq!(answer.status(), 401, "{other}");
    }
}

#[tokio::test]
async fn forged_tokens_are_refused_and_their_urls_never_asked() {
    let target = Target::start().await;
    let evil = IdentityProvider::start().await;
    for (name, _, forge, reason) in FORGERIES {
        let token = forge(&target.issuer, &evil, &target.fill(VALID));
        target.expect_token("forgery", name, &token, reason).await;
    }
    assert_eq!(evil.targets(), Vec::<String>::new(), "the sender of a token chooses no URL");
    let asked: BTreeSet<_> = target.issuer.targets().into_iter().collect();
    assert_eq!(asked, BTreeSet::from(["/jwks.json".to_owned()]));
}

#[test]
fn corpus_has_each_attack_of_rfc_8725_and_at_least_200_entries() {
    let rows = HEADERS.iter().chain(CLAIMS);
    let is_hostile = |(_, _, _, reason): &&Row| !reason.is_empty();
    let hostile = rows.clone().filter(is_hostile).count();
    let all = hostile + FORMS.len() + FIELDS.len() + FORGERIES.len();
    assert!(all >= 200, "{all}");
    let sections: BTreeSet<&str> = rows
        .map(|(_, section, ..)| *section)
        .chain(FORMS.iter().map(|(_, section, ..)| *section))
        .chain(FORGERIES.iter().map(|(_, section, ..)| *section))
        .collect();
    // Every section that describes an attack.
    for section in ["2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.7", "2.8", "2.9"] {
        assert!(sections.contains(section), "{section}");
    }
    let names: BTreeSet<_> = HEADERS.iter().map(|row| row.0).collect();
    assert_eq!(names.len(), HEADERS.len(), "names are unique");
    let names: BTreeSet<_> = CLAIMS.iter().map(|row| row.0).collect();
    assert_eq!(names.len(), CLAIMS.len(), "names are unique");
}
