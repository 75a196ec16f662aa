//! Health checks of gRPC services (grpc.health.v1), and the cost of all checks.

use bytes::Bytes;
use http::HeaderMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tidegate_testing::{Authority, Config, Upstream, pool, until};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What it answers: a `ServingStatus`, or one of these.
const SERVING: u8 = 1;
const NOT_SERVING: u8 = 2;
/// An answer of a head alone, with `grpc-status: 12`.
const UNIMPLEMENTED: u8 = 100;
/// 200 and a body that is no message.
const NONSENSE: u8 = 101;
/// A message without the trailers that say how the call ended.
const NO_TRAILERS: u8 = 102;

/// A gRPC server with nothing but its health.
struct Server {
    address: SocketAddr,
    status: Arc<AtomicU8>,
    asked: Log,
}

impl Server {
    async fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let status = Arc::new(AtomicU8::new(SERVING));
        let asked = Log::default();
        let (now, log) = (Arc::clone(&status), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (tls, now, log) = (tls.clone(), Arc::clone(&now), Arc::clone(&log));
                tokio::spawn(async move {
                    match tls {
                        None => serve(socket, &now, &log).await,
                        Some(tls) => {
                            let Ok(stream) = tls.accept(socket).await else { return };
                            serve(stream, &now, &log).await;
                        }
                    }
                });
            }
        });
        Self { address, status, asked }
    }

    fn checks(&self) -> usize {
        self.asked.lock().expect("the log").len()
    }
}

type Log = Arc<Mutex<Vec<(http::request::Parts, Bytes)>>>;

async fn serve<S>(stream: S, status: &Arc<AtomicU8>, log: &Log)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        // In a task of its own: the connection is driven by `accept`.
        tokio::spawn(answer(request, respond, Arc::clone(status), Arc::clone(log)));
    }
}

async fn answer(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    status: Arc<AtomicU8>,
    log: Log,
) {
    let (head, mut body) = request.into_parts();
    let question = body.data().await.and_then(Result::ok).unwrap_or_default();
    let is_check = head.uri.path() == "/grpc.health.v1.Health/Check";
    log.lock().expect("the log").push((head, question));
    let head = http::Response::builder().header("content-type", "application/grpc");
    let status = if is_check { status.load(Ordering::Relaxed) } else { UNIMPLEMENTED };
    if status == UNIMPLEMENTED {
        let head = head.header("grpc-status", "12").body(()).expect("a head");
        let _ = respond.send_response(head, true);
        return;
    }
    let head = head.body(()).expect("a head");
    let Ok(mut stream) = respond.send_response(head, false) else { return };
    let message = match status {
        NONSENSE => Bytes::from_static(b"ok"),
        NO_TRAILERS => Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]),
        status => Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, status]),
    };
    let _ = stream.send_data(message, status == NO_TRAILERS);
    if status != NO_TRAILERS {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().expect("a value"));
        let _ = stream.send_trailers(trailers);
    }
}

fn asking(at: SocketAddr, protocols: &str, service: &str, more: &str) -> Config {
    let health = format!(
        "health: {{check: {{grpc: \"{service}\"}}, interval: 20ms, timeout: 10s, unhealthy_after: 1, healthy_after: 1}}"
    );
    Config::new()
        .upstream("grpc", &[at])
        .speaking(&format!("protocols: {protocols}"))
        .speaking(&health)
        .speaking(more)
        .route("all", "path_prefix: /", "grpc")
}

#[tokio::test]
async fn grpc_service_is_healthy_while_serving() {
    let server = Server::start(None).await;
    // Whatever requests are sent by, a health check of gRPC is HTTP/2.
    for protocols in ["[h2c]", "[h1]"] {
        let before = server.checks();
        let gateway = asking(server.address, protocols, "shop.Orders", "").start().await;
        until("checks", async || server.checks() > before + 2).await;
        assert!(!gateway.log_lines().iter().any(|line| line.contains("unhealthy")));
        for status in [NOT_SERVING, UNIMPLEMENTED, NONSENSE, NO_TRAILERS, 0, 3, 9] {
            let mark = gateway.mark();
            server.status.store(status, Ordering::Relaxed);
            let said = gateway.says(mark, "unhealthy").await;
            match status {
                NOT_SERVING => assert!(said.contains("NOT_SERVING"), "{said}"),
                UNIMPLEMENTED => {
                    assert!(said.contains("does not implement grpc.health.v1"), "{said}")
                }
                _ => {}
            }
            let mark = gateway.mark();
            server.status.store(SERVING, Ordering::Relaxed);
            gateway.says(mark, "healthy again").await;
        }
    }
    let (head, question) = server.asked.lock().expect("the log").pop().expect("a check");
    assert_eq!(head.method, "POST");
    assert_eq!(head.uri.authority().map(ToString::to_string), Some(server.address.to_string()));
    assert_eq!(head.uri.scheme_str(), Some("http"));
    assert_eq!(head.headers["content-type"], "application/grpc");
    assert_eq!(head.headers["te"], "trailers");
    assert!(!head.headers.contains_key("host"));
    assert_eq!(&question[..7], [0, 0, 0, 0, 13, 0x0a, 11]);
    assert_eq!(&question[7..], b"shop.Orders");
}

