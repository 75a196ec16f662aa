//! Logout tokens of issuers (OpenID Connect Back-Channel Logout 1.0, section 2.4): checks what a signature does not say.
//! The schemes verify signature, issuer and audience.

use super::{Revocations, RevokedLogin, seconds};
use crate::authentication::Scheme;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The event that makes a token a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// The media type of a logout token, where its header says one.
const TYPE: &str = "logout+jwt";

/// Maximum age of a logout token, and how far its issuer's clock may be ahead.
const MAX_AGE: Duration = Duration::from_secs(300);

/// Maximum number of remembered tokens. Only issuers make any.
const MAX_SEEN: usize = 100_000;

/// Why a logout token is not accepted: a sentence without any part of it.
type LogoutError = &'static str;

/// The logout tokens of late, each of which counts once.
#[derive(Debug, Default)]
pub(super) struct LogoutTokens {
    /// The hashes of their issuers and ids, and when they were issued.
    seen: Mutex<HashMap<[u8; 32], u64>>,
}

impl LogoutTokens {
    /// Verifies a logout token by the keys of the scheme of its issuer, and revokes what it names.
    pub(super) fn accept(
        &self,
        token: &str,
        schemes: &[Arc<dyn Scheme>],
        revocations: &Revocations,
    ) -> Result<(), LogoutError> {
        let mut verified = Err("no scheme of the gateway has the issuer of the token");
        for scheme in schemes {
            match scheme.verify_logout_token(token.as_bytes()) {
                None => {}
                Some(Ok(claims)) => {
                    verified = Ok(claims);
                    break;
                }
                Some(Err(_)) => {
                    verified = Err("the token is not validly signed for an audience of the gateway")
                }
            }
        }
        self.revoke(token, &verified?, revocations, SystemTime::now())
    }

    fn revoke(
        &self,
        token: &str,
        claims: &Map<String, Value>,
        revocations: &Revocations,
        now: SystemTime,
    ) -> Result<(), LogoutError> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let kind = typ(token)?;
        if !kind.is_none_or(|kind| kind.eq_ignore_ascii_case(TYPE)) {
            return Err("`typ` is not `logout+jwt`");
        }
        let event = claims.get("events").and_then(|events| events.get(EVENT));
        if !event.is_some_and(Value::is_object) {
            return Err("`events` does not have the event of a logout");
        }
        if claims.contains_key("nonce") {
            return Err("a logout token must not have `nonce`");
        }
        let issued_at = claims.get("iat").and_then(Value::as_u64).ok_or("`iat` is missing")?;
        let now = seconds(now);
        if now.abs_diff(issued_at) > MAX_AGE.as_secs() {
            return Err("`iat` is not recent");
        }
        let issuer = text("iss").ok_or("`iss` is missing")?;
        let id = text("jti").filter(|id| !id.is_empty()).ok_or("`jti` is missing")?;
        let (session, subject) = (text("sid"), text("sub"));
        if session.is_none() && subject.is_none() {
            return Err("the token has neither `sid` nor `sub`");
        }
        if !self.is_first(issuer, id, issued_at, now) {
            return Err("the token was used before");
        }
        let at = UNIX_EPOCH + Duration::from_secs(issued_at);
        match (session, subject) {
            // All sessions of the user at the issuer only if none is named (section 2.6).
            (Some(id), _) => revocations.revoke(RevokedLogin::Session { issuer, id }, at),
            (None, Some(id)) => revocations.revoke(RevokedLogin::Subject { issuer, id }, at),
            (None, None) => {}
        }
        Ok(())
    }

    fn is_first(&self, issuer: &str, id: &str, issued_at: u64, now: u64) -> bool {
        let length = (issuer.len() as u64).to_be_bytes();
        let hash = digest(&SHA256, &[&length, issuer.as_bytes(), id.as_bytes()].concat());
        let Ok(hash) = <[u8; 32]>::try_from(hash.as_ref()) else { return false };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MAX_SEEN {
            // Older ones are refused for their age.
            seen.retain(|_, issued_at| now.abs_diff(*issued_at) <= MAX_AGE.as_secs());
        }
        seen.len() < MAX_SEEN && seen.insert(hash, issued_at).is_none()
    }
}

