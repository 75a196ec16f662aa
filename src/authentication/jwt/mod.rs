//! The scheme `jwt`: JSON Web Tokens of an issuer, verified as RFC 7519 and RFC 8725 say. Knows nothing of routes, and
//! never fetches a key for a request itself.
//!
//! The signatures are verified by ring, which TLS here uses too. `jsonwebtoken` was considered: it no longer works with
//! ring, its two other providers would be a second cryptographic library, and it checks neither duplicate members nor
//! the types that tokens must have.

mod cache;
mod claims;
mod fetch;
mod key;
mod key_set;
mod key_store;

pub(crate) use claims::{Purpose, TokenRules, refusal_of};
pub(crate) use fetch::KeyLocation;
pub(crate) use key::{VerificationKey, min_secret_length, name_of};
pub(crate) use key_set::{KeySet, Signature};
pub(crate) use key_store::{KeyStore, RemoteKeys};

use super::token_source::SeveralTokens;
use super::{Credentials, Refusal, Scheme, TokenSource, Verdict};
use crate::identity::{SchemeKind, VerifiedIdentity};
use async_trait::async_trait;
use cache::{TokenCache, hash_of};
use claims::Validity;
use http::HeaderValue;
use key_store::CurrentKeys;
use pingora::http::RequestHeader;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::SystemTime;
use tidegate_http::jwt::{TokenHeader, UnverifiedToken};

/// The reasons for which `require.claims` and `require.user_matches` refuse an identity: another token may be admitted, a
/// fresh one of the same rights is not.
const CLAIM_REASONS: [&str; 2] = ["claim", "user_mismatch"];

/// A scheme of JSON Web Tokens.
#[derive(Debug)]
pub(crate) struct JwtScheme {
    name: Arc<str>,
    rules: TokenRules,
    keys: Arc<KeyStore>,
    sources: Box<[TokenSource]>,
    is_forwarded: bool,
    cache: TokenCache,
}

/// Why a token is not accepted.
enum TokenError {
    /// It is not valid.
    Refused(Refusal),
    /// Its key is not among those that are here.
    UnknownKey,
    /// There are no keys.
    Unavailable(Refusal),
}

impl From<Refusal> for TokenError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A token whose signature and claims are valid.
struct VerifiedToken {
    claims: Map<String, Value>,
    validity: Validity,
    key_set: u64,
}

impl JwtScheme {
    /// A scheme of this name.
    pub(crate) fn new(
        name: &str,
        rules: TokenRules,
        keys: Arc<KeyStore>,
        sources: Vec<TokenSource>,
        is_forwarded: bool,
    ) -> Self {
        let (name, sources) = (name.into(), sources.into());
        Self { name, rules, keys, sources, is_forwarded, cache: TokenCache::new() }
    }

    /// The token, from the first place that has one.
    fn token<'h>(
        &self,
        head: &'h RequestHeader,
    ) -> Result<Option<std::borrow::Cow<'h, [u8]>>, SeveralTokens> {
        for source in &self.sources {
            if let Some(token) = source.find(head)? {
                return Ok(Some(token));
            }
        }
        Ok(None)
    }

    /// Verifies a token with the keys that are here.
    fn verify_now(
        &self,
        text: &[u8],
        purpose: Purpose,
        now: SystemTime,
    ) -> Result<VerifiedToken, TokenError> {
        let token = UnverifiedToken::parse(text).map_err(claims::refusal_of)?;
        let UnverifiedToken { header, claims, signed, signature } = token;
        // The cheap checks come first: tokens of others cost no signature, and wake no fetch.
        let algorithm = self.rules.check_header(&header, purpose)?;
        let validity = self.rules.check_claims(&claims, purpose, now)?;
        let TokenHeader { key_id, .. } = header;
        let keys = match self.keys.current() {
            CurrentKeys::Keys(keys) => keys,
            CurrentKeys::None => {
                let message = "the gateway does not have the issuer's keys yet";
                return Err(TokenError::Unavailable(Refusal::new("no_keys", message)));
            }
            CurrentKeys::TooOld => {
                let message = "the issuer's keys cannot be fetched, and the last ones are too old";
                return Err(TokenError::Unavailable(Refusal::new("keys_too_old", message)));
            }
        };
        match keys.verify(key_id.as_deref(), algorithm, signed, &signature) {
            Signature::Valid => Ok(VerifiedToken { claims, validity, key_set: keys.number() }),
            Signature::Invalid => {
                let message = "the token's signature is not valid";
                Err(Refusal::new("signature", message).into())
            }
            Signature::OtherAlgorithm => {
                let message = "the token's algorithm does not fit its key";
                Err(Refusal::new("algorithm", message).into())
            }
            Signature::UnknownKey => Err(TokenError::UnknownKey),
        }
    }

    /// Verifies a token, and waits for keys that are being fetched if it cannot be verified without.
    async fn verify_patiently(
        &self,
        text: &[u8],
        now: SystemTime,
        is_dry_run: bool,
    ) -> Result<VerifiedToken, TokenError> {
        let verified = self.verify_now(text, Purpose::Access, now);
        if is_dry_run {
            return verified;
        }
        match verified {
            Err(TokenError::Unavailable(_)) => self.keys.wait_for_first_fetch().await,
            Err(TokenError::UnknownKey) => self.keys.refetch().await,
            verified => return verified,
        }
        // Another request may have had the keys fetched meanwhile.
        self.verify_now(text, Purpose::Access, now)
    }
}

