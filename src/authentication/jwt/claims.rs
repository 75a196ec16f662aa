//! The rules for what a token says about itself (RFC 7519, section 4.1; RFC 8725). Verifies no signature.

use super::key::{self, name_of};
use crate::authentication::Refusal;
use crate::identity::LAST_SECOND;
use serde_json::{Map, Value};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tidegate_config::JwtAlgorithm;
use tidegate_http::jwt::{TokenFormError, TokenHeader};

/// The types of tokens that are accepted where none is configured (RFC 7519, section 5.1; RFC 9068, section 2.1). Other types
/// have a meaning of their own: a logout token, a proof, a security event (RFC 8725, section 3.11).
const TOKEN_TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// The type of logout tokens (OpenID Connect Back-Channel Logout 1.0, section 2.4).
const LOGOUT_TYPE: &str = "logout+jwt";

/// The members that only security events have (RFC 8417): a logout token may lack its type.
const EVENTS: &str = "events";

/// The key that a token is bound to (RFC 7800): only who proves to have it may use the token.
const CONFIRMATION: &str = "cnf";

/// What a token must say.
#[derive(Debug)]
pub(crate) struct TokenRules {
    /// The claim `iss`.
    pub(crate) issuer: String,
    /// The claim `aud` must contain one of them.
    pub(crate) audience: Box<[String]>,
    /// The algorithms that are accepted.
    pub(crate) algorithms: Box<[JwtAlgorithm]>,
    /// The `typ` that is required, without `application/` and in lower case.
    pub(crate) token_type: Option<String>,
    /// Tolerance for clocks that differ.
    pub(crate) leeway: Duration,
}

/// What a token is to be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It lets a request in.
    Access,
    /// It ends sessions.
    Logout,
}

/// The time within which a token is valid, without leeway.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Validity {
    /// The first moment: the later one of `nbf` and `iat`.
    from: Option<Duration>,
    /// The moment at which it has expired; logout tokens may have none.
    until: Option<Duration>,
    leeway: Duration,
}

impl Validity {
    /// When it expires, without leeway.
    pub(crate) fn expires_at(&self) -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(self.until?)
    }

    /// Whether a token is valid at this time.
    pub(crate) fn contains(&self, now: SystemTime) -> bool {
        let now = since_1970(now);
        self.until.is_none_or(|until| now < until + self.leeway)
            && self.from.is_none_or(|from| now + self.leeway >= from)
    }
}

impl TokenRules {
    /// Checks the header, and returns the algorithm.
    ///
    /// # Errors
    /// When a token with this header is not accepted, whoever has signed it.
    pub(crate) fn check_header(
        &self,
        header: &TokenHeader,
        purpose: Purpose,
    ) -> Result<JwtAlgorithm, Refusal> {
        let algorithm = key::ALGORITHMS.iter().find(|(name, _)| *name == header.algorithm);
        let algorithm = algorithm.map(|(_, algorithm)| *algorithm);
        let Some(algorithm) = algorithm.filter(|it| self.algorithms.contains(it)) else {
            let accepted: Vec<_> = self.algorithms.iter().map(|it| name_of(*it)).collect();
            let message = format!("the token's algorithm must be one of {}", accepted.join(", "));
            return Err(Refusal::new("algorithm", message));
        };
        let written = header.token_type.as_deref();
        let is_accepted = match (purpose, &self.token_type) {
            (Purpose::Logout, _) => written.is_none_or(|it| it == LOGOUT_TYPE || it == "jwt"),
            (Purpose::Access, _) if written == Some(LOGOUT_TYPE) => false,
            (Purpose::Access, Some(required)) => written == Some(required),
            (Purpose::Access, None) => written.is_none_or(|it| TOKEN_TYPES.contains(&it)),
        };
        match is_accepted {
            true => Ok(algorithm),
            false => Err(Refusal::new("token_type", "a token of this type is not accepted here")),
        }
    }

