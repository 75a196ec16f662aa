//! The gateway obeys an authority's `Retry-After` (RFC 8555, sections 6.6 and 7.4).

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tempfile::TempDir;
use tidegate_testing::{Authority, Gateway, Wire, free_port};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// When an order fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// The account is refused, with this status.
    Account(u16),
    /// The order stays pending.
    Order,
}

/// An authority that does so, with this `Retry-After`, or none.
struct AuthorityStub {
    address: SocketAddr,
    folder: TempDir,
}

impl AuthorityStub {
    async fn start(at: At, retry_after: &'static str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let authority = Authority::new();
        authority.write(&folder.path().join("ca.pem"));
        authority.issue(folder.path(), "stub", &["localhost"], 2090);
        let acceptor = acceptor(folder.path());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("its address");
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(socket).await else { return };
                    let mut wire = Wire::over(stream);
                    while let Some(head) = wire.try_head().await {
                        let _ = wire.body(&head).await;
                        let answer = answer(address.port(), head.target(), at, retry_after);
                        if wire.try_send(answer).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, folder }
    }

    /// A gateway that orders here.
    async fn gateway(&self) -> Gateway {
        let (folder, port) = (TempDir::new().expect("a folder"), free_port());
        let file = folder.path().join("tidegate.yaml");
        let yaml = format!(
            "state_dir: state\nlisteners:\n  - {{address: 127.0.0.1:{port}}}\n  - address: 127.0.0.1:0\n    \
             tls:\n      acme:\n        domains: [site.test]\n        agree_to_terms: true\n        \
             directory: https://localhost:{}/dir\n        ca: \"{}\"\n        retry: 1s\n\
             routes: [{{name: all, respond: {{body: x}}}}]\n",
            self.address.port(),
            self.folder.path().join("ca.pem").display(),
        );
        std::fs::write(&file, yaml).expect("a file");
        Gateway::run(folder, file, port).await
    }
}

fn answer(port: u16, target: &str, at: At, retry_after: &str) -> String {
    let url = |path: &str| format!("https://localhost:{port}{path}");
    let later = match retry_after {
        "" => String::new(),
        value => format!("Retry-After: {value}\r\n"),
    };
    let order = |status: &str| {
        format!(
            "{{\"status\": \"{status}\", \"authorizations\": [\"{}\"], \"finalize\": \"{}\"}}",
            url("/authorization"),
            url("/finalize")
        )
    };
    let (status, fields, body) = match (target, at) {
        ("/dir", _) => (
            200,
            String::new(),
            format!(
                "{{\"newNonce\": \"{}\", \"newAccount\": \"{}\", \"newOrder\": \"{}\"}}",
                url("/nonce"),
                url("/account"),
                url("/new-order")
            ),
        ),
        ("/account", At::Account(status)) => (
            status,
            later,
            "{\"type\": \"urn:ietf:params:acme:error:rateLimited\", \"detail\": \"too many\"}"
                .into(),
        ),
        ("/account", _) => {
            (201, format!("Location: {}\r\n", url("/account/1")), "{\"status\": \"valid\"}".into())
        }
        ("/new-order", _) => (201, format!("Location: {}\r\n", url("/order/1")), order("pending")),
        ("/authorization", _) => (
            200,
            String::new(),
            "{\"status\": \"valid\", \"challenges\": [], \"identifier\": \
             {\"type\": \"dns\", \"value\": \"site.test\"}}"
                .into(),
        ),
        ("/order/1", _) => (200, later, order("pending")),
        _ => (200, String::new(), String::new()),
    };
    let length = body.len();
    format!(
        "HTTP/1.1 {status} X\r\nReplay-Nonce: bm9uY2U\r\nContent-Type: application/json\r\n{fields}\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

fn acceptor(folder: &std::path::Path) -> TlsAcceptor {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = CertificateDer::from_pem_file(folder.join("stub.pem")).expect("PEM");
    let key = PrivateKeyDer::from_pem_file(folder.join("stub.key")).expect("PEM");
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a configuration");
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn order_is_retried_after_the_authoritys_retry_after() {
    let asked = "as the certificate authority asks (Retry-After)";
    for (at, retry_after, words) in [
        (At::Account(429), "7200", &["too many", "again in 2h", asked][..]),
        (At::Account(503), "7200", &["again in 2h", asked]),
        (At::Order, "7200", &["again in 2h", asked]),
        // Bounded, and no number is too large to be read.
        (At::Account(429), "18446744073709551615", &["again in 1day", asked]),
        (At::Order, "99999999999999999999999", &["again in 1day", asked]),
        (At::Account(429), "Tue, 31 Dec 2999 23:59:59 GMT", &["again in 1day", asked]),
        // No sooner than by the configuration.
        (At::Account(429), "0", &["again in 1s"]),
        (At::Account(429), "", &["again in 1s"]),
        (At::Account(429), "soon", &["again in 1s"]),
    ] {
        let stub = AuthorityStub::start(at, retry_after).await;
        let gateway = stub.gateway().await;
        let line = gateway.says(0, "certificate `site.test` was not issued").await;
        for words in words {
            assert!(line.contains(words), "{at:?} {retry_after}: {words:?} in {line}");
        }
        assert_eq!(line.contains(asked), words.contains(&asked), "{at:?} {retry_after}: {line}");
    }
}
