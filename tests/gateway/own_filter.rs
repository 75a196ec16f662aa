//! A filter of one's own, as a program of its own: `examples/tell_user.rs`.

use crate::support::{Ready, Upstream, free_port};
use std::path::{Path, PathBuf};
use std::process::Command;

/// `cargo test` builds the examples beside the binary.
fn example() -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_tidegate")).parent().expect("a folder");
    folder.join("examples/tell_user")
}

#[tokio::test]
async fn a_filter_in_forty_lines_rewrites_and_answers() {
    let lines = include_str!("../../examples/tell_user.rs").lines().count();
    assert!(lines < 40, "{lines}");

    let upstream = Upstream::saying("hello").await;
    let port = free_port();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tidegate.yaml");
    let yaml = format!(
        "listeners: [{{address: 127.0.0.1:{port}}}]\n\
         identity: {{user_id: [{{query: userId}}]}}\n\
         upstreams: {{u: {{endpoints: ['{}']}}}}\n\
         routes: [{{name: all, upstream: u}}]\n",
        upstream.address()
    );
    std::fs::write(&file, yaml).expect("the file");
    let mut program = Command::new(example());
    program.arg(&file);
    let _program = Ready::wait(program).await;

    let get = |user: &str| reqwest::get(format!("http://127.0.0.1:{port}/?userId={user}"));
    assert_eq!(get("user-1").await.expect("an answer").text().await.expect("text"), "hello");
    assert_eq!(upstream.only_request().await.head.get("x-claimed-user"), Some("user-1"));
    let refused = get("mallory").await.expect("an answer");
    assert_eq!(refused.status(), 403);
    assert!(refused.text().await.expect("text").contains("\"error\":\"banned\""));
}
