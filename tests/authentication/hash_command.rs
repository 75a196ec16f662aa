//! What `tidegate hash` prints admits those who know the secret.

use crate::side_files::start_with;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use tidegate_testing::{Config, Upstream, binary};

/// Runs `tidegate hash` with this input.
fn hash(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(binary())
        .arg("hash")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the gateway's binary");
    // One that makes a key reads nothing, and may be gone.
    let _ = child.stdin.take().expect("its input").write_all(input.as_bytes());
    child.wait_with_output().expect("its output")
}

fn printed(arguments: &[&str], input: &str) -> String {
    let output = hash(arguments, input);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test]
async fn hashes_that_it_prints_are_those_of_the_secrets() {
    let password = printed(&[], "open sesame\r\nwhat follows does not count\n");
    assert!(password.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{password}");
    let key = printed(&["--key"], "a-key-of-another-system-0123");
    let new = printed(&["--new-key"], "");
    let (new_key, new_hash) = new.trim_end().split_once('\n').expect("two lines");
    let new_key = new_key.strip_prefix("key: ").expect("the key");
    assert!(new_key.starts_with("tgk_") && new_key.len() == 47, "{new_key}");
    assert_ne!(printed(&["--new-key"], ""), new);

    let upstream = Upstream::saying("in").await;
    let config = Config::to(&upstream)
        .top(
            "authentication: {keys: {api_keys: {file: keys.yaml}}, \
             staff: {basic: {file: users.htpasswd}}}",
        )
        .with("require: {any: [keys, staff]}");
    let keys =
        format!("keys:\n- {{name: a, hash: \"{}\"}}\n- name: b\n  {new_hash}\n", key.trim_end());
    let users = format!("anna:{password}");
    let files = [("keys.yaml", &*keys), ("users.htpasswd", &*users)];
    let gateway = start_with(&config, &files).await;
    let basic = |pair: &str| format!("Authorization: Basic {}", STANDARD.encode(pair));
    for (header, status) in [
        (basic("anna:open sesame"), 200),
        (basic("anna:open sesame\r"), 401),
        (basic("anna:open"), 401),
        ("X-API-Key: a-key-of-another-system-0123".to_owned(), 200),
        (format!("X-API-Key: {new_key}"), 200),
        (format!("X-API-Key: {new_key}x"), 401),
    ] {
        assert_eq!(gateway.get("/", &[&header]).await.status(), status, "{header}");
    }
}

#[test]
fn secrets_that_no_client_can_send_are_refused_and_short_keys_warned_of() {
    for (arguments, input, code, says) in [
        (&[][..], "\n", 2, "error: standard input is empty\n"),
        (
            &[],
            "a\tb\n",
            2,
            "error: remove the control characters from standard input; no client can send them\n",
        ),
        (
            &["--key"],
            "short",
            0,
            "warning: keys of less than 20 characters can be guessed; make one with `tidegate hash --new-key`\n",
        ),
    ] {
        let output = hash(arguments, input);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), &*told), (Some(code), says), "{input:?}");
    }
    assert_eq!(hash(&["--key", "--new-key"], "").status.code(), Some(2));
}
