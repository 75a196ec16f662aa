//! From a name to a connection: DNS, TCP, TLS. It does not know what is sent over the connection.

use super::fault::{Certificate, Fault};
use super::stream::Duplex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, Error as TlsError, RootCertStore};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpStream;
use tokio::time::timeout_at;
use tokio_rustls::TlsConnector;

/// Maximum number of addresses of a name that are tried.
const MAX_TRIED_ADDRESSES: usize = 8;

/// The addresses of a host.
pub(crate) async fn resolve(
    host: &str,
    port: u16,
    deadline: Instant,
) -> Result<Vec<SocketAddr>, Fault> {
    match timeout_at(deadline.into(), tokio::net::lookup_host((host, port))).await {
        Err(_) => Err(Fault::NameUnknown("the DNS server did not respond in time".to_owned())),
        Ok(Err(error)) => Err(Fault::NameUnknown(error.to_string())),
        Ok(Ok(addresses)) => {
            let addresses: Vec<_> = addresses.take(MAX_TRIED_ADDRESSES).collect();
            match addresses.is_empty() {
                true => Err(Fault::NameUnknown("the host name has no address".to_owned())),
                false => Ok(addresses),
            }
        }
    }
}

/// A connection to the first address that accepts one. Of several failures a refusal is
/// reported: it comes from the host itself.
pub(crate) async fn connect_tcp(
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<(TcpStream, SocketAddr), Fault> {
    let mut worst = Fault::ConnectTimeout;
    for (tried, &address) in addresses.iter().enumerate() {
        // Each address gets a share of the remaining time, so that one that drops packets does
        // not use it up.
        let left = deadline.saturating_duration_since(Instant::now());
        let shares = u32::try_from(addresses.len() - tried).unwrap_or(1);
        let until = Instant::now() + left / shares.max(1);
        match timeout_at(until.into(), TcpStream::connect(address)).await {
            Err(_) => {}
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                return Ok((stream, address));
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                worst = Fault::Refused;
            }
            Ok(Err(error)) if !matches!(worst, Fault::Refused) => {
                worst = match error.kind() {
                    io::ErrorKind::TimedOut => Fault::ConnectTimeout,
                    _ => Fault::Unreachable(error.to_string()),
                };
            }
            Ok(Err(_)) => {}
        }
    }
    Err(worst)
}

/// The TLS settings of a client: which certificates it trusts.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    /// Whether certificates are verified at all.
    verifies: bool,
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A key must not appear in a log.
        f.debug_struct("Trust").field("verifies", &self.verifies).finish_non_exhaustive()
    }
}

impl ClientTls {
    /// From TLS settings that offer `http/1.1`; `verifies` says whether they verify certificates.
    pub fn new(config: Arc<ClientConfig>, verifies: bool) -> Self {
        Self { config, verifies }
    }

    /// The system's root certificates, and those of a PEM file.
    ///
    /// # Errors
    /// When the file can't be read or has no certificate.
    pub fn system_roots(file: Option<&Path>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        // A system without roots trusts no certificate; the handshake then reports that.
        roots.add_parsable_certificates(
            rustls_native_certs::load_native_certs().unwrap_or_default(),
        );
        if let Some(file) = file {
            let cannot = |reason: String| format!("{} {reason}", file.display());
            let certificates = CertificateDer::pem_file_iter(file)
                .map_err(|error| cannot(format!("cannot be read: {error}")))?;
            let mut count = 0;
            for certificate in certificates {
                let added = certificate
                    .map_err(|error| error.to_string())
                    .and_then(|one| roots.add(one).map_err(|error| error.to_string()));
                added
                    .map_err(|error| cannot(format!("contains an invalid certificate: {error}")))?;
                count += 1;
            }
            if count == 0 {
                return Err(cannot("contains no certificate".to_owned()));
            }
        }
        Self::with_roots(roots)
    }

    /// A copy of these settings with `h2` as the only protocol.
    pub(super) fn over_http2(&self) -> Self {
        let mut config = (*self.config).clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self { config: Arc::new(config), verifies: self.verifies }
    }

    /// Whether certificates are verified.
    pub(super) fn verifies(&self) -> bool {
        self.verifies
    }

    fn wants_http2(&self) -> bool {
        self.config.alpn_protocols.iter().any(|protocol| protocol == b"h2")
    }

    /// No root certificates: used to find out whether a server speaks TLS.
    pub fn no_roots() -> Result<Self, String> {
        Self::with_roots(RootCertStore::empty())
    }

    fn with_roots(roots: RootCertStore) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), verifies: true })
    }
}

/// The result of a TLS handshake.
pub(crate) enum TlsOutcome {
    /// The handshake succeeded.
    Open(Box<dyn Duplex>),
    /// The server speaks TLS, and the handshake failed.
    Fault(Fault),
    /// The server does not speak TLS, or does not answer.
    Missing(Fault),
}

/// Performs the TLS handshake over a connection.
pub(crate) async fn connect_tls(
    trust: &ClientTls,
    host: &str,
    stream: TcpStream,
    deadline: Instant,
) -> TlsOutcome {
    let Ok(name) = ServerName::try_from(host.to_owned()) else {
        let other = Certificate::OtherName;
        return TlsOutcome::Fault(Fault::Certificate(
            other,
            "no certificate can be valid for such a host \
             name"
                .to_owned(),
        ));
    };
    let connecting = TlsConnector::from(Arc::clone(&trust.config)).connect(name, stream);
    match timeout_at(deadline.into(), connecting).await {
        Err(_) => {
            TlsOutcome::Missing(Fault::Tls("no response to the TLS handshake in time".to_owned()))
        }
        Ok(Ok(stream))
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") && !trust.wants_http2() =>
        {
            TlsOutcome::Fault(Fault::Http2Only)
        }
        Ok(Ok(stream)) => TlsOutcome::Open(Box::new(stream)),
        Ok(Err(error)) => classify_error(&error, trust.wants_http2()),
    }
}

fn classify_error(error: &io::Error, wants_http2: bool) -> TlsOutcome {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    let message = inner.map_or_else(|| error.to_string(), TlsError::to_string);
    let message: String = message.chars().take(200).collect();
    let certificate = match inner {
        Some(TlsError::InvalidCertificate(reason)) => reason,
        Some(TlsError::AlertReceived(AlertDescription::NoApplicationProtocol)) if !wants_http2 => {
            return TlsOutcome::Fault(Fault::Http2Only);
        }
        Some(TlsError::InvalidMessage(_)) | None => {
            return TlsOutcome::Missing(Fault::Tls(message));
        }
        Some(_) => return TlsOutcome::Fault(Fault::Tls(message)),
    };
    let kind = match certificate {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Certificate::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Certificate::NotYetValid
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Certificate::OtherName
        }
        // A server certificate that was issued as an authority is self-signed as well.
        CertificateError::UnknownIssuer => Certificate::UnknownIssuer,
        CertificateError::Other(_) if message.contains("CaUsedAsEndEntity") => {
            Certificate::UnknownIssuer
        }
        _ => Certificate::Bad,
    };
    TlsOutcome::Fault(Fault::Certificate(kind, message))
}
