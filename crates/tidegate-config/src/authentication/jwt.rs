//! JSON Web Tokens, as written. It reads no key.

use super::TokenSource;
use crate::{Duration, Spanned, Switch};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// JSON Web Tokens (RFC 7519) of an issuer, verified as RFC 8725 says.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// The issuer, which the claim `iss` must equal. Without `keys`, the gateway finds the keys through
    /// `.well-known/openid-configuration` below this URL.
    pub issuer: Spanned<String>,
    /// Audiences; the claim `aud` must contain one of them.
    #[schemars(length(min = 1))]
    pub audience: Vec<Spanned<String>>,
    /// Where the issuer's keys are.
    #[serde(default)]
    pub keys: Option<Spanned<JwtKeys>>,
    /// Algorithms of signatures that are accepted, each only with keys of its type.
    #[serde(default)]
    pub algorithms: Vec<Spanned<JwtAlgorithm>>,
    /// Where clients may put the token; the first that is present wins. `Authorization` is read as
    /// `Bearer` (RFC 6750).
    #[serde(default)]
    pub from: Vec<Spanned<TokenSource>>,
    /// Whether the upstream receives the token. Otherwise the gateway removes it from the request.
    #[serde(default)]
    pub forward: Option<Switch>,
    /// Tolerance for clocks that differ, for `exp`, `nbf` and `iat`; at most `5m`.
    #[serde(default)]
    pub leeway: Option<Spanned<Duration>>,
    /// The `typ` that the token's header must have, such as `at+jwt` (RFC 9068), ignoring case.
    #[serde(default)]
    pub token_type: Option<String>,
}

/// The issuer's keys: `url`, `file` or `secret`.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JwtKeys {
    /// URL of a JSON Web Key Set (RFC 7517): `https`, or `http` to a loopback address.
    pub url: Option<Spanned<String>>,
    /// File of a JSON Web Key Set, or of a public key in PEM.
    pub file: Option<Spanned<String>>,
    /// Secret that the gateway shares with the issuer, for `HS256`, `HS384` and `HS512`; at least 32
    /// characters. Use a variable.
    pub secret: Option<Spanned<String>>,
    /// Time between two fetches of the keys. A token with an unknown `kid` makes the gateway fetch them
    /// early, at most once per 30 seconds.
    pub refresh: Option<Spanned<Duration>>,
    /// Time for which the last keys stay in use while the issuer is unreachable.
    pub keep: Option<Spanned<Duration>>,
    /// PEM file of the authorities that may sign the issuer's certificate.
    pub ca: Option<Spanned<String>>,
}

/// An algorithm of a signature (RFC 7518, section 3.1; RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum JwtAlgorithm {
    /// ECDSA with P-256 and SHA-256.
    ES256,
    /// ECDSA with P-384 and SHA-384.
    ES384,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// Ed25519 (RFC 8037).
    EdDSA,
    /// HMAC with SHA-256.
    HS256,
    /// HMAC with SHA-384.
    HS384,
    /// HMAC with SHA-512.
    HS512,
}
