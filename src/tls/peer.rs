use rustls::{ProtocolVersion, ServerConnection};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What a handshake has settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsInfo {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// `TLS13_AES_256_GCM_SHA384`.
    pub cipher: &'static str,
    /// The name that the client asked for (SNI, RFC 6066).
    pub server_name: Option<String>,
    /// The certificate that the client has shown, verified.
    pub client: Option<ClientCertificate>,
}

/// A client's certificate, signed by an authority of the listener's `client_auth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The subject's distinguished name: `CN=billing, O=Example`.
    pub subject: String,
    /// The subject's other names: `DNS:billing.internal`, `URI:spiffe://example/billing`,
    /// `email:ops@example.com`, `IP:10.0.0.1`.
    pub alternative_names: Vec<String>,
}

impl TlsInfo {
    pub(super) fn of(connection: &ServerConnection) -> Self {
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "1.3",
            _ => "1.2",
        };
        let cipher = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        let client = connection.peer_certificates().and_then(<[_]>::first);
        Self {
            version,
            cipher: cipher.unwrap_or_default(),
            server_name: connection.server_name().map(str::to_owned),
            client: client.and_then(|der| ClientCertificate::parse(der)),
        }
    }
}

impl ClientCertificate {
    fn parse(der: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let alternatives = parsed.subject_alternative_name().ok().flatten();
        let names = alternatives.iter().flat_map(|extension| &extension.value.general_names);
        Some(Self {
            subject: parsed.subject().to_string(),
            alternative_names: names.filter_map(alternative_name).collect(),
        })
    }
}

fn alternative_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(format!("DNS:{name}")),
        GeneralName::URI(uri) => Some(format!("URI:{uri}")),
        GeneralName::RFC822Name(address) => Some(format!("email:{address}")),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| format!("IP:{address}")),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    let v6 = <[u8; 16]>::try_from(bytes).ok()?;
    Some(std::net::Ipv6Addr::from(v6).to_string())
}
