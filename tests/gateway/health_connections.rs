//! Health checks over TLS reuse their connection, since a handshake costs more than a check.

use nix::sys::signal::Signal;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tidegate_testing::{Authority, Config, Gateway, Wire, ok, respond, until, within};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What a service has seen.
#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    checks: AtomicUsize,
    /// Connections that have ended.
    ended: AtomicUsize,
}

impl Counts {
    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn check(&self) -> usize {
        self.checks.fetch_add(1, Ordering::SeqCst) + 1
    }

    async fn after_checks(&self, count: usize) {
        until("checks", async || self.checks.load(Ordering::SeqCst) >= count).await;
    }
}

/// A service over TLS whose connections this script handles, with its folder of certificates.
struct Service {
    folder: TempDir,
    address: SocketAddr,
    counts: Arc<Counts>,
}

type Secured = TlsStream<TcpStream>;

impl Service {
    async fn start<F, Fut>(protocol: &'static str, script: F) -> Self
    where
        F: Fn(Secured, Arc<Counts>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let folder = TempDir::new().expect("a folder");
        let authority = Authority::new();
        authority.write(&folder.path().join("ca.pem"));
        authority.issue(folder.path(), "service", &["127.0.0.1"], 2090);
        let pem = |name: &str| folder.path().join(name);
        let certificate = CertificateDer::from_pem_file(pem("service.pem")).expect("PEM");
        let key = PrivateKeyDer::from_pem_file(pem("service.key")).expect("PEM");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a configuration");
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let counts = Arc::new(Counts::default());
        let (seen, script) = (Arc::clone(&counts), Arc::new(script));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
                let script = Arc::clone(&script);
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(socket).await else { return };
                    seen.connections.fetch_add(1, Ordering::SeqCst);
                    script(stream, Arc::clone(&seen)).await;
                    seen.ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { folder, address, counts }
    }

    fn config(&self, check: &str, protocols: &str) -> Config {
        let ca = self.folder.path().join("ca.pem");
        let health = format!(
            "health: {{check: {check}, interval: 20ms, timeout: 1s, unhealthy_after: 1, healthy_after: 1}}"
        );
        Config::new()
            .upstream("secured", &[self.address])
            .speaking(&format!("tls: {{ca: \"{}\"}}", ca.display()))
            .speaking(&format!("protocols: {protocols}"))
            .speaking(&health)
            .route("all", "path_prefix: /", "secured")
    }

    async fn checked_over_http1(&self) -> Gateway {
        self.config("{http: /health}", "[h1]").start().await
    }
}

/// Answers each check and keeps the connection.
async fn http1(stream: Secured, counts: Arc<Counts>) {
    let mut wire = Wire::over(stream);
    while let Some(head) = wire.try_head().await {
        assert_eq!(head.get("connection"), None);
        counts.check();
        let _ = wire.try_send(ok("well")).await;
    }
}

/// The same over HTTP/2, with an answer as gRPC wants it.
async fn http2(stream: Secured, counts: Arc<Counts>) {
    let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        counts.check();
        let head = http::Response::builder().header("content-type", "application/grpc");
        let head = head.body(()).expect("a head");
        let Ok(mut stream) = respond.send_response(head, false) else { continue };
        // The gateway may have reset the stream: the next check was due.
        let message = bytes::Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]);
        let _ = stream.send_data(message, false);
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().expect("a value"));
        let _ = stream.send_trailers(trailers);
    }
}

fn assert_never_unhealthy(gateway: &Gateway) {
    let lines = gateway.log_lines();
    assert!(!lines.iter().any(|line| line.contains("unhealthy")), "{lines:?}");
}

#[tokio::test]
async fn health_checks_over_tls_share_a_connection() {
    let service = Service::start("http/1.1", http1).await;
    let gateway = service.checked_over_http1().await;
    service.counts.after_checks(10).await;
    assert_eq!(service.counts.connections(), 1);
    assert_never_unhealthy(&gateway);
    for check in ["{http: /health}", "{grpc: shop.Orders}"] {
        let service = Service::start("h2", http2).await;
        let gateway = service.config(check, "[h2]").start().await;
        service.counts.after_checks(10).await;
        assert_eq!(service.counts.connections(), 1, "{check}");
        assert_never_unhealthy(&gateway);
    }
}

#[tokio::test]
async fn kept_connection_closed_by_the_endpoint_is_no_failure() {
    // Closed while it is idle, and at the first bytes of the next check.
    for closes_at_next in [false, true] {
        let service = Service::start("http/1.1", move |stream, counts| async move {
            let mut wire = Wire::over(stream);
            let Some(_) = wire.try_head().await else { return };
            counts.check();
            let _ = wire.try_send(ok("well")).await;
            if closes_at_next {
                wire.try_head().await;
            }
            wire.into_stream();
        })
        .await;
        let gateway = service.checked_over_http1().await;
        service.counts.after_checks(5).await;
        assert!(service.counts.connections() >= 5);
        assert_never_unhealthy(&gateway);
    }
}

#[tokio::test]
async fn kept_http2_connection_ended_by_the_endpoint_is_no_failure() {
    for is_graceful in [true, false] {
        let service = Service::start("h2", move |stream, counts| async move {
            let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
            let Some(Ok((_, mut respond))) = connection.accept().await else { return };
            counts.check();
            let _ = respond.send_response(http::Response::new(()), true);
            if is_graceful {
                connection.graceful_shutdown();
                while connection.accept().await.is_some() {}
            } else {
                // The next check's request is read, and the connection breaks off.
                let _ = connection.accept().await;
            }
        })
        .await;
        let gateway = service.config("{http: /health}", "[h2]").start().await;
        service.counts.after_checks(5).await;
        assert_never_unhealthy(&gateway);
    }
}

