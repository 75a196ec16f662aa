//! A certificate authority, and TLS clients that trust it. It does not know the gateway's configuration.

use super::{Gateway, Response, Wire, get, within};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A certificate authority for one test.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// A new authority with a self-signed root.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Test authority");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2090, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a root").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Writes the root certificate to a file, in PEM.
    pub fn write(&self, path: &Path) {
        std::fs::write(path, &self.pem).expect("a file");
    }

    /// Writes `NAME.pem` and `NAME.key`, for these host names, valid until this year.
    pub fn issue(&self, folder: &Path, name: &str, hosts: &[&str], until: i32) {
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("parameters");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        self.sign(folder, name, params);
    }

    /// Writes `NAME.pem` and `NAME.key`, for these host names, valid for this time from now.
    pub fn issue_for(&self, folder: &Path, name: &str, hosts: &[&str], left: Duration) {
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("parameters");
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(1970, 1, 1) + since + left;
        self.sign(folder, name, params);
    }

    /// Writes a client certificate.
    pub fn issue_client(&self, folder: &Path, name: &str) {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        let uri = format!("spiffe://example/{name}");
        params.subject_alt_names.push(SanType::URI(uri.try_into().expect("ASCII")));
        self.sign(folder, name, params);
    }

    fn sign(&self, folder: &Path, name: &str, params: CertificateParams) {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        std::fs::write(folder.join(format!("{name}.pem")), certificate.pem()).expect("a file");
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).expect("a file");
    }

    /// A client that trusts this authority.
    pub fn client(&self) -> Client {
        Client::trusting(self.pem.as_bytes())
    }
}

/// A TLS client.
#[derive(Clone)]
pub struct Client {
    roots: Arc<RootCertStore>,
    identity: Option<PathBuf>,
    alpn: Vec<Vec<u8>>,
    version: Option<TlsVersion>,
    is_nameless: bool,
    kept: Option<Arc<ClientConfig>>,
}

/// The only version that a client speaks.
#[derive(Debug, Clone, Copy)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// A connection after its handshake.
pub(crate) type Secured = TlsStream<TcpStream>;

impl Client {
    /// A client that trusts this authority, in PEM.
    pub fn trusting(root: &[u8]) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(root).expect("PEM")).expect("a root");
        Self {
            roots: Arc::new(roots),
            identity: None,
            alpn: Vec::new(),
            version: None,
            is_nameless: false,
            kept: None,
        }
    }

    /// Presents `NAME.pem`, given as the path without its extension.
    pub fn showing(mut self, identity: PathBuf) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Offers these protocols by ALPN, the preferred one first.
    pub fn offering(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Speaks only one version.
    pub fn speaking(mut self, version: TlsVersion) -> Self {
        self.version = Some(version);
        self
    }

    /// Sends no server name (SNI).
    pub fn without_name(mut self) -> Self {
        self.is_nameless = true;
        self
    }

    /// Resumes sessions of earlier connections.
    pub fn resuming(mut self) -> Self {
        // rustls resumes only sessions of the same configuration.
        self.kept = Some(self.config());
        self
    }

    fn config(&self) -> Arc<ClientConfig> {
        if let Some(kept) = &self.kept {
            return Arc::clone(kept);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&match self.version {
                None => vec![&TLS13, &TLS12],
                Some(TlsVersion::V1_2) => vec![&TLS12],
                Some(TlsVersion::V1_3) => vec![&TLS13],
            })
            .expect("versions")
            .with_root_certificates(Arc::clone(&self.roots));
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let certificate = CertificateDer::from_pem_file(identity.with_extension("pem"));
                let key = PrivateKeyDer::from_pem_file(identity.with_extension("key"));
                builder
                    .with_client_auth_cert(
                        vec![certificate.expect("a certificate")],
                        key.expect("a key"),
                    )
                    .expect("an identity")
            }
        };
        config.alpn_protocols.clone_from(&self.alpn);
        config.enable_sni = !self.is_nameless;
        Arc::new(config)
    }

    /// Connects and does the handshake for this server name.
    pub async fn try_connect(&self, gateway: &Gateway, name: &str) -> io::Result<Secured> {
        self.try_connect_to(gateway.address(), name).await
    }

    /// Connects to any server and does the handshake for this server name.
    pub async fn try_connect_to(&self, address: SocketAddr, name: &str) -> io::Result<Secured> {
        self.secure(TcpStream::connect(address).await?, name).await
    }

    /// Connects, sends bytes that precede the handshake, and does the handshake for this server name.
    pub async fn connect_behind(&self, gateway: &Gateway, name: &str, before: &[u8]) -> Secured {
        let mut socket = TcpStream::connect(gateway.address()).await.expect("a connection");
        socket.write_all(before).await.expect("sent");
        self.secure(socket, name).await.expect("a handshake")
    }

    async fn secure(&self, socket: TcpStream, name: &str) -> io::Result<Secured> {
        let name = ServerName::try_from(name.to_owned()).expect("a server name");
        let connector = TlsConnector::from(self.config());
        within("a handshake", connector.connect(name, socket)).await
    }

    /// Opens a connection to the gateway's first listener and completes the TLS handshake for `name`.
    pub async fn connect(&self, gateway: &Gateway, name: &str) -> Secured {
        self.try_connect(gateway, name).await.expect("a handshake")
    }

    /// Sends a `GET` on a new connection.
    pub async fn get(&self, gateway: &Gateway, name: &str, target: &str) -> Response {
        let mut wire = Wire::over(self.connect(gateway, name).await);
        wire.send(get(target, &["Connection: close"])).await;
        wire.response().await
    }

    /// Whether a new connection resumes an earlier session.
    pub async fn resumes(&self, gateway: &Gateway, name: &str) -> bool {
        let mut wire = Wire::over(self.connect(gateway, name).await);
        wire.send(get("/", &["Connection: close"])).await;
        // The tickets follow the handshake.
        wire.response().await;
        let stream = wire.into_stream();
        stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The first host name of the certificate that the gateway serves for a server name.
    pub async fn shown(&self, gateway: &Gateway, name: &str) -> String {
        shown(&self.connect(gateway, name).await)
    }

    /// The error for a server name that the certificate does not have.
    pub async fn untrusted_error(&self, gateway: &Gateway, name: &str) -> String {
        let error = self.try_connect(gateway, name).await.expect_err("another name");
        error.to_string()
    }
}

/// The first host name of the other side's certificate.
pub(crate) fn shown(stream: &Secured) -> String {
    let chain = stream.get_ref().1.peer_certificates().expect("a certificate");
    let (_, certificate) = X509Certificate::from_der(&chain[0]).expect("X.509");
    let names = certificate.subject_alternative_name().expect("one").expect("names");
    let first = &names.value.general_names[0];
    first.to_string().trim_start_matches("DNSName(").trim_end_matches(')').to_owned()
}
