//! Mutual TLS accepts only certificates of the configured authority.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use tidegate_testing::{
    Authority, Https, Ready, SITES, TlsVersion, Upstream, Wire, free_port, get,
};

#[tokio::test]
async fn mutual_tls_accepts_only_certificates_of_the_authority() {
    let tls = format!("{SITES}, client_auth: {{ca: ca.pem}}");
    let https = Https::new(&tls).await;
    let folder = https.gateway.folder().to_owned();
    https.authority.issue_client(&folder, "billing");
    Authority::new().issue_client(&folder, "stranger");
    let client = https.authority.client();

    let known = client.clone().showing(folder.join("billing"));
    assert_eq!(known.get(&https.gateway, "site.test", "/known").await.status(), 200);
    let line = https.gateway.access_of("/known").await;
    assert!(
        line["tls.client.subject"].as_str().is_some_and(|it| it.contains("CN=billing")),
        "{line}"
    );
    assert_eq!(line["tls.client.x509.alternative_names"], "URI:spiffe://example/billing");

    for refused in [client.clone(), client.showing(folder.join("stranger"))] {
        // With TLS 1.3 the client learns of it by the first read.
        let Ok(stream) = refused.try_connect(&https.gateway, "site.test").await else { continue };
        let mut wire = Wire::over(stream);
        let _ = wire.try_send(get("/refused", &[])).await;
        assert_eq!(wire.read_to_end().await, b"");
    }
    assert_eq!(https.upstream.requests().len(), 1);
}

#[tokio::test]
async fn optional_mutual_tls_accepts_clients_without_a_certificate() {
    let tls = format!("{SITES}, client_auth: {{ca: ca.pem, mode: request}}");
    let https = Https::new(&tls).await;
    let answer = https.authority.client().get(&https.gateway, "site.test", "/").await;
    assert_eq!(answer.status(), 200);
    assert!(https.gateway.access_of("/").await["tls.client.subject"].is_null());
}

#[tokio::test]
async fn optional_mutual_tls_refuses_certificates_of_other_authorities() {
    let tls = format!("{SITES}, client_auth: {{ca: ca.pem, mode: request}}");
    let https = Https::new(&tls).await;
    let folder = https.gateway.folder().to_owned();
    https.authority.issue_client(&folder, "billing");
    Authority::new().issue_client(&folder, "stranger");
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let client = https.authority.client().speaking(version);
        let known = client.clone().showing(folder.join("billing"));
        assert_eq!(known.get(&https.gateway, "site.test", "/").await.status(), 200);
        let stranger = client.showing(folder.join("stranger"));
        // With TLS 1.3 the client learns of it by the first read.
        let Ok(stream) = stranger.try_connect(&https.gateway, "site.test").await else { continue };
        let mut wire = Wire::over(stream);
        let _ = wire.try_send(get("/refused", &[])).await;
        assert_eq!(wire.read_to_end().await, b"");
    }
    assert_eq!(https.upstream.requests().len(), 2, "those of who is known");
}

#[tokio::test]
async fn custom_filter_sees_the_client_certificate() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().expect("a folder"));
    authority.write(&folder.path().join("ca.pem"));
    authority.issue(folder.path(), "site", &["site.test"], 2090);
    authority.issue_client(folder.path(), "billing");
    let upstream = Upstream::saying("hello").await;
    let port = free_port();
    let yaml = format!(
        "listeners:\n  - address: 127.0.0.1:{port}\n    tls:\n\
         \x20     certificates: [{{cert: site.pem, key: site.key}}]\n\
         \x20     client_auth: {{ca: ca.pem, mode: request}}\n\
         upstreams: {{u: {{endpoints: ['{}']}}}}\n\
         routes: [{{name: all, upstream: u}}]\n",
        upstream.address()
    );
    let file = folder.path().join("tidegate.yaml");
    std::fs::write(&file, yaml).expect("the file");
    // `cargo test` builds the examples beside the binary.
    let binaries = Path::new(env!("CARGO_BIN_EXE_tidegate")).parent().expect("a folder");
    let mut program = Command::new(binaries.join("examples/tell_client"));
    program.arg(&file);
    let _program = Ready::wait(program).await;

    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let client = authority.client();
    let known = client.clone().showing(folder.path().join("billing"));
    for (client, subject, names) in
        [(known, Some("CN=billing"), Some("URI:spiffe://example/billing")), (client, None, None)]
    {
        let stream = client.try_connect_to(at, "site.test").await.expect("a handshake");
        let mut wire = Wire::over(stream);
        wire.send(get("/", &["Connection: close", "X-Client-Subject: CN=mallory"])).await;
        assert_eq!(wire.response().await.text(), "hello");
        let head = upstream.requests().pop().expect("a request").head;
        assert!(
            head.only("x-client-subject").map(|told| told.contains("CN=billing"))
                == subject.map(|_| true),
            "{}",
            head.text
        );
        assert_eq!(head.only("x-client-names"), names);
    }
}
