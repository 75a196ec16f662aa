//! The gateway stops on a signal and finishes requests in flight.

use nix::sys::signal::Signal;
use std::io::{PipeReader, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tidegate_testing::{Config, Gateway, Upstream, cli, free_port, get, named_pipe, ok, until};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// More than a second of an idle machine, on a busy one.
const SOON: Duration = Duration::from_secs(3);

/// An upstream that answers when the gate opens.
async fn gated() -> (Upstream, Arc<Notify>) {
    let gate = Arc::new(Notify::new());
    let opened = Arc::clone(&gate);
    let upstream = Upstream::scripted(move |mut wire, recorder| {
        let gate = Arc::clone(&opened);
        async move {
            let head = wire.head().await;
            recorder.record(&head);
            gate.notified().await;
            let _ = wire.try_send(ok("at last")).await;
            wire.read_to_end().await;
        }
    })
    .await;
    (upstream, gate)
}

async fn refuses(gateway: &Gateway) -> bool {
    TcpStream::connect(gateway.address()).await.is_err()
}

#[tokio::test]
async fn idle_gateway_stops_soon_after_sigterm() {
    let upstream = Upstream::saying("ok").await;
    let mut gateway = Config::to(&upstream).start().await;
    gateway.signal(Signal::SIGTERM);
    assert_eq!(gateway.exited(SOON).await.code(), Some(0));
}

#[tokio::test]
async fn kept_connections_do_not_delay_shutdown() {
    let upstream = Upstream::saying("ok").await;
    let mut gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    wire.send(get("/", &[])).await;
    assert_eq!(wire.response().await.text(), "ok");
    let _silent = gateway.connect().await;
    gateway.signal(Signal::SIGTERM);
    assert_eq!(gateway.exited(SOON).await.code(), Some(0));
}

#[tokio::test]
async fn request_in_flight_finishes_before_shutdown() {
    let (upstream, gate) = gated().await;
    let mut gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    wire.send(get("/slow", &[])).await;
    upstream.request(0).await;
    gateway.signal(Signal::SIGTERM);
    until("new connections refused", || refuses(&gateway)).await;
    assert!(gateway.is_alive(), "the request is still in flight");
    gate.notify_one();
    let answer = wire.response().await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "at last"));
    assert_eq!(gateway.exited(SOON).await.code(), Some(0));
}

#[tokio::test]
async fn shutdown_grace_bounds_the_wait_for_requests() {
    let (upstream, _gate) = gated().await;
    let mut gateway = Config::to(&upstream).top("shutdown: {grace: 1s}").start().await;
    let mut wire = gateway.connect().await;
    wire.send(get("/hangs", &[])).await;
    upstream.request(0).await;
    gateway.signal(Signal::SIGTERM);
    gateway.exited(Duration::from_secs(1) + SOON).await;
}

#[tokio::test]
async fn shutdown_grace_bounds_open_websockets() {
    let upstream = Upstream::echo().await;
    let mut gateway = Config::to(&upstream).top("shutdown: {grace: 1s}").start().await;
    let mut socket = gateway.websocket("/").await;
    gateway.signal(Signal::SIGTERM);
    gateway.exited(Duration::from_secs(1) + SOON).await;
    while tidegate_testing::next(&mut socket).await.is_some() {}
}

#[tokio::test]
async fn sigint_stops_without_waiting() {
    let (upstream, _gate) = gated().await;
    let mut gateway = Config::to(&upstream).start().await;
    let mut wire = gateway.connect().await;
    wire.send(get("/hangs", &[])).await;
    upstream.request(0).await;
    gateway.signal(Signal::SIGINT);
    gateway.exited(SOON).await;
}

#[tokio::test]
async fn signal_right_after_the_start_stops_the_gateway() {
    let upstream = Upstream::saying("ok").await;
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut gateway = Config::to(&upstream).start().await;
        gateway.signal(signal);
        assert_eq!(gateway.exited(SOON).await.code(), Some(0), "{signal}");
    }
}

#[tokio::test]
async fn port_in_use_is_reported_in_one_line() {
    let upstream = Upstream::saying("ok").await;
    let gateway = Config::to(&upstream).start().await;
    let run =
        cli(gateway.folder(), &["run", "--config", gateway.file().to_str().expect("a path")], &[])
            .await;
    assert_eq!(run.code, Some(1), "{}", run.all());
    let address = gateway.address().to_string();
    let lines: Vec<_> = run.stderr.lines().filter(|line| line.contains(&address)).collect();
    assert!(lines.iter().any(|line| line.contains("in use")), "{}", run.stderr);
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    assert_eq!(gateway.get("/", &[]).await.text(), "ok", "the first one is unharmed");
}