/// The `typ` of the token's header.
fn typ(token: &str) -> Result<Option<String>, LogoutError> {
    let malformed = "the token is malformed";
    let header = token.split('.').next().unwrap_or_default();
    let header = BASE64_URL_SAFE_NO_PAD.decode(header).map_err(|_| malformed)?;
    let header: Map<String, Value> = serde_json::from_slice(&header).map_err(|_| malformed)?;
    match header.get("typ") {
        None => Ok(None),
        Some(Value::String(kind)) => Ok(Some(kind.clone())),
        Some(_) => Err(malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{SchemeKind, VerifiedIdentity};
    use serde_json::json;

    const NOW: u64 = 2_000_000_000;

    fn claims(more: Value) -> Map<String, Value> {
        let mut all = json!({
            "iss": "i", "aud": "chat", "jti": "1", "iat": NOW, "sid": "s",
            "events": {EVENT: {}},
        });
        let all = all.as_object_mut().expect("an object");
        let Value::Object(more) = more else { panic!("no object") };
        all.extend(more);
        all.retain(|_, value| !value.is_null());
        all.clone()
    }

    fn accept(tokens: &LogoutTokens, header: &Value, more: Value) -> Result<(), LogoutError> {
        let token = format!("{}.e30.e30", BASE64_URL_SAFE_NO_PAD.encode(header.to_string()));
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        tokens.revoke(&token, &claims(more), &Revocations::default(), now)
    }

    #[test]
    fn token_that_is_no_recent_logout_token_is_refused() {
        let plain = json!({"alg": "ES256"});
        let tokens = LogoutTokens::default();
        for wrong in [
            json!({"events": null}),
            json!({"events": {"other": {}}}),
            json!({"events": {EVENT: 1}}),
            json!({"events": EVENT}),
            json!({"nonce": "n"}),
            json!({"nonce": ""}),
            json!({"iat": NOW - 301}),
            json!({"iat": NOW + 301}),
            json!({"iat": "x"}),
            json!({"iat": null}),
            json!({"jti": null}),
            json!({"jti": ""}),
            json!({"sid": null}),
            json!({"sid": 1}),
            json!({"iss": null}),
        ] {
            assert!(accept(&tokens, &plain, wrong.clone()).is_err(), "{wrong}");
        }
        assert!(accept(&tokens, &json!({"typ": "JWT"}), json!({})).is_err());
        assert!(accept(&tokens, &json!({"typ": 1}), json!({})).is_err());
        assert_eq!(accept(&tokens, &json!({"typ": "Logout+JWT"}), json!({})), Ok(()));
        assert!(accept(&tokens, &plain, json!({})).is_err(), "the same `jti` again");
        assert_eq!(accept(&tokens, &plain, json!({"jti": "2"})), Ok(()));
        assert_eq!(accept(&tokens, &plain, json!({"iss": "j"})), Ok(()), "of another issuer");
        assert_eq!(accept(&tokens, &plain, json!({"jti": "3", "sid": null, "sub": "u"})), Ok(()));
    }

    #[test]
    fn token_with_sid_ends_that_login_session_alone() {
        let (tokens, revocations) = (LogoutTokens::default(), Revocations::default());
        let now = SystemTime::now();
        let recent = json!({"iat": seconds(now), "sub": "u"});
        assert_eq!(tokens.revoke("e30", &claims(recent), &revocations, now), Ok(()));
        let identity = |sid: &str| {
            let claims = claims(json!({"sid": sid, "sub": "u", "jti": null, "iat": 1}));
            VerifiedIdentity::new("accounts".into(), SchemeKind::Jwt, claims, None)
        };
        assert!(revocations.refuse(&identity("s"), None));
        assert!(!revocations.refuse(&identity("other"), None));
    }
}