fn unknown_key() -> Refusal {
    Refusal::new("unknown_key", "the issuer has no key with the token's `kid`")
}

#[async_trait]
impl Scheme for JwtScheme {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn kind(&self) -> SchemeKind {
        SchemeKind::Jwt
    }

    fn describe(&self) -> String {
        let sources: Vec<_> = self.sources.iter().map(ToString::to_string).collect();
        format!("issuer {}, from {}", self.rules.issuer, sources.join(" or "))
    }

    async fn verify(&self, credentials: Credentials<'_>) -> Verdict {
        let token = match self.token(credentials.head) {
            Ok(Some(token)) => token,
            Ok(None) => return Verdict::Missing,
            Err(SeveralTokens) => {
                return Verdict::Refused(Refusal::several_credentials());
            }
        };
        let now = SystemTime::now();
        let hash = hash_of(&token);
        if let CurrentKeys::Keys(keys) = self.keys.current()
            && let Some(identity) = self.cache.get(&hash, keys.number(), now)
        {
            return Verdict::Verified(identity, Vec::new());
        }
        let is_dry_run = credentials.exchange.is_dry_run();
        match self.verify_patiently(&token, now, is_dry_run).await {
            Ok(VerifiedToken { claims, validity, key_set }) => {
                let (scheme, expiry) = (Arc::clone(&self.name), validity.expires_at());
                let identity = VerifiedIdentity::new(scheme, SchemeKind::Jwt, claims, expiry);
                let identity = Arc::new(identity);
                self.cache.insert(hash, key_set, validity, &identity, now);
                Verdict::Verified(identity, Vec::new())
            }
            Err(TokenError::Refused(refusal)) => Verdict::Refused(refusal),
            Err(TokenError::UnknownKey) => Verdict::Refused(unknown_key()),
            Err(TokenError::Unavailable(refusal)) => Verdict::Unavailable(refusal),
        }
    }

    /// As RFC 6750, section 3, says.
    fn challenge(&self, refusal: Option<&Refusal>) -> Option<HeaderValue> {
        let mut text = format!("Bearer realm=\"{}\"", quotable(&self.name));
        if let Some(refusal) = refusal {
            let Refusal { reason, message } = refusal;
            let error = match *reason {
                reason if CLAIM_REASONS.contains(&reason) => "insufficient_scope",
                _ if *refusal == Refusal::several_credentials() => "invalid_request",
                _ => "invalid_token",
            };
            text += &format!(", error=\"{error}\", error_description=\"{}\"", quotable(message));
        }
        HeaderValue::from_str(&text).ok()
    }

    fn sanitize(&self, head: &mut RequestHeader) {
        if !self.is_forwarded {
            self.sources.iter().for_each(|source| source.remove(head));
        }
    }

    fn verify_logout_token(&self, token: &[u8]) -> Option<Result<Map<String, Value>, Refusal>> {
        Some(match self.verify_now(token, Purpose::Logout, SystemTime::now()) {
            Ok(verified) => Ok(verified.claims),
            Err(TokenError::Refused(refusal) | TokenError::Unavailable(refusal)) => Err(refusal),
            Err(TokenError::UnknownKey) => Err(unknown_key()),
        })
    }

    fn start(self: Arc<Self>) {
        self.keys.start();
    }
}

/// Without the characters that an `error_description` must not have (RFC 6750, section 3).
fn quotable(text: &str) -> String {
    text.chars()
        .map(|it| if matches!(it, ' '..='~') && !matches!(it, '"' | '\\') { it } else { '\'' })
        .collect()
}
