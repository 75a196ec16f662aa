//! TLS towards upstreams, for requests and for tunnels. It knows nothing of endpoints.

use super::material::{certificates, private_key};
use super::{Roots, provider};
use pingora::protocols::tls::CaType;
use pingora::upstreams::peer::HttpPeer;
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use tidegate_http::address::Address;
use tidegate_http::stable_hash::{StableHash, StableHasher};

/// TLS settings towards an upstream, in two forms: Pingora's for requests, and rustls' for tunnels, whose sockets the
/// gateway opens itself.
pub(crate) struct UpstreamTls {
    /// The name that its certificate must have; by default the host of the endpoint.
    pub server_name: Option<String>,
    /// Whether its certificate is verified.
    pub verify: bool,
    /// The authorities, unless they are the machine's.
    pub ca: Option<Arc<CaType>>,
    /// The client certificate of the gateway.
    pub identity: Option<Arc<CertKey>>,
    /// The settings for tunnels.
    pub tunnel: Arc<ClientConfig>,
    /// Differs where the other settings differ: a connection that one has verified must not serve another.
    pub fingerprint: u64,
}

impl std::fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A key must not appear in a log.
        f.debug_struct("UpstreamTls")
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

/// The gateway's own certificate and key, for upstreams that ask for one.
#[derive(Debug)]
pub(crate) struct ClientIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl ClientIdentity {
    /// Reads it from PEM files. That key and certificate belong together is checked by
    /// [`Certificate::load`](super::Certificate::load).
    pub(crate) fn load(cert: &Path, key: &Path) -> Result<Self, String> {
        Ok(Self { chain: certificates(cert)?, key: private_key(key)? })
    }
}

/// TLS settings of an upstream as configured, with the content of their files.
#[derive(Debug, Default)]
pub(crate) struct ClientOptions {
    /// The authorities, unless they are the machine's.
    pub ca: Option<Roots>,
    /// The certificates of these authorities, as the file contains them.
    pub ca_certificates: Vec<CertificateDer<'static>>,
    /// The client certificate of the gateway.
    pub identity: Option<ClientIdentity>,
    /// The name that the certificate must have.
    pub server_name: Option<String>,
    /// Whether the certificate is accepted unverified: `insecure_skip_verify`.
    pub insecure: bool,
}

/// The peer at this address, without TLS.
///
/// # Errors
/// When the path of a Unix domain socket is invalid.
pub(crate) fn plain_peer(address: &Address) -> Result<HttpPeer, Box<pingora::Error>> {
    peer(address, false, String::new())
}

fn peer(address: &Address, tls: bool, name: String) -> Result<HttpPeer, Box<pingora::Error>> {
    match address {
        Address::Inet(address) => Ok(HttpPeer::new(*address, tls, name)),
        Address::Unix(path) => HttpPeer::new_uds(path, tls, name),
    }
}

impl UpstreamTls {
    /// The peer at this address, for an endpoint with the name `host`.
    ///
    /// # Errors
    /// When the path of a Unix domain socket is invalid.
    pub(crate) fn peer(
        &self,
        address: &Address,
        host: &str,
    ) -> Result<HttpPeer, Box<pingora::Error>> {
        // An empty name would switch Pingora's verification off; no endpoint has one.
        let name = self.server_name.as_deref().unwrap_or(host);
        let mut peer = peer(address, true, name.to_owned())?;
        peer.client_cert_key.clone_from(&self.identity);
        peer.options.ca.clone_from(&self.ca);
        peer.options.verify_cert = self.verify;
        peer.options.verify_hostname = self.verify;
        // Without it, Pingora's pool would reuse a connection that another authority has verified.
        peer.group_key = self.fingerprint;
        Ok(peer)
    }

    /// Makes both forms from the configured settings.
    pub(crate) fn new(options: ClientOptions) -> Result<Self, String> {
        let ClientOptions { ca, ca_certificates, identity, server_name, insecure } = options;
        let mut hasher = StableHasher::new();
        let chain = identity.as_ref().map(|it| it.chain.as_slice()).unwrap_or_default();
        for certificates in [ca_certificates.as_slice(), chain] {
            hasher.number(certificates.len() as u64);
            certificates.iter().for_each(|certificate| hasher.bytes(certificate));
        }
        (&server_name, insecure, ca.is_some()).feed(&mut hasher);

        let roots = ca.unwrap_or_else(|| Arc::clone(system_roots()));
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match insecure {
            false => builder.with_root_certificates(Arc::clone(&roots)),
            true => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(UncheckedVerifier::new()?)),
        };
        let mut tunnel = match &identity {
            None => builder.with_no_client_auth(),
            Some(ClientIdentity { chain, key }) => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(|error| error.to_string())?,
        };
        tunnel.alpn_protocols = vec![b"http/1.1".to_vec()];
        let wrapped = |der: &CertificateDer<'static>| WrappedX509::new(der.to_vec(), parse_x509);
        let ca: Vec<WrappedX509> = ca_certificates.iter().map(wrapped).collect();
        let identity = identity.map(|ClientIdentity { chain, key }| {
            let chain = chain.iter().map(|der| der.to_vec()).collect();
            Arc::new(CertKey::new(chain, key.secret_der().to_vec()))
        });
        Ok(Self {
            server_name,
            verify: !insecure,
            ca: (!ca.is_empty()).then(|| ca.into()),
            identity,
            tunnel: Arc::new(tunnel),
            fingerprint: hasher.finish(),
        })
    }
}

/// The authorities that the machine trusts.
pub(crate) fn system_roots() -> &'static Roots {
    static SYSTEM_ROOTS: LazyLock<Roots> = LazyLock::new(|| {
        let mut roots = RootCertStore::empty();
        for certificate in rustls_native_certs::load_native_certs().unwrap_or_default() {
            // An authority that cannot be read verifies nothing.
            let _ = roots.add(CertificateDer::from(certificate.to_vec()));
        }
        if roots.is_empty() {
            log::warn!(
                "this system has no trusted certificate authorities: TLS connections to \
                 upstreams without their own `ca` fail"
            );
        }
        Arc::new(roots)
    });
    &SYSTEM_ROOTS
}

/// Accepts any certificate: `insecure_skip_verify`.
#[derive(Debug)]
struct UncheckedVerifier(Arc<WebPkiServerVerifier>);

impl UncheckedVerifier {
    fn new() -> Result<Self, String> {
        // Signatures of the handshake are still verified; that needs no authority.
        let mut roots = RootCertStore::empty();
        let made = super::self_signed()?;
        for certificate in &made.key.cert {
            roots.add(certificate.clone()).map_err(|error| error.to_string())?;
        }
        let provider = Arc::clone(provider());
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map(Self)
            .map_err(|error| error.to_string())
    }
}

impl ServerCertVerifier for UncheckedVerifier {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