#[tokio::test]
async fn response_before_its_check_is_ignored() {
    // Services say so before they close an idle connection.
    let service = Service::start("http/1.1", |stream, counts| async move {
        let mut wire = Wire::over(stream);
        let Some(_) = wire.try_head().await else { return };
        counts.check();
        let mut answers = ok("well");
        answers.extend(respond("408 Request Timeout", &["Connection: close"], ""));
        let _ = wire.try_send(answers).await;
        wire.try_head().await;
    })
    .await;
    let gateway = service.checked_over_http1().await;
    service.counts.after_checks(5).await;
    assert_never_unhealthy(&gateway);
}

#[tokio::test]
async fn response_that_ends_the_connection_is_still_healthy() {
    let endless = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n";
    let old = "HTTP/1.0 200 OK\r\n\r\nwell";
    let closing = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n{}", "a".repeat(999_999));
    for answer in [endless.to_owned(), old.to_owned(), closing.to_owned(), long] {
        let service = Service::start("http/1.1", move |stream, counts| {
            let answer = answer.clone();
            async move {
                let mut wire = Wire::over(stream);
                let Some(_) = wire.try_head().await else { return };
                counts.check();
                let _ = wire.try_send(answer).await;
                wire.try_head().await;
            }
        })
        .await;
        let gateway = service.checked_over_http1().await;
        service.counts.after_checks(5).await;
        assert!(service.counts.connections() >= 5);
        assert_never_unhealthy(&gateway);
    }
}

#[tokio::test]
async fn silent_kept_connection_is_a_failure() {
    let service = Service::start("http/1.1", |stream, counts| async move {
        let mut wire = Wire::over(stream);
        while wire.try_head().await.is_some() {
            if counts.check() <= 3 {
                let _ = wire.try_send(ok("well")).await;
            }
        }
    })
    .await;
    let gateway = service.checked_over_http1().await;
    let line = gateway.says(0, "is unhealthy").await;
    assert!(line.ends_with("is unhealthy: no answer within 1s"), "{line}");
}

#[tokio::test]
async fn failure_on_a_kept_connection_is_retried_on_a_new_one() {
    let service = Service::start("http/1.1", |stream, counts| async move {
        let mut wire = Wire::over(stream);
        while wire.try_head().await.is_some() {
            let answer = match counts.check() {
                ..=3 => ok("well"),
                _ => respond("503 Ill", &[], ""),
            };
            let _ = wire.try_send(answer).await;
        }
    })
    .await;
    let gateway = service.checked_over_http1().await;
    let line = gateway.says(0, "is unhealthy").await;
    assert!(line.ends_with("is unhealthy: GET /health answered 503"), "{line}");
    assert!(service.counts.connections() >= 2);
}

#[tokio::test]
async fn reload_and_stop_end_kept_connections() {
    for (protocol, protocols) in [("http/1.1", "[h1]"), ("h2", "[h2]")] {
        let service = match protocol {
            "h2" => Service::start(protocol, http2).await,
            _ => Service::start(protocol, http1).await,
        };
        let config = service.config("{http: /health}", protocols);
        let mut gateway = config.start().await;
        service.counts.after_checks(2).await;
        let ended = async |count: usize| {
            let ended = async || service.counts.ended.load(Ordering::SeqCst) >= count;
            until("the end of the connection", ended).await;
        };
        // An endpoint that is removed, and TLS that has changed.
        gateway.rewrite(&Config::to_address(service.address));
        ended(1).await;
        gateway.rewrite(&config);
        let connected = async |count| {
            until("a connection", async || service.counts.connections() == count).await
        };
        connected(2).await;
        gateway.rewrite(&config.replacing("tls: {ca", "tls: {server_name: 127.0.0.1, ca"));
        ended(2).await;
        connected(3).await;
        gateway.signal(Signal::SIGTERM);
        within("the end", gateway.exited(Duration::from_secs(10))).await;
        ended(3).await;
    }
}

#[tokio::test]
async fn check_without_a_file_descriptor_marks_no_endpoint_unhealthy() {
    const ENDPOINTS: usize = 120;
    let listener = TcpListener::bind("0.0.0.0:0").await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let checks = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&checks);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut wire = Wire::new(socket);
                while wire.try_head().await.is_some() {
                    count.fetch_add(1, Ordering::SeqCst);
                    let _ = wire.try_send(ok("well")).await;
                }
            });
        }
    });
    let endpoints: Vec<_> =
        (1..=ENDPOINTS).map(|number| format!("127.0.1.{number}:{port}")).collect();
    let config = Config::new()
        .upstream("many", &endpoints)
        .speaking(
            "health: {check: {http: /health}, interval: 300ms, timeout: 10s, unhealthy_after: 1}",
        )
        .route("all", "path_prefix: /", "many");
    let gateway = Gateway::with_files(80, &config).await;
    until("checks", async || checks.load(Ordering::SeqCst) > 3 * ENDPOINTS).await;
    assert_never_unhealthy(&gateway);
    assert_eq!(gateway.get("/", &[]).await.status(), 200);
}
