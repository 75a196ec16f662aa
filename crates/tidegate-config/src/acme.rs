use super::{Duration, HostPattern, Spanned};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A certificate that the gateway orders by itself, by ACME (RFC 8555), and renews. It takes
/// `state_dir`, where the keys are kept.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Acme {
    /// The names that it is for. A wildcard can't be proved by the challenges that there are here.
    #[schemars(length(min = 1, max = 100))]
    pub domains: Vec<Spanned<HostPattern>>,
    /// That you have read and agree to the terms of service of the authority: `true`.
    pub agree_to_terms: Spanned<bool>,
    /// Where the authority may write to.
    #[serde(default)]
    pub email: Option<String>,
    /// The URL of the authority's directory.
    #[serde(default)]
    pub directory: Option<Spanned<String>>,
    /// The PEM file of the authorities that may vouch for the directory's own server, for one of
    /// your own.
    #[serde(default)]
    pub ca: Option<Spanned<String>>,
    /// How it is proved that the names lead here: `tls-alpn-01` at this listener, which the
    /// authority must reach at port 443; `http-01` at any listener without TLS, which it must reach
    /// at port 80.
    #[serde(default)]
    pub challenge: AcmeChallenge,
    /// For an authority that wants to know its customers.
    #[serde(default)]
    pub external_account: Option<ExternalAccount>,
    /// How long before its end it is renewed.
    #[serde(default)]
    pub renew_before: Option<Duration>,
    /// How long after a failure it is tried again; doubled with each, up to a day.
    #[serde(default)]
    pub retry: Option<Spanned<Duration>>,
}

/// How it is proved that a name leads here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum AcmeChallenge {
    /// By a handshake (RFC 8737).
    #[default]
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// By a request (RFC 8555, section 8.3).
    #[serde(rename = "http-01")]
    Http01,
}

/// An account with the authority that there is already (RFC 8555, section 7.3.4).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalAccount {
    /// How the authority calls it.
    pub key_id: String,
    /// The key, in base64url as the authority gives it: best a variable, `${ACME_HMAC_KEY}`.
    pub hmac_key: Spanned<String>,
}
