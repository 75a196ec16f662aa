use super::union::short_or_long;
use super::{Acme, Duration, HostPattern, Spanned, Switch};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// TLS on a listener. Files may be replaced while the gateway runs: the new ones are used for the
/// handshakes that follow, and a broken pair changes nothing.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ListenerTls {
    /// Certificates, chosen by the server name that the client asks for (SNI): the one with
    /// just this name, else one with a wildcard for it, else the first of the list.
    pub certificates: Vec<Spanned<Certificate>>,
    /// A certificate that is ordered and renewed by ACME.
    pub acme: Option<Spanned<Acme>>,
    /// A certificate made at the start, for `localhost` and its addresses; for development.
    pub self_signed: bool,
    /// The least version: `"1.2"` or `"1.3"`.
    pub min_version: Option<TlsVersion>,
    /// Asks clients for a certificate (mutual TLS).
    pub client_auth: Option<ClientAuth>,
    /// Tells browsers to come by HTTPS only from now on (`Strict-Transport-Security`, RFC 6797):
    /// `on`, or its settings.
    pub hsts: Option<HstsSetting>,
}

/// A certificate with its key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The PEM file of the certificate and its intermediates, in this order. Relative paths
    /// start at the folder of the configuration file.
    pub cert: Spanned<String>,
    /// The PEM file of its private key (PKCS#8, PKCS#1 or SEC1).
    pub key: Spanned<String>,
    /// The server names that it is used for.
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
    /// The PEM file of the authorities whose clients are accepted.
    pub ca: Spanned<String>,
    /// `require` ends the handshake of a client without a certificate, `request` lets it in. One
    /// with a certificate of another authority is never let in.
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
    /// The PEM file of the authorities that may vouch for it.
    pub ca: Option<Spanned<String>>,
    /// The name that its certificate must bear, also sent to it (SNI).
    pub server_name: Option<Spanned<HostPattern>>,
    /// The certificate that the gateway shows, for upstreams that ask for one.
    pub client_certificate: Option<Spanned<ClientIdentity>>,
    /// Believes any certificate, which whoever stands between can make; each start and reload says
    /// so in the log.
    pub insecure_skip_verify: bool,
}

/// A certificate with its key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientIdentity {
    /// The PEM file of the certificate and its intermediates.
    pub cert: Spanned<String>,
    /// The PEM file of its private key.
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
    /// How long browsers keep to it.
    pub max_age: Option<Duration>,
    /// Whether it holds for all subdomains.
    pub include_subdomains: bool,
    /// Whether browsers may ship it. Hard to take back.
    pub preload: bool,
}

short_or_long!(HstsSetting: Switch(Switch) | Settings(Hsts));
