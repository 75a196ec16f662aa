//! A panic in the background is no silent end: the gateway goes on, and says what has happened.

use crate::support::{Admin, free_port, until, within};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tidegate::{Filter, LogFrames};

use tokio::sync::oneshot;

/// A filter that can't be compiled into a configuration while it is told to panic.
struct Panicking(Arc<AtomicBool>);

impl Filter for Panicking {
    fn watches(&self) -> LogFrames {
        assert!(!self.0.load(Ordering::Relaxed), "told to panic");
        LogFrames::Off
    }
}

#[tokio::test]
async fn a_panic_while_a_configuration_is_compiled_refuses_the_edit_and_no_later_one() {
    let (admin, port) = (Admin::new(), free_port());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tidegate.yaml");
    let write = |body: &str| {
        let yaml = format!(
            "listeners: [{{address: 127.0.0.1:{port}}}]\naccess_log: off\n{}\n\
             upstreams: {{u: {{endpoints: [\"127.0.0.1:1\"]}}}}\n\
             routes:\n  - {{name: one, match: {{path: /one}}, upstream: u}}\n\
             \x20 - {{name: all, respond: {{body: {body}}}}}\n",
            admin.section()
        );
        std::fs::write(&file, yaml).expect("the file");
    };
    let said = async || {
        let answer = reqwest::get(format!("http://127.0.0.1:{port}/")).await.ok()?;
        answer.text().await.ok()
    };
    let panics = Arc::new(AtomicBool::new(false));
    write("first");
    let (stop, stopped) = oneshot::channel();
    let gateway = tidegate::Gateway::from_config(tidegate::Config::from_file(&file))
        .filter(Panicking(Arc::clone(&panics)))
        .ignore_signals()
        .stop_when(stopped);
    let running = std::thread::spawn(move || gateway.run());
    until("the gateway", async || said().await.as_deref() == Some("first")).await;
    assert_eq!(admin.get("/status").await["panics"], serde_json::json!([]));

    panics.store(true, Ordering::Relaxed);
    write("second");
    until("the refusal", async || !admin.get("/history").await["refused"].is_null()).await;
    let refused = admin.get("/history").await["refused"].to_string();
    assert!(refused.contains("the gateway panicked"), "{refused}");
    let status = admin.get("/status").await;
    let panic = &status["panics"][0];
    assert_eq!(panic["task"], "compile", "{status}");
    assert_eq!((&panic["running"], &panic["reason"]), (&false.into(), &"told to panic".into()));
    assert_eq!(said().await.as_deref(), Some("first"));

    panics.store(false, Ordering::Relaxed);
    write("third");
    until("the edit", async || said().await.as_deref() == Some("third")).await;
    assert_eq!(admin.get("/status").await["panics"][0]["running"], true);
    let _ = stop.send(());
    let ended = tokio::task::spawn_blocking(move || running.join());
    let ended = within("the end", ended).await.expect("joined").expect("no panic");
    assert!(ended.is_ok(), "{ended:?}");
}
