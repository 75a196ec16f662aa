//! Faults before the handshake: names, ports, TLS, other protocols.

use crate::harness::{Identity, answering, examine, ws};
use rcgen::ExtendedKeyUsagePurpose;
use tempfile::TempDir;
use tidegate_testing::{Config, Upstream, free_port};

#[tokio::test]
async fn unresolvable_name_is_name_unknown() {
    examine("ws://no-such-host.invalid/", &[]).await.is("name-unknown").saw("no-such-host");
}

#[tokio::test]
async fn closed_port_is_nothing_listens() {
    let found = examine(format!("ws://127.0.0.1:{}/", free_port()), &[]).await;
    found.is("nothing-listens").blames("address");
    assert_eq!(found.outcome("tcp"), "failed");
    assert_eq!(found.outcome("handshake"), "skipped");
}

#[tokio::test]
async fn closed_port_blames_the_gateway_only_if_configured() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("tidegate.yaml");
    let port = free_port();
    std::fs::write(&file, Config::to_address("127.0.0.1:9").yaml(port)).expect("a file");
    let config = ["--config", file.to_str().expect("a path")];
    let listener = format!("127.0.0.1:{port}");
    let found = examine(format!("ws://{listener}/"), &config).await;
    found.is("nothing-listens").blames("gateway").points_at(&file, &listener);
    let found = examine(format!("ws://127.0.0.1:{}/", free_port()), &config).await;
    found.is("wrong-port").blames("gateway").points_at(&file, &listener);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn unroutable_address_is_unreachable() {
    examine("ws://255.255.255.255:9/", &[]).await.is("unreachable");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn unanswered_connect_is_connect_timeout() {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let listener = socket.listen(1).expect("a listener");
    let address = listener.local_addr().expect("its address");
    // The kernel takes as many as its queue holds, and drops what comes then.
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn(async move {
                let _kept = tokio::net::TcpStream::connect(address).await;
                std::future::pending::<()>().await;
            })
        })
        .collect();
    tidegate_testing::until("a full queue", || async {
        let patience = std::time::Duration::from_millis(200);
        let connecting = tokio::net::TcpStream::connect(address);
        tokio::time::timeout(patience, connecting).await.is_err()
    })
    .await;
    examine(ws(address), &["--timeout", "400ms"]).await.is("connect-timeout");
    drop(waiting);
}

#[tokio::test]
async fn tls_to_a_plain_server_is_plain_behind_tls() {
    let upstream = Upstream::echo().await;
    let url = format!("wss://localhost:{}/", upstream.address().port());
    examine(url, &["--timeout", "1200ms"]).await.is("plain-behind-tls");
    // One that answers the bytes of TLS with a 400.
    let plain = Upstream::scripted(|mut wire, _| async move {
        let _ = wire.exactly(4).await;
        let _ = wire.try_send(tidegate_testing::respond("400 Bad Request", &[], "")).await;
    })
    .await;
    let url = format!("https://localhost:{}/", plain.address().port());
    examine(url, &[]).await.is("plain-behind-tls");
}

#[tokio::test]
async fn plain_http_to_a_tls_server_is_tls_behind_plain() {
    let server = Identity::for_name("localhost").serve().await;
    examine(server.url("ws"), &[]).await.is("tls-behind-plain");
    examine(server.url("http"), &[]).await.is("tls-behind-plain");
}

#[tokio::test]
async fn each_bad_certificate_has_its_code() {
    let server = Identity::for_name("localhost").valid(2020, 2021).serve().await;
    server.examine().await.is("certificate-expired");
    let server = Identity::for_name("localhost").valid(2080, 2081).serve().await;
    server.examine().await.is("certificate-not-yet-valid");
    let server = Identity::for_name("other.example").serve().await;
    server.examine().await.is("certificate-other-name").saw("other.example");
    let client = ExtendedKeyUsagePurpose::ClientAuth;
    let server = Identity::for_name("localhost").purpose(client).serve().await;
    server.examine().await.is("certificate-bad");
    let server = Identity::for_name("localhost").serve().await;
    let found = examine(server.url("wss"), &[]).await;
    found.is("certificate-unknown-issuer");
    // The walk goes on without a look at the certificate, to see what else is wrong.
    for (step, outcome) in [("tls", "failed"), ("http", "ok"), ("handshake", "ok"), ("ping", "ok")]
    {
        assert_eq!(found.outcome(step), outcome, "{:#}", found.json);
    }
    let found = examine(server.url("wss"), &["--insecure"]).await;
    assert_eq!((found.outcome("tls"), found.json["healthy"].as_bool()), ("ok", Some(true)));
}

#[tokio::test]
async fn refused_tls_handshake_is_tls_failed() {
    let server = Upstream::scripted(|mut wire, _| async move {
        let _ = wire.exactly(5).await;
        // handshake_failure (RFC 8446, section 6.2).
        let _ = wire.try_send([0x15, 3, 3, 0, 2, 2, 40]).await;
    })
    .await;
    let url = format!("wss://localhost:{}/", server.address().port());
    examine(url, &[]).await.is("tls-failed");
}

#[tokio::test]
async fn http2_only_server_is_http2_only() {
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    examine(ws(answering(settings).await.address()), &[]).await.is("http2-only");
    // One that closes when it is not greeted with the preface.
    let silent = Upstream::scripted(move |mut wire, _| async move {
        if wire.exactly(3).await == b"PRI" {
            let _ = wire.try_send(settings).await;
            let _ = wire.read_to_end().await;
        }
    })
    .await;
    examine(ws(silent.address()), &[]).await.is("http2-only");
    let server = Identity::for_name("localhost").alpn(b"h2").serve().await;
    server.examine().await.is("http2-only");
}

#[tokio::test]
async fn other_protocol_is_not_http() {
    let server = Upstream::scripted(|mut wire, _| async move {
        let _ = wire.try_send("SSH-2.0-OpenSSH_9.6\r\n").await;
        let _ = wire.read_to_end().await;
    })
    .await;
    examine(ws(server.address()), &[]).await.is("not-http").saw("SSH-2.0");
}

#[tokio::test]
async fn closed_or_reset_connection_is_closed_before_answer() {
    let server = Upstream::scripted(|mut wire, _| async move {
        let _ = wire.try_head().await;
    })
    .await;
    examine(ws(server.address()), &["--timeout", "1200ms"]).await.is("closed-before-answer");
    let server = Upstream::scripted(|mut wire, _| async move {
        let _ = wire.try_head().await;
        wire.reset();
    })
    .await;
    examine(ws(server.address()), &["--timeout", "1200ms"]).await.is("closed-before-answer");
}

#[tokio::test]
async fn silent_server_is_no_answer() {
    let server = Upstream::scripted(|mut wire, _| async move {
        let _ = wire.read_to_end().await;
    })
    .await;
    examine(ws(server.address()), &["--timeout", "600ms"]).await.is("no-answer");
}

#[tokio::test]
async fn endless_head_is_head_too_large() {
    let endless = format!("HTTP/1.1 200 OK\r\nX-Long: {}", "x".repeat(200 * 1024));
    examine(ws(answering(endless).await.address()), &[]).await.is("head-too-large");
}
