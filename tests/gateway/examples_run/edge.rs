//! Examples of listeners: TLS and certificates, load balancers in front, Unix sockets.

use crate::example::Example;
use std::net::{Ipv4Addr, SocketAddr};
use tidegate_testing::http2::{DATA, END_HEADERS, END_STREAM, Frames, GET, HEADERS};
use tidegate_testing::{
    Authority, Client, Gateway, Pebble, Upstream, Wire, free_port, get, ok, until,
};

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

async fn plain(port: u16, target: &str) -> tidegate_testing::Response {
    let mut wire = Wire::connect(local(port)).await;
    wire.send(get(target, &["Host: example.com"])).await;
    wire.response().await
}

#[tokio::test]
async fn https() {
    let api = Upstream::saying("api").await;
    let http = free_port();
    let gateway = Example::from_file("examples/https.yaml")
        .at("0.0.0.0:8443")
        .with("0.0.0.0:8080", local(http))
        .with("127.0.0.1:8081", api.address())
        .run()
        .await;
    let redirect = plain(http, "/x").await;
    assert_eq!(redirect.head.only("location"), Some("https://example.com:8443/x"));
    // Nobody vouches for it; that it is for `localhost` is looked at all the same.
    let own = Authority::new().client().try_connect(&gateway, "localhost").await;
    assert!(own.expect_err("a stranger").to_string().contains("UnknownIssuer"));
}

#[tokio::test]
async fn certificates() {
    let site = Upstream::saying("site").await;
    let partners = free_port();
    let (authority, clients) = (Authority::new(), Authority::new());
    let example = Example::from_file("examples/certificates.yaml")
        .at("0.0.0.0:443")
        .with("0.0.0.0:8443", local(partners))
        .with("127.0.0.1:8081", site.address());
    let folder = example.below("tls");
    authority.issue(&folder, "site", &["example.com", "a.preview.example.com"], 2090);
    clients.write(&folder.join("ca.pem"));
    clients.issue_client(&folder, "partner");
    let gateway = example.run().await;
    let client = authority.client();
    for name in ["example.com", "a.preview.example.com"] {
        let answer = client.get(&gateway, name, "/").await;
        assert_eq!(
            answer.head.only("strict-transport-security"),
            Some("max-age=63072000; includeSubDomains; preload")
        );
    }
    let partner = client.clone().showing(folder.join("partner"));
    for (client, said) in [(partner, "site"), (client, "")] {
        let answered = match client.try_connect_to(local(partners), "example.com").await {
            Err(_) => String::new(),
            Ok(stream) => {
                let mut wire = Wire::over(stream);
                let _ = wire.try_send(get("/", &["Connection: close"])).await;
                String::from_utf8_lossy(&wire.read_to_end().await).into_owned()
            }
        };
        assert!(answered.ends_with(said) && answered.is_empty() == said.is_empty(), "{answered}");
    }
}

async fn ordered(pebble: &Pebble, gateway: &Gateway, name: &str) -> Client {
    let client = pebble.client().await;
    until("there is a certificate", async || client.try_connect(gateway, name).await.is_ok()).await;
    client
}

#[tokio::test]
async fn acme() {
    let pebble = Pebble::new().start().await;
    let api = Upstream::saying("api").await;
    let (http, tls) = pebble.targets;
    let authority = format!("{}\n        ca: {}", pebble.directory(), pebble.ca().display());
    let example = Example::from_file("examples/acme.yaml")
        .with("/var/lib/tidegate", "state")
        .with("0.0.0.0:80\n", format!("{}\n", local(http)))
        .with("0.0.0.0:443", local(tls))
        .with("127.0.0.1:8081", api.address())
        .with(
            "agree_to_terms: true",
            // An order that fails is tried again after a minute, for which the test does not wait.
            format!("agree_to_terms: true\n        retry: 1s\n        directory: {authority}"),
        );
    let gateway = example.on(tls).run().await;
    let client = ordered(&pebble, &gateway, "www.example.com").await;
    assert_eq!(client.get(&gateway, "example.com", "/").await.text(), "api");
    let redirect = plain(http, "/x").await;
    assert_eq!(redirect.head.only("location"), Some("https://example.com/x"));
}

