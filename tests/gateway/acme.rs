//! Certificates that the gateway orders from a real ACME server, Pebble.

use crate::example::copy;
use futures_util::{SinkExt, StreamExt};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use tempfile::TempDir;
use tidegate_testing::{AcmeSite as Site, Handshake, Pebble, Wire, cli, get, replace_file, until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use x509_parser::prelude::{FromDer, X509Certificate};

#[tokio::test]
async fn tls_alpn_01_issues_one_certificate_for_several_names() {
    let pebble = Pebble::new().start().await;
    let site = Site::new(pebble, "domains: [a.test, b.test], email: ops@a.test").await;
    let gateway = site.start().await;
    let serial = site.first_serial(&gateway, "a.test").await;
    assert_eq!(site.serial(&gateway, "b.test").await, Some(serial), "one for both");
    let client = site.pebble.client().await;
    assert_eq!(client.get(&gateway, "a.test", "/").await.status(), 200);
    let told = gateway.says(0, "certificate `a.test, b.test` is issued").await;
    assert!(told.contains("INFO"), "{told}");
    // Nothing but the authority's own handshakes is answered like that.
    let challenge = client.offering(&["acme-tls/1"]).try_connect(&gateway, "a.test").await;
    assert!(challenge.is_err());
}

#[tokio::test]
async fn http_01_works_on_a_listener_that_redirects() {
    let pebble = Pebble::new().start().await;
    let site = Site::new(pebble, "domains: [a.test], challenge: http-01").await;
    let gateway = site.start().await;
    site.first_serial(&gateway, "a.test").await;
    let http = SocketAddr::from((Ipv4Addr::LOCALHOST, site.pebble.targets.0));
    let mut wire = Wire::connect(http).await;
    wire.send(get("/.well-known/acme-challenge/x", &[])).await;
    assert_eq!(wire.response().await.status(), 308, "no token that anybody waits for");
}

#[tokio::test]
async fn issued_certificate_survives_a_restart() {
    let pebble = Pebble::new().start().await;
    let mut site = Site::new(pebble, "domains: [a.test]").await;
    let mut gateway = site.start().await;
    let serial = site.first_serial(&gateway, "a.test").await;
    let client = site.pebble.client().await;
    let state = gateway.folder().join("state/acme");
    for entry in walk(&state) {
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&entry.metadata().unwrap().permissions());
        assert_eq!(mode & 0o077, 0, "{}: others may read it", entry.display());
    }
    let folder = TempDir::new().expect("a folder");
    copy(&gateway.folder().join("state"), &folder.path().join("state"));
    gateway.signal(nix::sys::signal::Signal::SIGINT);
    gateway.exited(std::time::Duration::from_secs(20)).await;
    site.pebble.stop();
    let again = site.start_in(folder).await;
    let stream = client.connect(&again, "a.test").await;
    let chain = stream.get_ref().1.peer_certificates().expect("one");
    let (_, certificate) = X509Certificate::from_der(&chain[0]).expect("X.509");
    assert_eq!(certificate.raw_serial_as_string(), serial);
    assert!(!again.log_lines().iter().any(|line| line.contains("was not issued")));
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn broken_stored_certificate_is_ordered_again() {
    let pebble = Pebble::new().start().await;
    let site = Site::new(pebble, "domains: [a.test]").await;
    let mut gateway = site.start().await;
    let serial = site.first_serial(&gateway, "a.test").await;
    let folder = TempDir::new().expect("a folder");
    copy(&gateway.folder().join("state"), &folder.path().join("state"));
    gateway.signal(nix::sys::signal::Signal::SIGINT);
    gateway.exited(std::time::Duration::from_secs(20)).await;
    let kept = walk(&folder.path().join("state"));
    let kept = kept.iter().find(|path| path.extension().is_some_and(|it| it == "pem"));
    let kept = kept.expect("the certificate");
    let text = std::fs::read_to_string(kept).expect("PEM");
    std::fs::write(kept, &text[..text.len() / 2]).expect("half of it");
    let again = site.start_in(folder).await;
    assert_ne!(site.first_serial(&again, "a.test").await, serial);
    again.says(0, "cannot be used").await;
}

#[tokio::test]
async fn renewal_keeps_open_connections_working() {
    let mut pebble = Pebble::new();
    pebble.validity = 3600;
    let pebble = pebble.start().await;
    let site = Site::new(pebble, "domains: [a.test], renew_before: 3598s").await;
    let gateway = site.start().await;
    let serial = site.first_serial(&gateway, "a.test").await;
    let client = site.pebble.client().await;
    let mut wire = Wire::over(client.connect(&gateway, "a.test").await);
    wire.send(Handshake::to("/").bytes()).await;
    assert_eq!(wire.head().await.status(), Some(101));
    let stream = wire.into_stream();
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    until("another certificate is shown", async || {
        site.serial(&gateway, "a.test").await.is_some_and(|it| it != serial)
    })
    .await;
    socket.send(Message::text("still here")).await.expect("sent");
    let echo = socket.next().await.expect("an echo").expect("a message");
    assert_eq!(echo, Message::text("still here"));
}

#[tokio::test]
async fn unreachable_authority_is_retried_while_other_listeners_serve() {
    let mut site = Site::new(Pebble::new(), "domains: [a.test]").await;
    let gateway = site.start().await;
    let told = gateway.says(0, "certificate `a.test` was not issued").await;
    assert!(told.contains("again in"), "{told}");
    let http = SocketAddr::from((Ipv4Addr::LOCALHOST, site.pebble.targets.0));
    let mut wire = Wire::connect(http).await;
    wire.send(get("/", &[])).await;
    assert_eq!(wire.response().await.status(), 308, "the other listener is there");
    site.pebble.run().await;
    site.first_serial(&gateway, "a.test").await;
}

#[tokio::test]
async fn failed_challenge_is_logged_and_a_reload_may_drop_the_name() {
    let pebble = Pebble::new().start().await;
    pebble.resolve_to("wrong.test", "127.0.0.9").await;
    let mut site = Site::new(pebble, "domains: [a.test, wrong.test]").await;
    let gateway = site.start().await;
    let told = gateway.says(0, "certificate `a.test, wrong.test` was not issued").await;
    assert!(told.contains("wrong.test: "), "{told}");
    assert!(told.contains("Failed to connect to 127.0.0.9"), "{told}");
    site.acme = "domains: [a.test]".to_owned();
    replace_file(gateway.file(), &site.yaml());
    let serial = site.first_serial(&gateway, "a.test").await;
    // What is not changed is not ordered again.
    let mark = gateway.mark();
    replace_file(gateway.file(), &format!("{}log: {{level: info}}\n", site.yaml()));
    gateway.says(mark, "version").await;
    assert_eq!(site.serial(&gateway, "a.test").await, Some(serial));
}

#[tokio::test]
async fn invalid_acme_setting_is_refused_with_its_position() {
    let folder = TempDir::new().expect("a folder");
    for (acme, place, reason) in [
        ("agree_to_terms: false, domains: [a.test]", "agree_to_terms", "must be `true`"),
        ("agree_to_terms: true, domains: [\"*.a.test\"]", "domains[0]", "wildcard"),
        ("agree_to_terms: true, domains: [localhost]", "domains[0]", "without a dot"),
        ("agree_to_terms: true, domains: [a.test], directory: http://x", "directory", "https://"),
        ("agree_to_terms: true, domains: [a.test], challenge: http-01", "challenge", "without TLS"),
        ("agree_to_terms: true, domains: []", "domains", ""),
        ("domains: [a.test]", "agree_to_terms", ""),
        ("agree_to_terms: true, domains: [a.test], domian: x", "domian", "domains"),
    ] {
        let yaml = format!(
            "state_dir: s\nlisteners: [{{address: \"127.0.0.1:1\", tls: {{acme: {{{acme}}}}}}}]\n\
             routes: [{{name: a, match: {{path_prefix: /}}, respond: {{status: 200}}}}]\n"
        );
        std::fs::write(folder.path().join("t.yaml"), &yaml).expect("a file");
        let run = cli(folder.path(), &["check", "--config", "t.yaml"], &[]).await;
        assert_eq!(run.code, Some(78), "{acme}: {}", run.all());
        assert!(run.all().contains(place) && run.all().contains(reason), "{acme}: {}", run.all());
    }
    let yaml = "listeners: [{address: \"127.0.0.1:1\", tls: {acme: {agree_to_terms: true, domains: [a.test]}}}]\n";
    std::fs::write(folder.path().join("t.yaml"), yaml).expect("a file");
    let run = cli(folder.path(), &["check", "--config", "t.yaml"], &[]).await;
    assert!(run.all().contains("state_dir"), "{}", run.all());
}

#[tokio::test]
async fn old_certificate_serves_until_one_for_the_new_names_is_issued() {
    let pebble = Pebble::new().start().await;
    pebble.resolve_to("wrong.test", "127.0.0.9").await;
    let mut site = Site::new(pebble, "domains: [a.test, b.test]").await;
    let mut gateway = site.start().await;
    let serial = site.first_serial(&gateway, "a.test").await;
    // Names are added that can't be proved: those that have a certificate keep it.
    for domains in ["[wrong.test, b.test, a.test]", "[wrong.test, a.test]"] {
        let mark = gateway.mark();
        site.acme = format!("domains: {domains}");
        replace_file(gateway.file(), &site.yaml());
        gateway.says(mark, "certificate `wrong.test, ").await;
        for name in ["a.test", "b.test"] {
            assert_eq!(site.serial(&gateway, name).await.as_deref(), Some(&*serial), "{name}");
        }
    }
    // So does a process that begins with them.
    let folder = TempDir::new().expect("a folder");
    copy(&gateway.folder().join("state"), &folder.path().join("state"));
    gateway.signal(nix::sys::signal::Signal::SIGINT);
    gateway.exited(std::time::Duration::from_secs(20)).await;
    let again = site.start_in(folder).await;
    assert_eq!(site.serial(&again, "a.test").await, Some(serial.clone()));
    again.says(0, "is used as a placeholder until").await;
    // Once it can be proved, there is one for all.
    site.acme = "domains: [c.test, a.test]".to_owned();
    replace_file(again.file(), &site.yaml());
    until("another certificate is shown", async || {
        site.serial(&again, "a.test").await.is_some_and(|it| it != serial)
    })
    .await;
    let both = site.serial(&again, "c.test").await;
    assert_eq!(site.serial(&again, "a.test").await, both);
}

#[tokio::test]
async fn account_unknown_to_the_authority_is_registered_again() {
    for accounts in [
        vec![],
        vec![("kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W")],
    ] {
        let mut pebble = Pebble::new();
        let account = accounts.first().map_or(String::new(), |(id, key)| {
            format!(", external_account: {{key_id: {id}, hmac_key: {key}}}")
        });
        pebble.accounts = accounts;
        let acme = format!("domains: [a.test], email: ops@a.test{account}");
        let mut site = Site::new(pebble.start().await, &acme).await;
        let gateway = site.start().await;
        let serial = site.first_serial(&gateway, "a.test").await;
        let kept = account_file(&gateway.folder().join("state"));
        // Begun anew it knows nobody.
        site.pebble.stop();
        site.pebble.run().await;
        site.acme = acme.replace("[a.test]", "[b.test, a.test]");
        let mark = gateway.mark();
        replace_file(gateway.file(), &site.yaml());
        gateway.says(mark, "no longer knows the ACME account").await;
        until("another certificate is shown", async || {
            site.serial(&gateway, "a.test").await.is_some_and(|it| it != serial)
        })
        .await;
        let (before, after) = (kept, account_file(&gateway.folder().join("state")));
        assert_ne!(before["id"], after["id"]);
        let has_same_key = before["key_pkcs8"] == after["key_pkcs8"];
        assert_eq!(has_same_key, account.is_empty());
    }
}

fn account_file(state: &Path) -> serde_json::Value {
    let files = walk(state);
    let file = files.iter().find(|path| path.ends_with("account.json")).expect("an account");
    serde_json::from_slice(&std::fs::read(file).expect("a file")).expect("JSON")
}