#[tokio::test]
async fn grpc_check_uses_tls_and_asks_for_the_whole_server() {
    let folder = TempDir::new().expect("a folder");
    let authority = Authority::new();
    authority.write(&folder.path().join("ca.pem"));
    authority.issue(folder.path(), "grpc", &["grpc.internal"], 2090);
    let server = Server::start(Some(acceptor(folder.path(), &["h2"]))).await;
    let ca = folder.path().join("ca.pem");
    let tls = format!("tls: {{server_name: grpc.internal, ca: \"{}\"}}", ca.display());
    let gateway = asking(server.address, "[h2]", "", &tls).start().await;
    until("checks", async || server.checks() > 2).await;
    assert!(!gateway.log_lines().iter().any(|line| line.contains("unhealthy")));
    let (head, question) = server.asked.lock().expect("the log").pop().expect("a check");
    assert_eq!(head.uri.scheme_str(), Some("https"));
    assert_eq!(&question[..], [0; 5]);
    drop(gateway);
    // A server that does not agree on HTTP/2 has no gRPC.
    for (alpn, reason) in
        [(&["http/1.1"][..], "it refused `h2` (ALPN)"), (&[], "did not select `h2` (ALPN)")]
    {
        let server = Server::start(Some(acceptor(folder.path(), alpn))).await;
        let gateway = asking(server.address, "[h2, h1]", "", &tls).start().await;
        let said = gateway.says(0, "unhealthy").await;
        assert!(said.contains("the endpoint does not speak HTTP/2 over TLS"), "{said}");
        assert!(said.contains(reason), "{said}");
    }
    // Where it has TLS, and the configuration says none.
    let server = Server::start(Some(acceptor(folder.path(), &["h2"]))).await;
    let gateway = asking(server.address, "[h2c]", "", "").start().await;
    let said = gateway.says(0, "unhealthy").await;
    assert!(said.contains("HTTP/2"), "{said}");
}

fn acceptor(folder: &std::path::Path, alpn: &[&str]) -> TlsAcceptor {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = CertificateDer::from_pem_file(folder.join("grpc.pem")).expect("PEM");
    let key = PrivateKeyDer::from_pem_file(folder.join("grpc.key")).expect("PEM");
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a configuration");
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn grpc_check_of_a_service_that_speaks_http1_fails() {
    let plain = Upstream::saying("plain").await;
    let gateway = asking(plain.address(), "[h1]", "", "").start().await;
    let said = gateway.says(0, "unhealthy").await;
    assert!(said.contains("the endpoint does not speak HTTP/2"), "{said}");
    assert_eq!(gateway.get("/", &[]).await.status(), 200, "the only one is used all the same");
}

#[tokio::test]
async fn grpc_check_reports_a_connection_closed_at_the_preface() {
    let closing = Upstream::scripted(|mut wire, _| async move {
        wire.until("PRI * HTTP/2.0").await;
    })
    .await;
    let gateway = asking(closing.address(), "[h2c]", "", "").start().await;
    let said = gateway.says(0, "unhealthy").await;
    assert!(said.contains("the connection ended") && said.contains("HTTP/2"), "{said}");
}

#[tokio::test]
async fn grpc_check_reports_a_reset_connection() {
    let resetting = Upstream::scripted(|mut wire, _| async move {
        wire.until("PRI * HTTP/2.0").await;
        wire.reset();
    })
    .await;
    let gateway = asking(resetting.address(), "[h2c]", "", "").start().await;
    let said = gateway.says(0, "unhealthy").await;
    assert!(said.contains("the connection ended"), "{said}");
}

#[tokio::test]
async fn http_check_over_http2_names_its_host_and_scheme() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let log = Arc::clone(&log);
            tokio::spawn(answer_by_h2(socket, log));
        }
    });
    let gateway = Config::new()
        .upstream("h2", &[address])
        .speaking("protocols: [h2c]")
        .speaking(
            "health: {check: {http: /health}, interval: 20ms, unhealthy_after: 1, host: a.test}",
        )
        .route("all", "path_prefix: /", "h2")
        .start()
        .await;
    until("checks", async || seen.lock().expect("the log").len() > 2).await;
    assert!(!gateway.log_lines().iter().any(|line| line.contains("unhealthy")));
    assert_eq!(seen.lock().expect("the log")[0], "http://a.test/health");
}

async fn answer_by_h2(socket: TcpStream, log: Arc<Mutex<Vec<String>>>) {
    let Ok(mut connection) = h2::server::handshake(socket).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        log.lock().expect("the log").push(request.uri().to_string());
        let _ = respond.send_response(http::Response::new(()), true);
    }
}

/// Each connector used to read the authorities of the machine, some 200 kB in 150 files, for each check.
#[tokio::test]
async fn health_checks_load_the_system_certificates_once() {
    let plain = Upstream::saying("plain").await;
    let lines = ["health: {check: {http: /}, interval: 10ms}"];
    let gateway = pool(&[&plain], &lines).start().await;
    until("checks", async || plain.connections() > 5).await;
    let (read, checks) = (gateway.bytes_read(), plain.connections());
    until("more checks", async || plain.connections() > checks + 40).await;
    let each = (gateway.bytes_read() - read) / 40;
    assert!(each < 50_000, "{each} bytes are read for each check");
}