    /// Checks the claims, and returns the time within which the token is valid.
    ///
    /// # Errors
    /// When a token with these claims is not accepted, whoever has signed it.
    pub(crate) fn check_claims(
        &self,
        claims: &Map<String, Value>,
        purpose: Purpose,
        now: SystemTime,
    ) -> Result<Validity, Refusal> {
        for name in ["sub", "jti"] {
            if !claims.get(name).is_none_or(Value::is_string) {
                return Err(invalid(name, "must be a string"));
            }
        }
        match text(claims, "iss")? {
            issuer if issuer == self.issuer => {}
            _ => return Err(Refusal::new("issuer", "the token is of another issuer")),
        }
        if !self.is_for_audience(claims.get("aud").ok_or_else(|| missing("aud"))?)? {
            return Err(Refusal::new("audience", "the token is for another audience"));
        }
        if purpose == Purpose::Access {
            if claims.contains_key(EVENTS) {
                let message = "the token reports an event and lets nobody in";
                return Err(Refusal::new("token_type", message));
            }
            if claims.contains_key(CONFIRMATION) {
                let message = "the token is bound to a key, which the gateway cannot check";
                return Err(Refusal::new("bound_token", message));
            }
        }
        self.check_times(claims, purpose, now)
    }

    fn check_times(
        &self,
        claims: &Map<String, Value>,
        purpose: Purpose,
        now: SystemTime,
    ) -> Result<Validity, Refusal> {
        let (until, issued) = (time(claims, "exp")?, time(claims, "iat")?);
        let starts = time(claims, "nbf")?;
        match purpose {
            Purpose::Access if until.is_none() => return Err(missing("exp")),
            Purpose::Logout if issued.is_none() => return Err(missing("iat")),
            Purpose::Access | Purpose::Logout => {}
        }
        let (now, leeway) = (since_1970(now), self.leeway);
        if until.is_some_and(|until| now >= until + leeway) {
            return Err(Refusal::new("expired", "the token has expired"));
        }
        if starts.is_some_and(|starts| now + leeway < starts) {
            return Err(Refusal::new("not_yet_valid", "the token is not valid yet"));
        }
        if issued.is_some_and(|issued| now + leeway < issued) {
            return Err(Refusal::new("issued_in_future", "the token was issued in the future"));
        }
        Ok(Validity { from: starts.max(issued), until, leeway })
    }

    fn is_for_audience(&self, audience: &Value) -> Result<bool, Refusal> {
        let is_ours = |name: &str| self.audience.iter().any(|own| own == name);
        match audience {
            Value::String(name) => Ok(is_ours(name)),
            Value::Array(names) if names.iter().all(Value::is_string) => {
                Ok(names.iter().filter_map(Value::as_str).any(is_ours))
            }
            _ => Err(invalid("aud", "must be a string or a list of strings")),
        }
    }
}

/// A claim that is a text.
fn text<'c>(claims: &'c Map<String, Value>, name: &str) -> Result<&'c str, Refusal> {
    let claim = claims.get(name).ok_or_else(|| missing(name))?;
    claim.as_str().ok_or_else(|| invalid(name, "must be a string"))
}

/// A claim that is a time, in seconds since 1970, which may have a fraction (RFC 7519, section 2).
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<Duration>, Refusal> {
    let Some(claim) = claims.get(name) else { return Ok(None) };
    let seconds = claim.as_f64().filter(|seconds| (0.0..=LAST_SECOND as f64).contains(seconds));
    match seconds {
        Some(seconds) => Ok(Some(Duration::from_secs_f64(seconds))),
        None => Err(invalid(name, "must be a number of seconds since 1970")),
    }
}

fn missing(name: &str) -> Refusal {
    Refusal::new("missing_claim", format!("the token has no claim `{name}`"))
}

fn invalid(name: &str, rule: &str) -> Refusal {
    Refusal::new("invalid_claim", format!("the token's claim `{name}` {rule}"))
}

/// The time since 1970; a clock before that counts as 1970, so that no token is valid too long for it.
fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Why a token of this form is refused.
pub(crate) fn refusal_of(error: TokenFormError) -> Refusal {
    let (reason, message) = match error {
        TokenFormError::TooLong => ("too_long", "the token is too long"),
        TokenFormError::Parts => ("malformed", "the token does not have three parts"),
        TokenFormError::Base64 => ("malformed", "a part of the token is not base64url"),
        TokenFormError::Json => ("malformed", "a part of the token is not a JSON object"),
        TokenFormError::DuplicateMember => {
            ("duplicate_member", "a member of the token occurs twice")
        }
        TokenFormError::Header => ("malformed", "a member of the token's header is not valid"),
        TokenFormError::Critical => {
            ("critical_header", "the token's header has an extension that is not supported")
        }
        TokenFormError::Nested => ("nested", "the token is nested, compressed or encrypted"),
    };
    Refusal::new(reason, message)
}
