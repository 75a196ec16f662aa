//! The rules for ID tokens (OpenID Connect Core 1.0, section 3.1.3.7), over those for all tokens. Knows nothing of where
//! keys and tokens come from.

use crate::authentication::Refusal;
use crate::authentication::jwt::{KeySet, Purpose, Signature, TokenRules, refusal_of};
use serde_json::{Map, Value};
use std::time::{Duration, SystemTime};
use tidegate_config::JwtAlgorithm;
use tidegate_http::jwt::UnverifiedToken;

/// The algorithms that are accepted: those with public keys. Each verifies only by keys of its type.
const ALGORITHMS: [JwtAlgorithm; 9] = [
    JwtAlgorithm::ES256,
    JwtAlgorithm::ES384,
    JwtAlgorithm::EdDSA,
    JwtAlgorithm::RS256,
    JwtAlgorithm::RS384,
    JwtAlgorithm::RS512,
    JwtAlgorithm::PS256,
    JwtAlgorithm::PS384,
    JwtAlgorithm::PS512,
];

/// What the ID tokens of an issuer for a client must say.
#[derive(Debug)]
pub(super) struct IdTokenRules {
    rules: TokenRules,
    client_id: String,
}

/// What the ID token of one login must say.
pub(super) struct Expected<'e> {
    pub(super) nonce: &'e str,
    /// Whether the token must have the nonce; one of a refresh need not.
    pub(super) is_nonce_required: bool,
    /// The user whose login is refreshed.
    pub(super) subject: Option<&'e str>,
}

/// Why an ID token is refused.
pub(super) enum IdTokenError {
    /// None of the keys has its name.
    UnknownKey(Refusal),
    /// Whatever the keys are.
    Refused(Refusal),
}

impl From<Refusal> for IdTokenError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl IdTokenRules {
    pub(super) fn new(issuer: &str, client_id: &str, leeway: Duration) -> Self {
        let rules = TokenRules {
            issuer: issuer.to_owned(),
            audience: [client_id.to_owned()].into(),
            algorithms: ALGORITHMS.into(),
            token_type: None,
            leeway,
        };
        Self { rules, client_id: client_id.to_owned() }
    }

    /// The claims of a token that these keys have signed, for this login.
    pub(super) fn verify(
        &self,
        token: &str,
        keys: &KeySet,
        expected: &Expected<'_>,
    ) -> Result<Map<String, Value>, IdTokenError> {
        let claims = self.verify_token(token.as_bytes(), keys, Purpose::Access)?;
        self.check_login(&claims, expected)?;
        Ok(claims)
    }

    /// The claims of a logout token (OpenID Connect Back-Channel Logout 1.0, section 2.6) that these keys have signed. The
    /// caller checks what only logout tokens have.
    pub(super) fn verify_logout(
        &self,
        token: &[u8],
        keys: &KeySet,
    ) -> Result<Map<String, Value>, Refusal> {
        self.verify_token(token, keys, Purpose::Logout).map_err(|error| match error {
            IdTokenError::UnknownKey(refusal) | IdTokenError::Refused(refusal) => refusal,
        })
    }

    fn verify_token(
        &self,
        token: &[u8],
        keys: &KeySet,
        purpose: Purpose,
    ) -> Result<Map<String, Value>, IdTokenError> {
        let token = UnverifiedToken::parse(token).map_err(refusal_of)?;
        let algorithm = self.rules.check_header(&token.header, purpose)?;
        let key_id = token.header.key_id.as_deref();
        match keys.verify(key_id, algorithm, token.signed, &token.signature) {
            Signature::Valid => {}
            Signature::UnknownKey => {
                let message = "the issuer has published no key of the token's name";
                return Err(IdTokenError::UnknownKey(Refusal::new("unknown_key", message)));
            }
            Signature::Invalid | Signature::OtherAlgorithm => {
                let message = "the issuer has not signed the token";
                return Err(Refusal::new("signature", message).into());
            }
        }
        self.rules.check_claims(&token.claims, purpose, SystemTime::now())?;
        Ok(token.claims)
    }

    fn check_login(
        &self,
        claims: &Map<String, Value>,
        expected: &Expected<'_>,
    ) -> Result<(), Refusal> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let Some(subject) = text("sub").filter(|subject| !subject.is_empty()) else {
            return Err(Refusal::new("missing_claim", "the ID token has no claim `sub`"));
        };
        if expected.subject.is_some_and(|expected| expected != subject) {
            return Err(Refusal::new("subject", "the ID token is of another user"));
        }
        if !claims.get("iat").is_some_and(Value::is_number) {
            return Err(Refusal::new("missing_claim", "the ID token has no claim `iat`"));
        }
        let has_right_nonce = match claims.get("nonce") {
            Some(nonce) => nonce.as_str() == Some(expected.nonce),
            None => !expected.is_nonce_required,
        };
        if !has_right_nonce {
            return Err(Refusal::new("nonce", "the ID token is of another login"));
        }
        let has_others = claims.get("aud").and_then(Value::as_array).is_some_and(|it| it.len() > 1);
        let is_for_us = match claims.get("azp") {
            Some(party) => party.as_str() == Some(&*self.client_id),
            None => !has_others,
        };
        match is_for_us {
            true => Ok(()),
            false => Err(Refusal::new("authorized_party", "the ID token is for another client")),
        }
    }
}
