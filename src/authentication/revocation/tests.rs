//! Tests of what is revoked, and for how long.

use super::*;
use crate::identity::SchemeKind;
use serde_json::{Map, Value, json};

const NOW: u64 = 2_000_000_000;

fn identity(claims: Value) -> VerifiedIdentity {
    let Value::Object(claims) = claims else { panic!("no object") };
    VerifiedIdentity::new("accounts".into(), SchemeKind::Jwt, claims, None)
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn user_can_log_in_again_and_a_login_session_cannot_be_used_again() {
    let revocations = Revocations::default();
    let token = |issued_at: u64| {
        identity(json!({"iss": "i", "sub": "u", "sid": "s", "jti": "t", "iat": issued_at}))
    };
    assert!(!revocations.refuse(&token(NOW), Some("u")), "nothing is revoked");
    revocations.revoke(RevokedLogin::Subject { issuer: "i", id: "u" }, at(NOW));
    assert!(revocations.refuse(&token(NOW - 1), None));
    assert!(revocations.refuse(&token(NOW), None), "in the same second: it may be older");
    assert!(!revocations.refuse(&token(NOW + 1), None));
    let without = identity(json!({"iss": "i", "sub": "u"}));
    assert!(revocations.refuse(&without, None), "it may be older");
    for other in
        [json!({"iss": "j", "sub": "u", "iat": 1}), json!({"iss": "i", "sub": "v", "iat": 1})]
    {
        assert!(!revocations.refuse(&identity(other.clone()), None), "{other}");
    }
    revocations.revoke(RevokedLogin::Session { issuer: "i", id: "s" }, at(NOW));
    assert!(revocations.refuse(&token(NOW + 1), None), "whenever it was issued");
    let revocations = Revocations::default();
    revocations.revoke(RevokedLogin::Token { issuer: "i", id: "t" }, at(NOW));
    assert!(revocations.refuse(&token(NOW + 1), None));
    let revocations = Revocations::default();
    revocations.revoke(RevokedLogin::User { id: "u" }, at(NOW));
    assert!(
        revocations.refuse(&token(NOW), Some("u")) && !revocations.refuse(&token(NOW), Some("v"))
    );
    assert!(!revocations.refuse(&token(NOW + 1), Some("u")));
}

#[test]
fn revocations_are_forgotten_after_their_time_and_bounded() {
    let mut list = List::default();
    let number = |number: u128| RevocationKey(number.to_be_bytes());
    let revocation =
        |key: u128, until: u64| Revocation { key: number(key), issued_until: Some(NOW), until };
    assert!(list.add(revocation(1, NOW + 10), NOW));
    assert!(!list.add(revocation(1, NOW + 5), NOW), "it is known for longer");
    assert!(!list.add(revocation(2, NOW), NOW), "over already");
    assert!(list.add(revocation(3, NOW + 20), NOW + 10));
    assert_eq!(list.entries.keys().copied().collect::<Vec<_>>(), [number(3)]);
    for key in 0..MAX_REVOCATIONS as u128 {
        list.add(revocation(1000 + key, NOW + 30 + key as u64), NOW);
    }
    assert_eq!((list.entries.len(), list.by_end.len()), (MAX_REVOCATIONS, MAX_REVOCATIONS));
    assert!(!list.entries.contains_key(&number(3)), "the first to end makes room");
}

#[cfg(feature = "valkey")]
#[test]
fn revocation_of_another_gateway_is_read_as_it_was_written() {
    for issued_until in [None, Some(NOW)] {
        let key = RevokedLogin::User { id: "u" }.key();
        let revocation = Revocation { key, issued_until, until: NOW + 1 };
        assert_eq!(Revocation::parse(&revocation.to_text()), Some(revocation));
    }
    for wrong in [
        "",
        "00 - 1",
        "zz",
        &format!("{} x 1", "0".repeat(32)),
        &format!("{} - 1 2", "0".repeat(32)),
    ] {
        assert_eq!(Revocation::parse(wrong), None, "{wrong}");
    }
    let (one, other) = (Revocations::default(), Revocations::default());
    one.revoke(RevokedLogin::User { id: "u" }, at(NOW));
    for revocation in one.take_untold() {
        assert!(other.take_over(revocation) && !other.take_over(revocation));
    }
    assert!(other.refuse(&identity(json!({"iat": NOW})), Some("u")));
    assert!(one.take_untold().is_empty() && other.take_untold().is_empty());
    assert_eq!(one.all(), other.all());
}

#[test]
fn revocation_is_remembered_until_what_it_refuses_has_expired() {
    let revocations = Revocations::default();
    revocations.set_remember(Duration::from_secs(60));
    let now = SystemTime::now();
    revocations.revoke(RevokedLogin::User { id: "u" }, now);
    let expires_at = now + Duration::from_secs(30 * 24 * 60 * 60);
    let identity = |expires_at| {
        VerifiedIdentity::new("accounts".into(), SchemeKind::Jwt, Map::new(), expires_at)
    };
    assert!(!revocations.refuse(&identity(Some(expires_at)), Some("v")));
    let until = || revocations.all().first().map(|revocation| revocation.until).unwrap_or(0);
    assert!(until() <= seconds(now) + 61, "nothing that it refuses is known");
    revocations.take_untold();
    assert!(revocations.refuse(&identity(Some(expires_at)), Some("u")));
    assert!(until() > seconds(expires_at));
    assert_eq!(revocations.take_untold(), revocations.all(), "others learn of it");
    assert!(revocations.refuse(&identity(Some(now)), Some("u")));
    assert!(revocations.refuse(&identity(None), Some("u")));
    assert!(revocations.take_untold().is_empty(), "nothing has changed");
}
