//! The identity that authentication has verified for a request: its scheme, its claims, its expiry. Verifies nothing
//! itself.

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The last second that can be written as a date with a year of four digits, since 1970. No credential is valid
/// longer.
pub(crate) const LAST_SECOND: u64 = 253_402_300_799;

/// Who sends a request, as a scheme of `authentication` has verified it.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedIdentity {
    scheme: Arc<str>,
    kind: SchemeKind,
    claims: Map<String, Value>,
    expires_at: Option<SystemTime>,
}

/// What kind of scheme verifies an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchemeKind {
    /// A JSON Web Token (RFC 7519).
    Jwt,
    /// An API key.
    ApiKey,
    /// User name and password (RFC 7617).
    Basic,
    /// Another service.
    Forward,
    /// Another service, asked by Envoy's protocol.
    ExtAuthz,
    /// A login with OpenID Connect.
    Oidc,
}

impl SchemeKind {
    /// Its key below `authentication.NAME`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::ApiKey => "api_keys",
            Self::Basic => "basic",
            Self::Forward => "forward",
            Self::ExtAuthz => "ext_authz",
            Self::Oidc => "oidc",
        }
    }

    /// Whether the place that a request asks for is part of the decision: another service may know rights to paths.
    pub(crate) fn decides_by_target(self) -> bool {
        !matches!(self, Self::Jwt | Self::ApiKey | Self::Basic | Self::Oidc)
    }
}

impl VerifiedIdentity {
    /// An identity that the scheme of this name has verified. `expires_at` is the end of its validity, without
    /// leeway.
    pub(crate) fn new(
        scheme: Arc<str>,
        kind: SchemeKind,
        claims: Map<String, Value>,
        expires_at: Option<SystemTime>,
    ) -> Self {
        let last = SystemTime::UNIX_EPOCH + Duration::from_secs(LAST_SECOND);
        Self { scheme, kind, claims, expires_at: expires_at.map(|at| at.min(last)) }
    }

    /// The name of the scheme below `authentication`.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The name of the scheme, to share.
    pub(crate) fn shared_scheme(&self) -> &Arc<str> {
        &self.scheme
    }

    /// The kind of the scheme.
    pub fn kind(&self) -> SchemeKind {
        self.kind
    }

    /// The claims: those of the token, or what the scheme makes of the credential.
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// A claim as text: a string, a number, or a truth value.
    pub fn claim(&self, name: &str) -> Option<Cow<'_, str>> {
        match self.claims.get(name)? {
            Value::String(text) => Some(Cow::Borrowed(text)),
            Value::Number(number) => Some(Cow::Owned(number.to_string())),
            Value::Bool(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// The claim `sub`: the subject, unique at the issuer (RFC 7519, section 4.1.2).
    pub fn subject(&self) -> Option<&str> {
        self.claims.get("sub")?.as_str()
    }

    /// When the credential expires; `None` if it does not.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.expires_at
    }
}

/// What authentication has found out about a request, on a route with `require`.
#[derive(Debug)]
pub(crate) struct AuthenticationOutcome {
    /// The name of the scheme that verified or refused the request; `None` if no scheme found a credential.
    pub(crate) scheme: Option<Arc<str>>,
    /// The result.
    pub(crate) result: AuthenticationResult,
    /// Why the request was refused, as a word for programs.
    pub(crate) reason: Option<&'static str>,
    /// The identity, if a scheme has verified one.
    pub(crate) identity: Option<Arc<VerifiedIdentity>>,
    /// Headers that the upstream receives in place of the client's.
    pub(crate) upstream_headers: Vec<(HeaderName, HeaderValue)>,
    /// Cookies that the response sets, each as a `Set-Cookie`.
    pub(crate) cookies: Vec<HeaderValue>,
}

/// The result of authentication, as the access log has it (`auth.result`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthenticationResult {
    /// A scheme has verified the identity.
    Verified,
    /// The request has no credential.
    Missing,
    /// The credential is not valid.
    Refused,
    /// The identity is verified and may not do this.
    Forbidden,
    /// No scheme could decide.
    Unavailable,
    /// No scheme could decide, and the configuration admits the request for that case.
    Unverified,
}

impl AuthenticationResult {
    /// Its name in logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Missing => "missing",
            Self::Refused => "refused",
            Self::Forbidden => "forbidden",
            Self::Unavailable => "unavailable",
            Self::Unverified => "unverified",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn claim_is_text_where_it_is_one_value() {
        let Value::Object(claims) =
            json!({"sub": "u", "n": 7, "admin": true, "list": ["a"], "no": null})
        else {
            panic!("no object");
        };
        let identity = VerifiedIdentity::new("accounts".into(), SchemeKind::Jwt, claims, None);
        let claim = |name: &str| identity.claim(name).map(Cow::into_owned);
        assert_eq!(claim("sub").as_deref(), Some("u"));
        assert_eq!(claim("n").as_deref(), Some("7"));
        assert_eq!(claim("admin").as_deref(), Some("true"));
        assert_eq!((claim("list"), claim("no"), claim("absent")), (None, None, None));
    }
}
