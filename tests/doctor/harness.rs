//! Servers with one fault each, and the doctor that examines them.

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use tidegate_testing::{Cli, Head, Upstream, Wire, cli};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// What the doctor said.
pub(crate) struct Found {
    pub run: Cli,
    pub json: Value,
}

/// Calls the doctor, in an empty folder.
pub(crate) async fn examine(url: impl AsRef<str>, arguments: &[&str]) -> Found {
    let folder = TempDir::new().expect("a folder");
    let mut all = vec!["doctor", url.as_ref(), "--json", "--idle", "200ms", "--timeout", "2s"];
    // What is given twice is refused, so the tests' own stand in the place of these.
    for pair in [["--idle", "200ms"], ["--timeout", "2s"]] {
        if arguments.contains(&pair[0]) {
            all.retain(|argument| !pair.contains(argument));
        }
    }
    all.extend(arguments);
    let run = cli(folder.path(), &all, &[]).await;
    let json = serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{}", run.all()));
    Found { run, json }
}

impl Found {
    /// That just this is wrong.
    pub(crate) fn is(&self, code: &str) -> &Self {
        assert_eq!(self.json["diagnosis"]["code"], code, "{:#}", self.json);
        assert_eq!(self.run.code, Some(1), "{:#}", self.json);
        self
    }

    /// That this side has to change something.
    pub(crate) fn blames(&self, who: &str) -> &Self {
        assert_eq!(self.json["diagnosis"]["blame"], who, "{:#}", self.json);
        self
    }

    /// That the diagnosis points at the place of `text` in this file.
    pub(crate) fn points_at(&self, file: &std::path::Path, text: &str) -> &Self {
        let written = std::fs::read_to_string(file).expect("the configuration");
        let (before, _) = written.split_once(text).unwrap_or_else(|| panic!("{text}:\n{written}"));
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let place = format!("{}:{line}:{column}", file.display());
        assert_eq!(self.json["diagnosis"]["line"], place, "{:#}\n{written}", self.json);
        self
    }

    /// That what was seen holds this.
    pub(crate) fn saw(&self, needle: &str) -> &Self {
        let seen = self.json["diagnosis"]["seen"].as_str().unwrap_or_default();
        assert!(seen.contains(needle), "{needle:?} was not seen: {:#}", self.json);
        self
    }

    /// That nothing is wrong.
    pub(crate) fn is_healthy(&self) -> &Self {
        assert_eq!(self.json["healthy"], true, "{:#}", self.json);
        assert_eq!(self.run.code, Some(0), "{:#}", self.json);
        self
    }

    /// How a step went.
    pub(crate) fn outcome(&self, step: &str) -> &str {
        let steps = self.json["steps"].as_array().expect("steps");
        let found = steps.iter().find(|one| one["step"] == step);
        found.and_then(|one| one["outcome"].as_str()).unwrap_or("absent")
    }
}

/// The URL of a WebSocket there.
pub(crate) fn ws(address: SocketAddr) -> String {
    format!("ws://{address}/")
}

/// Answers every request with these bytes, and closes.
pub(crate) async fn answering(bytes: impl Into<Vec<u8>>) -> Upstream {
    let bytes: Arc<[u8]> = bytes.into().into();
    Upstream::scripted(move |mut wire, _| {
        let bytes = Arc::clone(&bytes);
        async move {
            if wire.try_head().await.is_some() {
                let _ = wire.try_send(&*bytes).await;
            }
        }
    })
    .await
}

/// The 101 to this handshake, with these further lines (each ended by CRLF).
pub(crate) fn switching(head: &Head, lines: &str) -> String {
    let accept = derive_accept_key(head.get("sec-websocket-key").expect("a key").as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{lines}\r\n"
    )
}

/// A client's frame, unmasked: its opcode and payload. Short ones are all that the doctor sends.
pub(crate) async fn frame(wire: &mut Wire) -> (u8, Vec<u8>) {
    let head = wire.exactly(2).await;
    let length = usize::from(head[1] & 0x7f);
    let mask = wire.exactly(4).await;
    let payload = wire.exactly(length).await;
    (head[0] & 0x0f, payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m).collect())
}

/// A server's frame.
pub(crate) fn plain_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode, u8::try_from(payload.len()).expect("a short frame")];
    frame.extend(payload);
    frame
}

/// What a server's certificate is like.
pub(crate) struct Identity {
    params: CertificateParams,
    alpn: Vec<Vec<u8>>,
    folder: TempDir,
}

/// A server that speaks TLS, then WebSocket or HTTP.
pub(crate) struct TlsServer {
    pub port: u16,
    pub ca: PathBuf,
    _folder: TempDir,
    task: JoinHandle<()>,
}

impl Identity {
    /// A good certificate of this name, from an authority of its own.
    pub(crate) fn for_name(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2090, 1, 1);
        Self { params, alpn: Vec::new(), folder: TempDir::new().expect("a folder") }
    }

    pub(crate) fn valid(mut self, from: i32, until: i32) -> Self {
        self.params.not_before = date_time_ymd(from, 1, 1);
        self.params.not_after = date_time_ymd(until, 1, 1);
        self
    }

    pub(crate) fn purpose(mut self, purpose: ExtendedKeyUsagePurpose) -> Self {
        self.params.extended_key_usages = vec![purpose];
        self
    }

    pub(crate) fn alpn(mut self, protocol: &[u8]) -> Self {
        self.alpn = vec![protocol.to_vec()];
        self
    }

    pub(crate) async fn serve(self) -> TlsServer {
        let mut authority = CertificateParams::new(Vec::new()).expect("an authority");
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        authority.not_before = date_time_ymd(2020, 1, 1);
        authority.not_after = date_time_ymd(2090, 1, 1);
        let authority_key = KeyPair::generate().expect("a key");
        let root = authority.self_signed(&authority_key).expect("a root");
        let issuer = rcgen::Issuer::new(authority, authority_key);
        let key = KeyPair::generate().expect("a key");
        let certificate = self.params.signed_by(&key, &issuer).expect("a certificate");
        let ca = self.folder.path().join("ca.pem");
        std::fs::write(&ca, root.pem()).expect("a file");

        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
            )
            .expect("a configuration");
        config.alpn_protocols = self.alpn;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        echo_or_hello(stream).await;
                    }
                });
            }
        });
        TlsServer { port, ca, _folder: self.folder, task }
    }
}

impl TlsServer {
    pub(crate) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://localhost:{}/", self.port)
    }

    pub(crate) async fn examine(&self) -> Found {
        examine(self.url("wss"), &["--ca", self.ca.to_str().expect("a path")]).await
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves one connection: a WebSocket that answers pings, or `hello`.
async fn echo_or_hello<S>(mut stream: S)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    use futures_util::StreamExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::protocol::Role;
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => text.push(byte),
            Err(_) => return,
        }
    }
    let head = Head::parse(&String::from_utf8_lossy(&text));
    if head.get("upgrade").is_none() {
        let _ = stream.write_all(&tidegate_testing::ok("hello")).await;
        let _ = stream.shutdown().await;
        return;
    }
    if stream.write_all(switching(&head, "").as_bytes()).await.is_ok() {
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        while let Some(Ok(_)) = socket.next().await {}
    }
}
