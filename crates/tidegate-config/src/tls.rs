//! The TLS settings of listeners and upstreams, as written. It reads no certificate.

use super::union::short_or_long;
use super::{Acme, Duration, HostPattern, Spanned, Switch};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// TLS on a listener. Files may be replaced while the gateway runs: later handshakes use the new
/// ones, and an invalid pair changes nothing.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ListenerTls {
    /// Certificates, selected by the server name that the client requests (SNI): the one with
    /// exactly this name, else one with a wildcard for it, else the first of the list.
    pub certificates: Vec<Spanned<Certificate>>,
    /// A certificate that the gateway orders and renews through ACME.
    pub acme: Option<Spanned<Acme>>,
    /// Creates a certificate at the start, for `localhost` and its addresses; for development.
    pub self_signed: bool,
    /// The minimum version: `"1.2"` or `"1.3"`.
    pub min_version: Option<TlsVersion>,
    /// Requests a certificate from clients (mutual TLS).
    pub client_auth: Option<ClientAuth>,
    /// Makes browsers use only HTTPS from now on (`Strict-Transport-Security`, RFC 6797): `on`, or
    /// its settings.
    pub hsts: Option<HstsSetting>,
}

/// A certificate with its key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// PEM file of the certificate and its intermediates, in this order. Relative paths start at
    /// the folder of the configuration file.
    pub cert: Spanned<String>,
    /// PEM file of its private key (PKCS#8, PKCS#1 or SEC1).
    pub key: Spanned<String>,
    /// Server names for which the certificate is used.
    #[serde(default)]
    pub hosts: Vec<Spanned<HostPattern>>,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3 (RFC 8446).
    #[serde(rename = "1.3")]
    V1_3,
}

/// Mutual TLS.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientAuth {
    /// PEM file of the authorities whose clients are accepted.
    pub ca: Spanned<String>,
    /// `require` fails the handshake of a client without a certificate, `request` admits it. A
    /// client with a certificate of another authority is never admitted.
    #[serde(default)]
    pub mode: ClientAuthMode,
}

/// Whether a client must show a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthMode {
    /// It must.
    #[default]
    Require,
    /// It may.
    Request,
}

/// `on`, `off`, or settings.
#[derive(Debug, Clone)]
pub enum UpstreamTlsSetting {
    /// `on` verifies by the machine's authorities and the endpoint's name.
    Switch(Switch),
    /// The settings.
    Settings(UpstreamTls),
}

/// TLS to an upstream.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamTls {
    /// PEM file of the authorities that may sign the upstream's certificate.
    pub ca: Option<Spanned<String>>,
    /// The name that the upstream's certificate must have, also sent to it (SNI).
    pub server_name: Option<Spanned<HostPattern>>,
    /// The certificate that the gateway shows to upstreams that request one.
    pub client_certificate: Option<Spanned<ClientIdentity>>,
    /// Accepts any certificate, even from an attacker between the gateway and the upstream; the log
    /// says so at each start and reload.
    pub insecure_skip_verify: bool,
}

/// A certificate with its key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientIdentity {
    /// PEM file of the certificate and its intermediates.
    pub cert: Spanned<String>,
    /// PEM file of its private key.
    pub key: Spanned<String>,
}

short_or_long!(UpstreamTlsSetting: Switch(Switch) | Settings(UpstreamTls));

/// `on`, `off`, or settings.
#[derive(Debug, Clone)]
pub enum HstsSetting {
    /// `on` is `max_age` alone, with its default.
    Switch(Switch),
    /// The settings.
    Settings(Hsts),
}

/// HTTP Strict Transport Security.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Hsts {
    /// Time for which browsers use only HTTPS.
    pub max_age: Option<Duration>,
    /// Whether it applies to all subdomains.
    pub include_subdomains: bool,
    /// Whether browsers may put the host on their built-in list, which is hard to undo.
    pub preload: bool,
}

short_or_long!(HstsSetting: Switch(Switch) | Settings(Hsts));
