//! Gateways inside of a program that has a runtime, a logger and signals of its own. They use real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use log::{LevelFilter, Log, Metadata, Record};
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tidegate::{Config, Gateway, HandleError, RunError};
use tidegate_testing::{free_port, until, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

/// A gateway in a task of the test's runtime.
struct Embedded {
    port: u16,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), RunError>>,
}

impl Embedded {
    /// A gateway with these lines beside its listener.
    async fn start(rest: &str) -> Self {
        let port = free_port();
        let yaml = format!("listeners: [{{address: 127.0.0.1:{port}}}]\naccess_log: off\n{rest}");
        let (stop, stopped) = oneshot::channel();
        let gateway =
            Gateway::from_config(Config::from_yaml(&yaml)).with_graceful_shutdown(async {
                let _ = stopped.await;
            });
        let serving = tokio::spawn(gateway.serve());
        until("the gateway", async || is_open(port).await).await;
        Self { port, stop, serving }
    }

    async fn get(&self, path: &str) -> String {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let answer = reqwest::get(url).await.expect("an answer");
        answer.text().await.expect("text")
    }
}

async fn is_open(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).await.is_ok()
}

fn answers(body: &str) -> String {
    format!("routes: [{{name: all, respond: {{body: {body}}}}}]\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_in_one_runtime_stop_separately_and_finish_requests_in_flight() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = upstream.local_addr().expect("an address");
    let (arrived, may_answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let service = {
        let (arrived, may_answer) = (Arc::clone(&arrived), Arc::clone(&may_answer));
        async move {
            let (mut stream, _) = upstream.accept().await.expect("a connection");
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await.expect("a request");
            arrived.notify_one();
            may_answer.notified().await;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow";
            stream.write_all(answer).await.expect("the answer");
            let _ = stream.read(&mut head).await;
        }
    };
    tokio::spawn(service);
    let slow = format!(
        "upstreams: {{u: {{endpoints: [\"{address}\"]}}}}\nroutes: [{{name: all, upstream: u}}]\n"
    );
    let (first, second) = (Embedded::start(&slow).await, Embedded::start(&answers("second")).await);
    let port = first.port;
    let request = tokio::spawn(async move {
        let answer = reqwest::get(format!("http://127.0.0.1:{port}/")).await.expect("an answer");
        answer.text().await.expect("text")
    });
    within("the request", arrived.notified()).await;

    first.stop.send(()).expect("it waits for this");
    until("the closed listener", async || !is_open(port).await).await;
    assert!(!first.serving.is_finished(), "a request is in flight");
    assert_eq!(second.get("/").await, "second");
    may_answer.notify_one();
    assert_eq!(within("the answer", request).await.expect("no panic"), "slow");
    let ended = within("the end", first.serving).await.expect("no panic");
    assert!(ended.is_ok(), "{ended:?}");

    assert_eq!(second.get("/").await, "second");
    second.stop.send(()).expect("it waits for this");
    let ended = within("the end", second.serving).await.expect("no panic");
    assert!(ended.is_ok(), "{ended:?}");
    assert!(!is_open(second.port).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_gateway_closes_its_listeners_and_connections() {
    let admin = free_port();
    let gateway =
        Embedded::start(&format!("admin: {{address: 127.0.0.1:{admin}}}\n{}", answers("here")))
            .await;
    let mut kept = TcpStream::connect(("127.0.0.1", gateway.port)).await.expect("a connection");
    kept.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("a request");
    let mut answer = [0; 4096];
    let read = kept.read(&mut answer).await.expect("an answer");
    assert!(answer[..read].starts_with(b"HTTP/1.1 200"));

    gateway.serving.abort();
    assert!(gateway.serving.await.is_err_and(|error| error.is_cancelled()));
    for port in [gateway.port, admin] {
        until("the closed listener", async || !is_open(port).await).await;
    }
    let end = async { while !matches!(kept.read(&mut answer).await, Ok(0) | Err(_)) {} };
    within("the end of the connection", end).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_gateway_serves_no_connection_whose_preparation_was_in_progress() {
    let (port, hits) = (free_port(), Arc::new(AtomicUsize::new(0)));
    let upstream = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = upstream.local_addr().expect("an address");
    let count = Arc::clone(&hits);
    tokio::spawn(async move {
        while let Ok(connection) = upstream.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            drop(connection);
        }
    });
    let yaml = format!(
        "listeners: [{{address: 127.0.0.1:{port}, proxy_protocol: {{from: [127.0.0.0/8]}}}}]\n\
         access_log: off\nupstreams: {{u: {{endpoints: [\"{address}\"]}}}}\n\
         routes: [{{name: up, match: {{path: /up}}, upstream: u}}, {{name: all, respond: {{body: here}}}}]\n"
    );
    let serving = tokio::spawn(Gateway::from_config(Config::from_yaml(&yaml)).serve());
    until("the gateway", async || is_open(port).await).await;
    let mut early = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
    early.write_all(b"PROXY TCP4 203.0.113.7 ").await.expect("a part of the header");
    // Connections are accepted in turn: when this one is served, the gateway has the other.
    let mut later = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
    let whole = b"PROXY TCP4 203.0.113.8 127.0.0.1 1 2\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n";
    later.write_all(whole).await.expect("a request");
    let mut answer = [0; 4096];
    let read = later.read(&mut answer).await.expect("an answer");
    assert!(answer[..read].starts_with(b"HTTP/1.1 200"));

    serving.abort();
    assert!(serving.await.is_err_and(|error| error.is_cancelled()));
    let _ = early.write_all(b"127.0.0.1 1 2\r\nGET /up HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut received = Vec::new();
    let _ = within("the end of the connection", early.read_to_end(&mut received)).await;
    assert_eq!(String::from_utf8_lossy(&received), "");
    assert_eq!(hits.load(Ordering::SeqCst), 0, "no request reached the upstream");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_gateway_cuts_off_requests_over_http2() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = upstream.local_addr().expect("an address");
    let arrived = Arc::new(Notify::new());
    let notified = Arc::clone(&arrived);
    let service = tokio::spawn(async move {
        let (mut stream, _) = upstream.accept().await.expect("a connection");
        let mut head = [0; 4096];
        let _ = stream.read(&mut head).await.expect("a request");
        notified.notify_one();
        while !matches!(stream.read(&mut head).await, Ok(0) | Err(_)) {}
    });
    let port = free_port();
    let yaml = format!(
        "listeners: [{{address: 127.0.0.1:{port}, protocols: [h1, h2c]}}]\naccess_log: off\n\
         upstreams: {{u: {{endpoints: [\"{address}\"]}}}}\nroutes: [{{name: all, upstream: u}}]\n"
    );
    let serving = tokio::spawn(Gateway::from_config(Config::from_yaml(&yaml)).serve());
    until("the gateway", async || is_open(port).await).await;
    let request = tokio::spawn(async move {
        let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
        client.get(format!("http://127.0.0.1:{port}/")).send().await
    });
    within("the request", arrived.notified()).await;
    serving.abort();
    assert!(serving.await.is_err_and(|error| error.is_cancelled()));
    assert!(within("the end of the request", request).await.expect("no panic").is_err());
    within("the end of the upstream's connection", service).await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handle_reopens_the_access_log_and_reloads_until_the_gateway_stops() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, rotated) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let (file, port) = (folder.path().join("tidegate.yaml"), free_port());
    let write = |rest: &str| {
        let log = log.display();
        let yaml = format!(
            "listeners: [{{address: 127.0.0.1:{port}}}]\naccess_log: {{path: {log}}}\n{rest}"
        );
        std::fs::write(&file, yaml).expect("the file");
    };
    write(&answers("first"));
    let (stop, stopped) = oneshot::channel();
    let gateway = Gateway::from_config(Config::from_file(&file)).with_graceful_shutdown(async {
        let _ = stopped.await;
    });
    let handle = gateway.handle();
    let serving = tokio::spawn(gateway.serve());
    // The gateway serves when it has answered.
    handle.reopen_access_log().await.expect("it serves");
    let get = async |path: &str| {
        let answer = reqwest::get(format!("http://127.0.0.1:{port}{path}")).await;
        answer.expect("an answer").text().await.expect("text")
    };
    let paths = |file: &std::path::Path| -> Vec<String> {
        let lines = std::fs::read_to_string(file).unwrap_or_default();
        let path = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            line["url.path"].as_str().expect("a path").to_owned()
        };
        lines.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(path).collect()
    };
    assert_eq!(get("/before").await, "first");
    until("the line", async || paths(&log) == ["/before"]).await;

    std::fs::rename(&log, &rotated).expect("the rotation");
    handle.reopen_access_log().await.expect("it serves");
    assert_eq!(get("/after").await, "first");
    until("the line in the new file", async || paths(&log) == ["/after"]).await;
    assert_eq!(paths(&rotated), ["/before"]);

    write(&answers("second"));
    handle.reload().await.expect("a good configuration");
    assert_eq!(get("/reloaded").await, "second");
    write("routes: [{name: all, respond: {stats: 200}}]\n");
    let error = handle.reload().await.expect_err("it is wrong");
    assert!(
        matches!(&error, HandleError::Refused(problems) if problems.contains("stats")),
        "{error}"
    );
    assert_eq!(get("/refused").await, "second");

    stop.send(()).expect("it waits for this");
    assert!(within("the end", serving).await.expect("no panic").is_ok());
    assert_eq!(handle.reload().await, Err(HandleError::Stopped));
    assert_eq!(handle.reopen_access_log().await, Err(HandleError::Stopped));
}

/// The log of the program around the gateways.
struct Lines(Mutex<Vec<String>>);

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        self.0.lock().unwrap().push(format!("{}: {}", record.target(), record.args()));
    }

    fn flush(&self) {}
}

static LINES: Lines = Lines(Mutex::new(Vec::new()));

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logger_and_level_stay_those_of_the_program() {
    log::set_logger(&LINES).expect("no other logger");
    log::set_max_level(LevelFilter::Info);
    let admin = free_port();
    let rest = format!(
        "log: {{level: error}}\nadmin: {{address: 127.0.0.1:{admin}, token: 0123456789abcdef}}\n{}",
        answers("logged")
    );
    let gateway = Embedded::start(&rest).await;
    let port = gateway.port.to_string();
    until("the line", async || {
        let lines = LINES.0.lock().unwrap();
        lines.iter().any(|line| line.starts_with("tidegate::") && line.contains(&port))
    })
    .await;
    assert_eq!(log::max_level(), LevelFilter::Info, "`log.level` is the program's");
    let url = format!("http://127.0.0.1:{admin}/log-level?level=trace");
    let request = reqwest::Client::new().put(url).bearer_auth("0123456789abcdef");
    assert_eq!(request.send().await.expect("an answer").status(), 409);
    assert_eq!(log::max_level(), LevelFilter::Info);
    gateway.stop.send(()).expect("it waits for this");
    assert!(within("the end", gateway.serving).await.expect("no panic").is_ok());
}

#[tokio::test]
async fn error_names_what_failed_and_its_source_says_why() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = taken.local_addr().expect("an address");
    let yaml = format!("listeners: [{{address: \"{address}\"}}]\n{}", answers("never"));
    let error =
        Gateway::from_config(Config::from_yaml(&yaml)).serve().await.expect_err("it is in use");
    assert!(matches!(error, RunError::Listen { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!("cannot listen on {address}: the address is in use by another process")
    );
    assert!(error.source().is_none(), "the text says why");

    let error = Gateway::from_config(Config::from_yaml("listners: []")).serve().await;
    let error = error.expect_err("it is wrong");
    assert_eq!(error.to_string(), "the configuration is wrong");
    let source = error.source().expect("the problems").to_string();
    assert!(source.contains("listners"), "{source}");
}