#[tokio::test]
async fn port_can_be_bound_again_at_once() {
    let upstream = Upstream::saying("ok").await;
    let port = free_port();
    for _ in 0..2 {
        let folder = tempfile::TempDir::new().expect("a folder");
        let file = folder.path().join("tidegate.yaml");
        std::fs::write(&file, Config::to(&upstream).yaml(port)).expect("a file");
        let mut gateway = Gateway::run(folder, file, port).await;
        // The gateway closes first here, which leaves the port in TIME_WAIT.
        assert_eq!(gateway.get("/", &["Connection: close"]).await.text(), "ok");
        gateway.signal(Signal::SIGTERM);
        assert_eq!(gateway.exited(SOON).await.code(), Some(0));
    }
}

/// A pipe that takes nothing any more, for nobody reads it.
fn full_pipe() -> (PipeReader, Stdio) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let flags = rustix::fs::fcntl_getfl(&writer).expect("its flags");
    rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).expect("set");
    while writer.write(&[b'\n'; 4096]).is_ok() {}
    rustix::fs::fcntl_setfl(&writer, flags).expect("set");
    (reader, writer.into())
}

/// More requests than the access log's queue holds lines.
async fn fill_access_log(gateway: &Gateway) {
    for _ in 0..180 {
        let mut wire = gateway.connect().await;
        wire.send(get("/", &[]).repeat(100)).await;
        for _ in 0..100 {
            assert_eq!(wire.response().await.status(), 200);
        }
    }
}

#[tokio::test]
async fn unread_stdout_does_not_block_shutdown() {
    let config = Config::new().answer("all", "path_prefix: /", "respond: {body: ok}");
    let config = config.top("shutdown: {grace: 1s}");
    let (_nobody_reads, stdout) = full_pipe();
    let mut gateway = Gateway::with_output(&config, stdout, Stdio::piped()).await;
    let mark = gateway.mark();
    fill_access_log(&gateway).await;
    gateway.says(mark, "lines dropped so far, because they come faster").await;
    // None of these may hold up the signals after it.
    for signal in [Signal::SIGUSR1, Signal::SIGHUP] {
        gateway.signal(signal);
    }
    gateway.says(mark, "configuration reloaded").await;
    assert_eq!(gateway.get("/", &[]).await.text(), "ok");
    gateway.signal(Signal::SIGTERM);
    assert_eq!(gateway.exited(Duration::from_secs(1) + SOON).await.code(), Some(0));
}

#[tokio::test]
async fn unread_pipe_as_access_log_does_not_block_shutdown() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let pipe = folder.path().join("access.pipe");
    named_pipe(&pipe);
    let config = Config::new().answer("all", "path_prefix: /", "respond: {body: ok}");
    let log = format!("access_log: {{path: {}}}", pipe.display());
    let config = config.top("shutdown: {grace: 1s}").top(&log);
    let mut gateway = config.start().await;
    let mark = gateway.mark();
    fill_access_log(&gateway).await;
    gateway.signal(Signal::SIGUSR1);
    gateway.signal(Signal::SIGHUP);
    gateway.says(mark, "configuration reloaded").await;
    gateway.signal(Signal::SIGTERM);
    assert_eq!(gateway.exited(Duration::from_secs(1) + SOON).await.code(), Some(0));
}

#[tokio::test]
async fn unread_stderr_does_not_block_the_gateway() {
    let config = Config::new().answer("all", "path_prefix: /", "respond: {body: ok}");
    let config = config.top("shutdown: {grace: 1s}");
    let (_nobody_reads, stderr) = full_pipe();
    let mut gateway = Gateway::with_output(&config, Stdio::piped(), stderr).await;
    assert_eq!(gateway.get("/", &[]).await.text(), "ok");
    gateway.rewrite(&config.clone().answer("new", "path: /new", "respond: {body: new}"));
    until("the edit", async || gateway.get("/new", &[]).await.text() == "new").await;
    gateway.signal(Signal::SIGTERM);
    assert_eq!(gateway.exited(Duration::from_secs(1) + SOON).await.code(), Some(0));
}

#[tokio::test]
async fn response_cut_off_by_shutdown_is_logged_with_its_status() {
    let upstream = Upstream::scripted(|mut wire, _| async move {
        wire.head().await;
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nd\r\nthe beginning\r\n")
            .await;
        wire.read_to_end().await;
    })
    .await;
    let mut gateway = Config::to(&upstream).top("shutdown: {grace: 1s}").start().await;
    let mut wire = gateway.connect().await;
    wire.send(get("/long", &[])).await;
    wire.until("the beginning").await;
    gateway.signal(Signal::SIGTERM);
    gateway.exited(Duration::from_secs(1) + SOON).await;
    let line = gateway.access_of("/long").await;
    assert_eq!(line["http.response.status_code"], 200, "{line}");
    assert_eq!(
        line["error.message"],
        "cut off: the gateway stopped before the request or session ended (shutdown.grace)"
    );
}
