//! What the cookies keep: a login, and a login that has begun. Knows nothing of how they are encrypted and sent.

use crate::identity::{SchemeKind, VerifiedIdentity};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Claims of an ID token that say nothing of the user: they are about this token, and are checked when it arrives.
const CLAIMS_OF_TOKEN: [&str; 7] = ["aud", "azp", "nonce", "at_hash", "c_hash", "s_hash", "jti"];

/// The claim that says when a token was issued: for a login, its first.
const ISSUED_AT: &str = "iat";

/// The claim that names the login session, which the token of a refresh may leave out.
const SESSION: &str = "sid";

/// Maximum time from the redirect to the issuer to the return.
pub(super) const PENDING_TTL: Duration = Duration::from_secs(10 * 60);

/// Maximum time before the tokens expire at which the gateway refreshes them.
const REFRESH_BEFORE: u64 = 30;

/// Time for which new tokens are fresh: renewals of several sessions of a login refresh them once.
const FRESH: u64 = 10;

/// A login. Times are in seconds since 1970.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Login {
    /// Its id, which stays through refreshes.
    pub(super) id: String,
    /// The claims of the ID token.
    pub(super) claims: Map<String, Value>,
    /// The nonce of the ID token, which those of refreshes repeat if they have one.
    pub(super) nonce: String,
    /// The refresh token, if the issuer gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refresh_token: Option<String>,
    /// The time from which the gateway refreshes the tokens.
    pub(super) refresh_at: u64,
    /// The time at which the tokens expire.
    pub(super) tokens_expire: u64,
    /// The time at which the gateway got them.
    #[serde(default)]
    pub(super) tokens_since: u64,
    /// The time at which the login ends, whatever the tokens say.
    pub(super) ends: u64,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("ends", &self.ends).finish_non_exhaustive()
    }
}

impl Login {
    /// Takes over the claims and times of new tokens, which expire at this time. `iat` stays that of the login: a refresh
    /// is no new login, and must not revive one that was revoked meanwhile.
    pub(super) fn renew(&mut self, claims: Map<String, Value>, tokens_expire: u64, now: u64) {
        let before = std::mem::replace(&mut self.claims, claims);
        self.claims.retain(|name, _| !CLAIMS_OF_TOKEN.contains(&name.as_str()));
        if let Some(issued_at) = before.get(ISSUED_AT) {
            self.claims.insert(ISSUED_AT.to_owned(), issued_at.clone());
        }
        if let Some(session) = before.get(SESSION) {
            self.claims.entry(SESSION).or_insert_with(|| session.clone());
        }
        self.extend(tokens_expire, now);
    }

    /// Takes over the times of new tokens.
    pub(super) fn extend(&mut self, tokens_expire: u64, now: u64) {
        (self.tokens_expire, self.tokens_since) = (tokens_expire, now);
        let lifetime = tokens_expire.saturating_sub(now);
        self.refresh_at = tokens_expire.saturating_sub(REFRESH_BEFORE.min(lifetime / 4));
    }

    /// Whether the gateway refreshes the tokens now: shortly before they expire, and where a session is to go on.
    pub(super) fn is_refresh_due(&self, is_renewal: bool, now: u64) -> bool {
        let is_stale = is_renewal && self.tokens_since.saturating_add(FRESH) <= now;
        self.refresh_token.is_some() && (self.refresh_at <= now || is_stale)
    }

    /// The time at which the gateway no longer accepts the login: its end, or that of tokens that cannot be refreshed.
    pub(super) fn expires(&self) -> u64 {
        match self.refresh_token {
            Some(_) => self.ends,
            None => self.ends.min(self.tokens_expire),
        }
    }

    /// The identity that it proves: as long as the tokens are valid. Requests refresh them, open sessions do not: these
    /// end, unless they are renewed, so that what the issuer withdraws ends them too.
    pub(super) fn identity(&self, scheme: &Arc<str>) -> Arc<VerifiedIdentity> {
        let expires = self.ends.min(self.tokens_expire);
        let expires = UNIX_EPOCH.checked_add(Duration::from_secs(expires));
        let (scheme, mut claims) = (Arc::clone(scheme), self.claims.clone());
        // What names a token names the login here, through all its tokens: a logout revokes it by this.
        claims.insert("jti".to_owned(), self.id.clone().into());
        Arc::new(VerifiedIdentity::new(scheme, SchemeKind::Oidc, claims, expires))
    }
}

/// A login that has begun: what the browser keeps until the issuer sends it back.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct PendingLogin {
    /// Its id: the `state` of the request to the issuer.
    pub(super) id: String,
    /// The `nonce` that the ID token must have.
    pub(super) nonce: String,
    /// The code verifier (RFC 7636, section 4.1).
    pub(super) verifier: String,
    /// The URL to which the issuer sends the browser.
    pub(super) redirect_uri: String,
    /// The path and query that the browser asked for.
    pub(super) return_path: String,
    /// When it began, in seconds since 1970.
    pub(super) began: u64,
}

impl PendingLogin {
    /// Whether its time is over.
    pub(super) fn is_expired(&self, now: u64) -> bool {
        self.began.saturating_add(PENDING_TTL.as_secs()) < now
    }
}

/// The time in seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn login_ends_with_its_tokens_unless_they_can_be_refreshed() {
        let mut login = Login {
            id: String::new(),
            claims: Map::new(),
            nonce: String::new(),
            refresh_token: None,
            refresh_at: 0,
            tokens_expire: 0,
            tokens_since: 0,
            ends: 10_000,
        };
        let Value::Object(claims) = json!({"sub": "u", "nonce": "n", "sid": "s", "aud": "c"})
        else {
            panic!("no object");
        };
        login.renew(claims, 1_000, 100);
        assert_eq!(Value::Object(login.claims.clone()), json!({"sub": "u", "sid": "s"}));
        assert_eq!((login.refresh_at, login.expires()), (970, 1_000));
        login.refresh_token = Some("r".into());
        assert_eq!(login.expires(), 10_000);
        let identity = login.identity(&"browser".into());
        let expires_at = UNIX_EPOCH + Duration::from_secs(1_000);
        assert_eq!(identity.expires_at(), Some(expires_at), "sessions end with the tokens");
        assert!(login.is_refresh_due(false, 970) && !login.is_refresh_due(false, 969));
        assert!(login.is_refresh_due(true, 110) && !login.is_refresh_due(true, 109));
        login.extend(108, 100);
        assert_eq!(login.refresh_at, 106);
    }

    #[test]
    fn refresh_does_not_make_a_login_younger_or_nameless() {
        let mut login = Login {
            id: String::new(),
            claims: Map::new(),
            nonce: String::new(),
            refresh_token: Some("r".into()),
            refresh_at: 0,
            tokens_expire: 0,
            tokens_since: 0,
            ends: 10_000,
        };
        let object = |value: Value| value.as_object().cloned().unwrap_or_default();
        login.renew(object(json!({"sub": "u", "sid": "s", "iat": 100})), 1_000, 100);
        login.renew(object(json!({"sub": "u", "iat": 900, "name": "U"})), 2_000, 900);
        let kept = json!({"sub": "u", "sid": "s", "iat": 100, "name": "U"});
        assert_eq!(Value::Object(login.claims), kept, "a revocation at 500 still holds");
    }
}
