//! Custom filters in their own programs: `examples/`.

use futures_util::SinkExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tidegate_testing::{Lines, Ready, Upstream, free_port};
use tokio_tungstenite::tungstenite::Message;

/// `cargo test` builds the examples beside the binary.
pub(super) fn example(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_tidegate")).parent().expect("a folder");
    folder.join("examples").join(name)
}

#[tokio::test]
async fn custom_filter_changes_headers_and_answers() {
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
    let mut program = Command::new(example("tell_user"));
    program.arg(&file);
    let _program = Ready::wait(program).await;

    let get = |user: &str| reqwest::get(format!("http://127.0.0.1:{port}/?userId={user}"));
    assert_eq!(get("user-1").await.expect("an answer").text().await.expect("text"), "hello");
    assert_eq!(upstream.only_request().await.head.get("x-claimed-user"), Some("user-1"));
    let refused = get("mallory").await.expect("an answer");
    assert_eq!(refused.status(), 403);
    assert!(refused.text().await.expect("text").contains("\"error\":\"banned\""));
}

#[tokio::test]
async fn custom_filter_observes_a_session_from_open_to_close() {
    let upstream = Upstream::echo().await;
    let port = free_port();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tidegate.yaml");
    let yaml = format!(
        "listeners: [{{address: 127.0.0.1:{port}}}]\n\
         access_log: off\n\
         identity: {{user_id: [{{query: userId}}]}}\n\
         upstreams: {{u: {{endpoints: ['{}']}}}}\n\
         routes: [{{name: all, upstream: u}}]\n",
        upstream.address()
    );
    std::fs::write(&file, yaml).expect("the file");
    let mut program = Command::new(example("watch_messages"))
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    let said = Lines::read_from(program.stdout.take().expect("stdout"));
    let log = Lines::read_from(program.stderr.take().expect("stderr"));
    let has = |what: &'static str| move |line: &str| line.contains(what).then_some(());
    log.find("the program to be ready", 0, has("ready")).await;

    let url = format!("ws://127.0.0.1:{port}/ws?userId=user-1");
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.expect("a socket");
    socket.send(Message::text("hello")).await.expect("sent");
    socket.close(None).await.expect("closed");
    for line in ["user-1 is here", "user-1 says \"hello\"", "user-1 hears \"hello\""] {
        said.find(line, 0, has(line)).await;
    }
    said.find("the end", 0, has("gone after 1 messages: Client")).await;
    let _ = program.kill();
    let _ = program.wait();
}

#[tokio::test]
async fn custom_program_reports_an_invalid_configuration_and_exits_78() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("t.yaml");
    let yaml = "listeners: [{address: \"127.0.0.1:1\"}]\nadmin: {address: \"${PLACE}\"}\nroutes: [{name: a, upstraem: u}]\n";
    std::fs::write(&file, yaml).expect("the file");
    let mut program = Command::new(example("tell_user"));
    let run = program.arg(&file).env("PLACE", "a secret").output().expect("the program");
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(78), "{said}");
    assert!(said.contains("t.yaml:3:20: error: routes[0].upstraem"), "{said}");
    assert!(said.contains("the variable's value"), "{said}");
    for hidden in ["Problems", "Span", "a secret"] {
        assert!(!said.contains(hidden), "{hidden} in:\n{said}");
    }
    let error = tidegate::Gateway::from_config(tidegate::Config::from_file(&file)).run();
    let shown = format!("{:?}", error.expect_err("it is wrong"));
    assert!(shown.contains("t.yaml:3:20: error: ") && !shown.contains("Problems {"), "{shown}");
}