#[tokio::test]
async fn acme_internal() {
    let mut pebble = Pebble::new();
    pebble.accounts = vec![("tidegate", "b25seS1hbi1leGFtcGxlLW5vdC1hLXNlY3JldC0wMTIzNDU2Nzg5")];
    let pebble = pebble.start().await;
    let shop = Upstream::saying("shop").await;
    let (http, tls) = pebble.targets;
    let example = Example::from_file("examples/acme-internal.yaml")
        .with("/var/lib/tidegate", "state")
        .with("0.0.0.0:80\n", format!("{}\n", local(http)))
        .with("0.0.0.0:443", local(tls))
        .with("https://ca.internal/acme/directory", pebble.directory())
        .with("tls/ca.pem", pebble.ca().display())
        .with("retry: 5m", "retry: 1s")
        .with("127.0.0.1:8081", shop.address());
    let gateway = example.on(tls).run().await;
    let client = ordered(&pebble, &gateway, "shop.internal").await;
    assert_eq!(client.get(&gateway, "shop.internal", "/").await.text(), "shop");
}

#[tokio::test]
async fn behind_a_proxy() {
    let api = Upstream::saying("api").await;
    let port = api.address().port().to_string();
    let gateway = Example::from_file("examples/behind-a-proxy.yaml")
        .at("0.0.0.0:3000")
        .with("192.0.2.7", "127.0.0.1")
        .run_with(&[("API_PORT", &port)])
        .await;
    let fields = ["X-Forwarded-For: 203.0.113.7", "X-Request-Id: from-the-balancer"];
    assert_eq!(gateway.get("/x?password=hush", &fields).await.text(), "api");
    let line = gateway.access_of("/x").await;
    assert_eq!(line["client.address"], "203.0.113.7");
    assert_eq!(line["url.query"], "password=REDACTED");
    assert_eq!(api.only_request().await.head.only("x-request-id"), Some("from-the-balancer"));
    let mut frames = Frames::connect(&gateway).await;
    frames.send(HEADERS, END_HEADERS | END_STREAM, 1, GET).await.expect("sent");
    assert_eq!(frames.next_of(DATA).await.payload, b"api", "HTTP/2 by prior knowledge");
}

#[tokio::test]
async fn proxy_protocol() {
    let api = Upstream::saying("api").await;
    let gateway = Example::from_file("examples/proxy-protocol.yaml")
        .at("0.0.0.0:3000")
        .with("10.0.0.0/8", "127.0.0.0/8")
        .with("127.0.0.1:8080", api.address())
        .run()
        .await;
    let header = "PROXY TCP4 203.0.113.7 192.0.2.1 12345 80\r\n";
    assert_eq!(gateway.send(format!("{header}{}", get("/", &[]))).await.text(), "api");
    let seen = api.only_request().await.head;
    assert_eq!(seen.only("x-forwarded-for"), Some("203.0.113.7"));
}

#[tokio::test]
async fn unix_sockets() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let app = tokio::net::UnixListener::bind(at("two.sock")).expect("a socket");
    let service = tokio::spawn(async move {
        while let Ok((socket, _)) = app.accept().await {
            let mut wire = Wire::over(socket);
            while let Some(head) = wire.try_head().await {
                wire.send(ok(head.only("x-forwarded-for").unwrap_or_default())).await;
            }
        }
    });
    let example = Example::from_file("examples/unix-sockets.yaml")
        .with("${RUNTIME_DIRECTORY:-/run}/tidegate.sock", at("http.sock"))
        .with("${RUNTIME_DIRECTORY:-/run}/tidegate-admin.sock", at("admin.sock"))
        .with("/run/app/one.sock", at("one.sock"))
        .with("/run/app/two.sock", at("two.sock"));
    // The kit waits for a port.
    let port = format!("listeners:\n  - address: {}\n", local(example.port()));
    let _gateway = example.with("listeners:\n", port).run().await;
    let socket = tokio::net::UnixStream::connect(at("http.sock")).await.expect("the gateway");
    let mut wire = Wire::over(socket);
    wire.send(get("/", &["X-Forwarded-For: 203.0.113.7"])).await;
    assert!(wire.response().await.text().starts_with("203.0.113.7"), "the proxy is believed");
    let mut admin =
        Wire::over(tokio::net::UnixStream::connect(at("admin.sock")).await.expect("it"));
    admin.send(get("/sessions", &[])).await;
    assert_eq!(admin.response().await.status(), 200);
    service.abort();
}
