//! The section `acme` of a listener's TLS settings, as written. It orders no certificate.

use super::{Duration, HostPattern, Spanned};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A certificate that the gateway orders and renews through ACME (RFC 8555). Requires `state_dir`,
/// where the keys are stored.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Acme {
    /// Names in the certificate. Wildcards are not supported: the challenges here can't prove them.
    #[schemars(length(min = 1, max = 100))]
    pub domains: Vec<Spanned<HostPattern>>,
    /// Confirms that you have read and agree to the terms of service of the authority: `true`.
    pub agree_to_terms: Spanned<bool>,
    /// E-mail address for messages of the authority.
    #[serde(default)]
    pub email: Option<String>,
    /// URL of the authority's directory.
    #[serde(default)]
    pub directory: Option<Spanned<String>>,
    /// PEM file of the authorities that may sign the certificate of the directory's own server, for
    /// an authority of your own.
    #[serde(default)]
    pub ca: Option<Spanned<String>>,
    /// How the gateway proves that the names lead to it: `tls-alpn-01` at this listener, which the
    /// authority must reach at port 443; `http-01` at any listener without TLS, which the authority
    /// must reach at port 80.
    #[serde(default)]
    pub challenge: AcmeChallenge,
    /// Account at an authority that must know its customers.
    #[serde(default)]
    pub external_account: Option<ExternalAccount>,
    /// Time before the end of the certificate at which the gateway renews it.
    #[serde(default)]
    pub renew_before: Option<Duration>,
    /// Time between a failure and the next attempt; doubles each time, up to a day.
    #[serde(default)]
    pub retry: Option<Spanned<Duration>>,
}

/// How the gateway proves that a name leads to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum AcmeChallenge {
    /// With a handshake (RFC 8737).
    #[default]
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// With a request (RFC 8555, section 8.3).
    #[serde(rename = "http-01")]
    Http01,
}

/// An existing account with the authority (RFC 8555, section 7.3.4).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalAccount {
    /// Identifier of the account at the authority.
    pub key_id: String,
    /// The key, in base64url as the authority issued it. Use a variable, `${ACME_HMAC_KEY}`.
    pub hmac_key: Spanned<String>,
}
