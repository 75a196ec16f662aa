//! An upstream service with TLS. It does not know the gateway.

use super::ok;
use super::wire::{Head, Wire};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// A service behind TLS that answers requests with their target and echoes WebSockets.
pub struct TlsService {
    address: SocketAddr,
    handshakes: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<Head>>>,
    task: JoinHandle<()>,
}

impl Drop for TlsService {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TlsService {
    /// Starts a service with `NAME.pem`; `clients` is the authority of the required client certificates.
    pub async fn start(folder: &Path, name: &str, clients: Option<&str>, alpn: &[&str]) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let mut roots = RootCertStore::empty();
                let root = CertificateDer::from_pem_file(folder.join(file)).expect("PEM");
                roots.add(root).expect("a root");
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        let certificate = CertificateDer::from_pem_file(folder.join(format!("{name}.pem")));
        let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key")));
        let mut config = builder
            .with_single_cert(vec![certificate.expect("PEM")], key.expect("PEM"))
            .expect("a configuration");
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let handshakes = Arc::new(AtomicUsize::new(0));
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (counter, seen) = (Arc::clone(&handshakes), Arc::clone(&heads));
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, counter) = (acceptor.clone(), Arc::clone(&counter));
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(socket).await else { return };
                    counter.fetch_add(1, Ordering::Relaxed);
                    match stream.get_ref().1.alpn_protocol() {
                        Some(b"h2") => answer_by_http2(stream).await,
                        _ => http1(Wire::over(stream), &seen).await,
                    }
                });
            }
        });
        Self { address, handshakes, heads, task }
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of handshakes so far.
    pub fn handshakes(&self) -> usize {
        self.handshakes.load(Ordering::Relaxed)
    }

    /// The heads of all HTTP/1.1 requests so far.
    pub fn heads(&self) -> Vec<Head> {
        self.heads.lock().expect("the heads").clone()
    }
}

async fn http1<S>(mut wire: Wire<S>, heads: &Mutex<Vec<Head>>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(head) = wire.try_head().await {
        heads.lock().expect("the heads").push(head.clone());
        let Some(key) = head.only("sec-websocket-key") else {
            wire.send(ok(head.target())).await;
            continue;
        };
        let accept = derive_accept_key(key.as_bytes());
        wire.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        ))
        .await;
        let (stream, behind) = wire.into_parts();
        let mut socket =
            WebSocketStream::from_partially_read(stream, behind, Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() {
                let _ = socket.send(message).await;
            }
        }
        return;
    }
}

/// Answers each HTTP/2 request with its path and a text that names HTTP/2.
pub async fn answer_by_http2<S>(stream: S)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let body = format!("{} by HTTP/2", request.uri().path());
        let mut stream = respond.send_response(http::Response::new(()), false).expect("sent");
        stream.send_data(Bytes::from(body), true).expect("sent");
    }
}
