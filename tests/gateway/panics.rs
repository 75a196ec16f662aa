//! The gateway survives a panic in a background task or a filter, and reports it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tidegate::Filter;
use tidegate::filter::{Flow, Request};
use tidegate::websocket::LogFrames;
use tidegate_testing::{Admin, free_port, until, within};

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
async fn panic_while_compiling_refuses_only_that_edit() {
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
        .with_graceful_shutdown(async {
            let _ = stopped.await;
        });
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
    let metrics = async || {
        let answer = admin.send(reqwest::Method::GET, "/metrics", None).await;
        answer.text().await.expect("text")
    };
    let told = metrics().await;
    assert!(told.contains("tidegate_tasks_down 1"), "{told}");
    assert!(told.contains("tidegate_task_panics_total{task=\"compile\"} 1"), "{told}");

    panics.store(false, Ordering::Relaxed);
    write("third");
    until("the edit", async || said().await.as_deref() == Some("third")).await;
    assert_eq!(admin.get("/status").await["panics"][0]["running"], true);
    assert!(metrics().await.contains("tidegate_tasks_down 0"));
    let _ = stop.send(());
    let ended = tokio::task::spawn_blocking(move || running.join());
    let ended = within("the end", ended).await.expect("joined").expect("no panic");
    assert!(ended.is_ok(), "{ended:?}");
}

/// A filter that panics where a request asks for it.
struct Touchy;

#[tidegate::async_trait]
impl Filter for Touchy {
    async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, tidegate::filter::Error> {
        assert!(!request.head().headers.contains_key("x-panic"), "asked to panic");
        Ok(Flow::Continue)
    }
}

#[tokio::test]
async fn panicking_filter_is_logged_and_affects_only_its_request() {
    let port = free_port();
    let folder = tempfile::tempdir().expect("a folder");
    let (file, log) = (folder.path().join("tidegate.yaml"), folder.path().join("access.log"));
    let yaml = format!(
        "listeners: [{{address: 127.0.0.1:{port}, protocols: [h1, h2c]}}]\naccess_log: {{path: access.log}}\n\
         routes: [{{name: all, respond: {{body: fine}}}}]\n"
    );
    std::fs::write(&file, yaml).expect("the file");
    let (stop, stopped) = oneshot::channel();
    let gateway = tidegate::Gateway::from_config(tidegate::Config::from_file(&file))
        .filter(Touchy)
        .ignore_signals()
        .with_graceful_shutdown(async {
            let _ = stopped.await;
        });
    let running = std::thread::spawn(move || gateway.run());
    let client = |is_http2: bool| {
        let builder = reqwest::Client::builder();
        let builder = if is_http2 { builder.http2_prior_knowledge() } else { builder.http1_only() };
        builder.build().expect("a client")
    };
    let url = format!("http://127.0.0.1:{port}");
    until("the gateway", async || client(false).get(&url).send().await.is_ok()).await;
    for (is_http2, path) in [(false, "/h1"), (true, "/h2")] {
        let client = client(is_http2);
        let panicking = client.get(format!("{url}{path}")).header("x-panic", "1");
        assert!(panicking.send().await.is_err(), "{path}");
        let fine = client.get(&url).send().await.expect("an answer");
        assert_eq!(fine.text().await.expect("text"), "fine");
        // Over HTTP/2 the request's head is gone with its task, and with it the line.
        until("the line", async || {
            let lines = std::fs::read_to_string(&log).unwrap_or_default();
            let mut lines = lines.lines().filter(|line| line.contains(path));
            is_http2 || lines.any(|line| line.contains("panicked"))
        })
        .await;
    }
    let _ = stop.send(());
    let ended = tokio::task::spawn_blocking(move || running.join());
    let ended = within("the end", ended).await.expect("joined").expect("no panic");
    assert!(ended.is_ok(), "{ended:?}");
}
