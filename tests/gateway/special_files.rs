//! Pipes and devices in place of a file are refused, and nothing blocks on them.

use nix::sys::signal::Signal;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tidegate_testing::{Config, Gateway, cli, named_pipe, until};

const FILES: [(&str, &str); 4] = [
    ("conf.d/first.yaml", "routes: []\n"),
    ("endpoints", "127.0.0.1:1\n"),
    ("page.html", "<p>{{message}}</p>"),
    ("tls/ca.pem", ""),
];

fn config(body: &str) -> Config {
    Config::new()
        .answer("all", "path_prefix: /", &format!("respond: {{body: {body}}}"))
        .top("include: [conf.d/*.yaml]")
        .top("error_pages: {pages: {4xx: page.html}}")
        .top("upstreams: {listed: {endpoints_file: endpoints}}")
}

async fn start() -> Gateway {
    let folder = tempfile::TempDir::new().expect("a folder");
    for (name, text) in FILES {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }
    let port = tidegate_testing::free_port();
    let file = folder.path().join("tidegate.yaml");
    std::fs::write(&file, config("one").yaml(port)).expect("written");
    Gateway::run(folder, file, port).await
}

#[tokio::test]
async fn named_pipe_in_place_of_a_file_is_refused_without_blocking() {
    for name in ["conf.d/pipe.yaml", "endpoints", "page.html", "tidegate.yaml"] {
        let mut gateway = start().await;
        let mark = gateway.mark();
        let path = gateway.folder().join(name);
        let _ = std::fs::remove_file(&path);
        named_pipe(&path);
        gateway.says(mark, "configuration not reloaded").await;
        gateway.says(mark, "the path is a named pipe, not a regular file").await;
        assert_eq!(gateway.get("/", &[]).await.text(), "one", "{name}");
        std::fs::remove_file(&path).expect("removed");
        if let Some((_, text)) = FILES.iter().find(|(file, _)| *file == name) {
            std::fs::write(&path, text).expect("written again");
        }
        gateway.rewrite(&config("two"));
        until("the next edit", async || gateway.get("/", &[]).await.text() == "two").await;
        gateway.signal(Signal::SIGTERM);
        assert_eq!(gateway.exited(Duration::from_secs(5)).await.code(), Some(0), "{name}");
    }
}

#[tokio::test]
async fn check_refuses_pipes_and_devices_without_waiting() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let pipe = folder.path().join("pipe");
    named_pipe(&pipe);
    let check = async |yaml: &str| {
        let file = folder.path().join("t.yaml");
        std::fs::write(&file, yaml).expect("written");
        let run = cli(folder.path(), &["check", "--config", "t.yaml"], &[]).await;
        assert_eq!(run.code, Some(78), "{}", run.all());
        run.stderr
    };
    let top = "listeners: [{address: \"127.0.0.1:1\"}]\nroutes: []\n";
    for (section, kind) in [
        ("include: [pipe]", "a named pipe"),
        ("include: [/dev/zero]", "a device"),
        ("upstreams: {u: {endpoints_file: pipe}}", "a named pipe"),
        ("error_pages: {json: {404: pipe}}", "a named pipe"),
        ("upstreams: {u: {endpoints: [\"a:1\"], tls: {ca: pipe}}}", "a named pipe"),
    ] {
        let said = check(&format!("{top}{section}\n")).await;
        assert!(said.contains(&format!("the path is {kind}, not a regular file")), "{said}");
    }
    let tls = "tls: {certificates: [{cert: pipe, key: pipe}]}";
    let said = check(&top.replace(":1\"}", &format!(":1\", {tls}}}"))).await;
    assert!(said.contains("t.yaml:1:") && said.contains("the path is a named pipe"), "{said}");
    let run = cli(folder.path(), &["check", "--config", "pipe"], &[]).await;
    assert_eq!(run.code, Some(78), "{}", run.all());
}

#[tokio::test]
async fn include_with_too_many_files_is_refused() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let many = folder.path().join("many");
    std::fs::create_dir(&many).expect("made");
    for number in 0..=1000 {
        std::fs::write(many.join(format!("{number}.yaml")), "").expect("written");
    }
    let yaml = "listeners: [{address: \"127.0.0.1:1\"}]\ninclude: [\"**/*.yaml\"]\n";
    std::fs::write(folder.path().join("t.yaml"), yaml).expect("written");
    let run = cli(folder.path(), &["check", "--config", "t.yaml"], &[]).await;
    assert_eq!(run.code, Some(78), "{}", run.all());
    assert!(run.stderr.contains("t.yaml:2:") && run.stderr.contains("1000 files"), "{}", run.all());
}

#[tokio::test]
async fn changing_file_does_not_delay_the_edit_of_another() {
    let gateway = start().await;
    let endpoints = gateway.folder().join("endpoints");
    let is_over = Arc::new(AtomicBool::new(false));
    let writing = tokio::task::spawn_blocking({
        let is_over = Arc::clone(&is_over);
        move || rewrite_until_over(&endpoints, &is_over)
    });
    gateway.rewrite(&config("two"));
    until("the edit", async || gateway.get("/", &[]).await.text() == "two").await;
    is_over.store(true, Relaxed);
    writing.await.expect("written");
}

fn rewrite_until_over(path: &Path, is_over: &AtomicBool) {
    let mut number = 0_u32;
    while !is_over.load(Relaxed) {
        number += 1;
        std::fs::write(path, format!("127.0.0.1:1 # {number}\n")).expect("written");
        std::thread::sleep(Duration::from_millis(10));
    }
}
