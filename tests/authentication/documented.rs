//! The page on authentication holds what it says: its first configuration admits and refuses as described, and all others
//! are valid.

use serde_json::json;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tidegate_testing::{Gateway, Handshake, IdentityProvider, Upstream, cli, free_port};

const PAGE: &str = include_str!("../../docs/authentication.md");

/// What the fragments of the page name without defining it.
const SCHEME: &str = "{jwt: {issuer: \"https://id.example.com/\", audience: [chat]}}";

/// The blocks of YAML on the page, in its order.
fn blocks() -> Vec<&'static str> {
    let parts = PAGE.split("\n```").skip(1).step_by(2);
    parts.filter_map(|part| part.strip_prefix("yaml\n")).collect()
}

/// Whether a block has this key at its top.
fn has(block: &str, key: &str) -> bool {
    block.lines().any(|line| line.starts_with(&format!("{key}:")))
}

/// A whole file of a block, with what it only names.
fn whole(block: &str) -> String {
    let mut file = block.to_owned();
    for scheme in ["accounts", "partners"] {
        let is_used = block.contains(&format!("require: {scheme}")) || block.contains("any: [");
        if is_used && !has(block, "authentication") {
            if !has(&file, "authentication") {
                file += "\nauthentication:";
            }
            write!(file, "\n  {scheme}: {SCHEME}").expect("text");
        }
    }
    for (key, content) in [
        ("listeners", "[{address: \"127.0.0.1:0\"}]"),
        (
            "upstreams",
            "{service: {endpoints: [\"127.0.0.1:1\"]}, chat: {endpoints: [\"127.0.0.1:1\"]}}",
        ),
        ("routes", "[{name: all, match: {path_prefix: /}, upstream: service}]"),
    ] {
        if !has(block, key) {
            write!(file, "\n{key}: {content}").expect("text");
        }
    }
    file + "\n"
}

/// Writes it beside the files that the page names.
fn written(yaml: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a folder");
    let keys = blocks().into_iter().find(|block| has(block, "keys")).expect("a file of keys");
    std::fs::write(folder.path().join("keys.yaml"), keys).expect("a file");
    let password = "alice:$2y$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy\n";
    std::fs::write(folder.path().join("users.htpasswd"), password).expect("a file");
    let file = folder.path().join("tidegate.yaml");
    std::fs::write(&file, yaml).expect("a file");
    (folder, file)
}

#[tokio::test]
async fn every_configuration_on_the_page_is_valid() {
    let blocks = blocks();
    assert!(blocks.len() > 8, "{blocks:#?}");
    for block in blocks.into_iter().filter(|block| !has(block, "keys")) {
        let yaml = whole(block);
        let (folder, file) = written(&yaml);
        let arguments = ["check", "--config", file.to_str().expect("a path")];
        let key = "0123456789abcdef0123456789abcdef";
        let variables = [("OIDC_CLIENT_SECRET", key), ("COOKIE_KEY", key)];
        let run = cli(folder.path(), &arguments, &variables).await;
        assert_eq!(run.code, Some(0), "{yaml}\n{}", run.all());
    }
}

#[tokio::test]
async fn first_configuration_lets_nobody_read_what_belongs_to_others() {
    let (service, issuer) = (Upstream::echo().await, IdentityProvider::start().await);
    let port = free_port();
    let mut yaml = blocks()[0].to_owned();
    for (this, by) in [
        ("127.0.0.1:3000", format!("127.0.0.1:{port}")),
        ("127.0.0.1:4009", service.address().to_string()),
        ("https://id.example.com/", issuer.issuer()),
    ] {
        assert!(yaml.contains(this), "the page has no {this}");
        yaml = yaml.replace(this, &by);
    }
    let (folder, file) = written(&yaml);
    let gateway = Gateway::run(folder, file, port).await;
    let token = issuer.token(json!({"aud": "notifications", "sub": "alice"}));
    let bearer = format!("Authorization: Bearer {token}");
    let foreign = issuer.token(json!({"aud": "chat", "sub": "alice"}));
    let foreign = format!("Authorization: Bearer {foreign}");
    for (user, fields, status, error) in [
        ("alice", vec![], 401, "authentication_required"),
        ("alice", vec![&*foreign], 401, "authentication_failed"),
        ("bob", vec![&*bearer], 403, "not_permitted"),
        ("alice&userId=bob", vec![&*bearer], 403, "not_permitted"),
    ] {
        let path = format!("/api/notifications?userId={user}");
        let answer = gateway.get(&path, &fields).await;
        assert_eq!((answer.status(), &answer.error()["error"]), (status, &json!(error)), "{path}");
        let challenge = answer.head.only("www-authenticate").expect("a challenge");
        assert_eq!(challenge.contains("insufficient_scope"), status == 403, "{challenge}");
    }
    let offered = format!("notifications.v1, access_token.{token}");
    let handshake = |user: &str| {
        let path = format!("/api/notifications/ws?userId={user}");
        Handshake::to(&path).set("Sec-WebSocket-Protocol", &offered)
    };
    assert_eq!(gateway.refused(&handshake("bob")).await.status(), 403);
    let (_, socket) = handshake("alice").open(&gateway).await;
    drop(socket);
    let requests = service.requests();
    assert_eq!(requests.len(), 1, "refused requests never reach the service");
    assert_eq!(requests[0].head.get("sec-websocket-protocol"), Some("notifications.v1"));
}

#[test]
fn page_names_files_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["conf/tidegate-auth.yaml", "conf/examples/authentication-sessions.yaml"] {
        assert!(PAGE.contains(name), "{name}");
        assert!(root.join(name).exists(), "{name}");
    }
}
