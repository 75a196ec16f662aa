//! A new process takes over without a failed request.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tidegate_testing::{
    Cli, Config, Gateway, Handshake, Upstream, Wire, cli, free_port, get, next, ok, replace_file,
    until, within,
};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

/// The load goes on through so many of them.
const UPGRADES: usize = 20;

/// WebSockets that are open meanwhile.
const SOCKETS: usize = 4;

/// More than the grace of these gateways.
const GRACE: Duration = Duration::from_secs(20);

/// A gateway, and those that came after it.
pub(crate) struct Line {
    pub gateway: Gateway,
    newest: Option<Pid>,
}

impl Line {
    pub(crate) async fn start(config: &Config) -> Self {
        let gateway = config.start().await;
        // It accepts connections a moment before it can be upgraded.
        gateway.says(0, "ready").await;
        Self { gateway, newest: None }
    }

    /// Runs `tidegate upgrade`.
    async fn upgrade(&mut self) -> Cli {
        let file = self.gateway.file().to_str().expect("a path");
        let run = cli(self.gateway.folder(), &["upgrade", "--config", file], &[]).await;
        if run.code == Some(0) {
            self.newest = Some(successor(&run));
        }
        run
    }

    pub(crate) async fn upgraded(&mut self) -> Pid {
        let run = self.upgrade().await;
        assert_eq!(run.code, Some(0), "{}", run.all());
        successor(&run)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(newest) = self.newest {
            let _ = kill(newest, Signal::SIGKILL);
        }
    }
}

/// The process that `tidegate upgrade` says serves now.
fn successor(run: &Cli) -> Pid {
    let number = run.stdout.split("process ").nth(1).and_then(|rest| rest.split(' ').next());
    Pid::from_raw(number.and_then(|number| number.parse().ok()).expect("a process"))
}

pub(crate) fn config(upstream: &Upstream) -> Config {
    Config::to(upstream).top("shutdown: {grace: 8s}").top("drain: {spread: 100ms}")
}

async fn process_at(control: &std::path::Path) -> i32 {
    let stream = UnixStream::connect(control).await.expect("a control socket");
    stream.peer_cred().expect("a peer").pid().expect("a process")
}

/// Request after request on kept connections, for as long as nobody says enough.
async fn keep_asking(gateway: SocketAddr, pause: Duration, enough: Arc<AtomicBool>) -> usize {
    let mut answered = 0;
    while !enough.load(Ordering::Relaxed) {
        let mut wire = Wire::connect(gateway).await;
        loop {
            wire.send(get("/kept", &[])).await;
            let answer = wire.response().await;
            assert_eq!((answer.status(), answer.text().as_str()), (200, "polled"));
            answered += 1;
            let is_last = answer.head.list("connection").contains(&"close".to_owned());
            if is_last || enough.load(Ordering::Relaxed) {
                break;
            }
            tokio::time::sleep(pause).await;
        }
    }
    answered
}

/// A connection for each request.
async fn ask_anew(gateway: SocketAddr, enough: Arc<AtomicBool>) -> usize {
    let mut answered = 0;
    while !enough.load(Ordering::Relaxed) {
        let mut wire = Wire::connect(gateway).await;
        wire.send(get("/new", &["Connection: close"])).await;
        let answer = wire.response().await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "polled"));
        answered += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    answered
}

/// A WebSocket that is opened again whenever the gateway closes it, which it does with 1012.
async fn stay_connected(
    gateway: SocketAddr,
    restarts: Arc<AtomicUsize>,
    enough: Arc<AtomicBool>,
) -> usize {
    let mut opened = 0;
    while !enough.load(Ordering::Relaxed) {
        let mut wire = Wire::connect(gateway).await;
        wire.send(Handshake::to("/ws").bytes()).await;
        let head = wire.head().await;
        assert_eq!(head.status(), Some(101), "{}", head.text);
        opened += 1;
        let (stream, behind) = wire.into_parts();
        let mut socket: WebSocketStream<TcpStream> =
            WebSocketStream::from_partially_read(stream, behind, Role::Client, None).await;
        loop {
            let message = tokio::time::timeout(Duration::from_millis(50), next(&mut socket)).await;
            match message {
                Err(_) if enough.load(Ordering::Relaxed) => return opened,
                Err(_) => {}
                Ok(Some(Message::Close(Some(frame)))) => {
                    assert_eq!(u16::from(frame.code), 1012);
                    restarts.fetch_add(1, Ordering::Relaxed);
                    while next(&mut socket).await.is_some() {}
                    break;
                }
                Ok(other) => panic!("closed by {other:?}"),
            }
        }
    }
    opened
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_during_twenty_upgrades() {
    let upstream = Upstream::echo().await;
    let mut line = Line::start(&config(&upstream)).await;
    let address = line.gateway.address();
    let enough = Arc::new(AtomicBool::new(false));
    let restarts = Arc::new(AtomicUsize::new(0));
    let mut asking = JoinSet::new();
    for _ in 0..2 {
        asking.spawn(keep_asking(address, Duration::from_millis(1), Arc::clone(&enough)));
        asking.spawn(keep_asking(address, Duration::from_millis(200), Arc::clone(&enough)));
        asking.spawn(ask_anew(address, Arc::clone(&enough)));
    }
    let mut connected = JoinSet::new();
    for _ in 0..SOCKETS {
        let (restarts, enough) = (Arc::clone(&restarts), Arc::clone(&enough));
        connected.spawn(stay_connected(address, restarts, enough));
    }
    let mut processes = std::collections::BTreeSet::new();
    for number in 1..=UPGRADES {
        processes.insert(line.upgraded().await);
        // Every fourth waits until each socket has moved once more; the others are as fast as
        // can be, with several old processes at a time.
        if number % 4 == 0 {
            let all = restarts.load(Ordering::Relaxed) + SOCKETS;
            until("sockets closed", || async { restarts.load(Ordering::Relaxed) >= all }).await;
        }
    }
    assert_eq!(processes.len(), UPGRADES);
    enough.store(true, Ordering::Relaxed);
    let mut answered = 0;
    while let Some(result) = asking.join_next().await {
        answered += result.expect("no request failed");
    }
    while let Some(result) = connected.join_next().await {
        result.expect("no socket was closed but with 1012");
    }
    assert!(answered > UPGRADES * 20, "{answered} requests are no load");
    println!("{answered} requests, {} sockets closed", restarts.load(Ordering::Relaxed));
}

#[tokio::test]
async fn old_process_finishes_its_requests_and_exits() {
    let gate = Arc::new(Notify::new());
    let opened = Arc::clone(&gate);
    let upstream = Upstream::scripted(move |mut wire, recorder| {
        let gate = Arc::clone(&opened);
        async move {
            while let Some(head) = wire.try_head().await {
                recorder.record(&head);
                if head.target() == "/slow" {
                    gate.notified().await;
                }
                if wire.try_send(ok("at last")).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    let mut line = Line::start(&Config::to(&upstream)).await;
    let mut wire = line.gateway.connect().await;
    wire.send(get("/slow", &[])).await;
    upstream.request(0).await;
    let mark = line.gateway.mark();
    line.upgraded().await;
    line.gateway.says(mark, "serves").await;
    assert_eq!(line.gateway.get("/", &[]).await.text(), "at last", "the new process answers");
    assert!(line.gateway.is_alive(), "a request is under way in the old process");
    gate.notify_one();
    let answer = wire.response().await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "at last"));
    assert_eq!(line.gateway.exited(GRACE).await.code(), Some(0));
    assert_eq!(line.gateway.get("/", &[]).await.text(), "at last");
}

#[tokio::test]
async fn kept_connection_serves_one_more_request_after_an_upgrade() {
    let upstream = Upstream::saying("ok").await;
    let mut line = Line::start(&config(&upstream)).await;
    let mut wire = line.gateway.connect().await;
    wire.send(get("/", &[])).await;
    assert!(!wire.response().await.head.list("connection").contains(&"close".to_owned()));
    let mut silent = line.gateway.connect().await;
    let mark = line.gateway.mark();
    line.upgraded().await;
    line.gateway.says(mark, "stopping").await;
    for wire in [&mut wire, &mut silent] {
        wire.send(get("/", &[])).await;
        let answer = wire.response().await;
        assert_eq!(answer.text(), "ok");
        assert!(answer.head.list("connection").contains(&"close".to_owned()));
    }
    // With all connections gone, there is nothing to linger for.
    assert_eq!(line.gateway.exited(GRACE).await.code(), Some(0));
}

#[tokio::test]
async fn upgrade_with_an_invalid_configuration_is_refused() {
    let upstream = Upstream::saying("ok").await;
    let mut line = Line::start(&config(&upstream)).await;
    let good = config(&upstream).yaml(line.gateway.port());
    replace_file(line.gateway.file(), &format!("{good}treads: 2\n"));
    let run = line.upgrade().await;
    assert_eq!(run.code, Some(78), "{}", run.all());
    assert!(run.stderr.contains("treads"), "{}", run.stderr);
    assert!(line.gateway.is_alive());
    assert_eq!(line.gateway.get("/", &[]).await.text(), "ok");
}

#[tokio::test]
async fn failed_new_process_leaves_the_old_one_serving() {
    let upstream = Upstream::echo().await;
    let mut line = Line::start(&config(&upstream)).await;
    let mut socket = line.gateway.websocket("/").await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let other = taken.local_addr().expect("its address");
    let good = config(&upstream).yaml(line.gateway.port());
    let more = format!("listeners:\n  - address: {other}\n");
    replace_file(line.gateway.file(), &good.replacen("listeners:\n", &more, 1));
    let mark = line.gateway.mark();
    let run = line.upgrade().await;
    assert_eq!(run.code, Some(1), "{}", run.all());
    assert!(run.stderr.contains("exited before it served"), "{}", run.stderr);
    line.gateway.says(mark, "keeps serving").await;
    // What the new one said is where the old one writes.
    line.gateway.says(mark, "in use").await;
    assert_eq!(line.gateway.get("/", &[]).await.text(), "polled");
    futures_util::SinkExt::send(&mut socket, Message::text("still here")).await.expect("sent");
    assert_eq!(next(&mut socket).await, Some(Message::text("still here")));

    drop(taken);
    line.upgraded().await;
    assert_eq!(line.gateway.exited(GRACE).await.code(), Some(0), "the next one succeeds");
}

#[tokio::test]
async fn upgrade_adds_and_removes_listeners_and_moves_admin() {
    let upstream = Upstream::saying("ok").await;
    let admin = free_port();
    let config = config(&upstream).top(&format!("admin: {{address: \"127.0.0.1:{admin}\"}}"));
    let mut line = Line::start(&config).await;
    let [leaving, coming] = [free_port(), free_port()];
    let with = |port: u16, yaml: String| {
        yaml.replacen("listeners:\n", &format!("listeners:\n  - address: 127.0.0.1:{port}\n"), 1)
    };
    let port = line.gateway.port();
    replace_file(line.gateway.file(), &with(leaving, config.yaml(port)));
    line.upgraded().await;
    let answers = |port: u16| async move { TcpStream::connect(("127.0.0.1", port)).await.is_ok() };
    assert!(answers(leaving).await);
    replace_file(line.gateway.file(), &with(coming, config.yaml(port)));
    line.upgraded().await;
    assert!(answers(coming).await);
    until("the old listener closed", || async { !answers(leaving).await }).await;
    assert_eq!(line.gateway.exited(GRACE).await.code(), Some(0));
    let ready = reqwest::get(format!("http://127.0.0.1:{admin}/readyz")).await.expect("an answer");
    assert_eq!(ready.status(), 200);
}

#[tokio::test]
async fn admin_belongs_to_the_new_process_after_an_upgrade() {
    let upstream = Upstream::echo().await;
    let admin = free_port();
    let config = config(&upstream).top(&format!("admin: {{address: \"127.0.0.1:{admin}\"}}"));
    let mut line = Line::start(&config).await;
    let _keeps_it = line.gateway.connect().await;
    let mark = line.gateway.mark();
    line.upgraded().await;
    line.gateway.says(mark, "no new connections").await;
    let _socket = line.gateway.websocket("/").await;
    let ask = || async {
        let url = format!("http://127.0.0.1:{admin}/sessions");
        let client = reqwest::Client::new();
        let answer = client.get(url).send().await.expect("an answer");
        answer.json::<serde_json::Value>().await.expect("JSON")["total"].clone()
    };
    until("the session to be listed", || async { ask().await == 1 }).await;
    for _ in 0..30 {
        assert_eq!(ask().await, 1, "the old process has none");
    }
}

#[tokio::test]
async fn manual_upgrade_works_in_either_order() {
    let upstream = Upstream::saying("ok").await;
    let folder = tempfile::TempDir::new().expect("a folder");
    let socket = folder.path().join("run/upgrade.sock");
    let config = config(&upstream).top(&format!("upgrade_socket: {}", socket.display()));
    let mut gateway = config.start().await;
    let control = folder.path().join("run/upgrade.sock.control");
    until("a control socket", || async { control.exists() }).await;
    let mode = |path: &std::path::Path| {
        std::fs::metadata(path).expect("a file").permissions().mode() & 0o777
    };
    assert_eq!((mode(&control), mode(&folder.path().join("run"))), (0o600, 0o700));

    // The signal first: the old process waits for the new one.
    let mark = gateway.mark();
    gateway.signal(Signal::SIGQUIT);
    gateway.says(mark, "handing the listening sockets over").await;
    let mut first = run_upgrade(&gateway);
    assert_eq!(gateway.exited(GRACE).await.code(), Some(0));
    assert_eq!(process_at(&control).await, i32::try_from(first.id()).expect("a process"));

    // The new process alone: it sends the signal itself.
    let mut second = run_upgrade(&gateway);
    until("the first to go", || {
        let gone = first.try_wait().expect("its status").is_some();
        async move { gone }
    })
    .await;
    assert_eq!(process_at(&control).await, i32::try_from(second.id()).expect("a process"));
    assert_eq!(gateway.get("/", &[]).await.text(), "ok");
    let _ = second.kill();
    let _ = second.wait();
}

fn run_upgrade(gateway: &Gateway) -> Child {
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["run", "--upgrade", "--config"])
        .arg(gateway.file())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the gateway's binary")
}

#[tokio::test]
async fn upgrade_without_a_running_gateway_is_an_error() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("tidegate.yaml");
    let upstream = Upstream::saying("ok").await;
    std::fs::write(&file, Config::to(&upstream).yaml(free_port())).expect("a file");
    let file = file.to_str().expect("a path");
    for arguments in
        [["upgrade", "--config", file].as_slice(), &["run", "--upgrade", "--config", file]]
    {
        let run = cli(folder.path(), arguments, &[]).await;
        assert_eq!(run.code, Some(1), "{}", run.all());
        assert!(run.stderr.contains("no gateway"), "{}", run.stderr);
    }
}

#[tokio::test]
async fn sigquit_without_a_new_process_changes_nothing() {
    let upstream = Upstream::saying("ok").await;
    let mut gateway = config(&upstream).start().await;
    gateway.says(0, "ready").await;
    let mark = gateway.mark();
    gateway.signal(Signal::SIGQUIT);
    within("the old one to give up", gateway.says(mark, "keeps serving")).await;
    assert!(gateway.is_alive());
    assert_eq!(gateway.get("/", &[]).await.text(), "ok");
    gateway.signal(Signal::SIGTERM);
    assert_eq!(gateway.exited(GRACE).await.code(), Some(0));
}

#[tokio::test]
async fn process_waiting_for_sockets_stops_on_sigterm() {
    let upstream = Upstream::saying("ok").await;
    let folder = tempfile::TempDir::new().expect("a folder");
    let (port, file) = (free_port(), folder.path().join("tidegate.yaml"));
    let socket = folder.path().join("up.sock");
    let yaml = config(&upstream).top(&format!("upgrade_socket: {}", socket.display())).yaml(port);
    std::fs::write(&file, yaml).expect("written");
    let gateway = Gateway::run(folder, file.clone(), port).await;
    gateway.says(0, "ready").await;
    gateway.signal(Signal::SIGSTOP);
    let mut waiting = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["run", "--upgrade", "--config"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a process");
    until("it waits for the sockets", async || socket.exists()).await;
    let process = Pid::from_raw(i32::try_from(waiting.id()).expect("a process id"));
    kill(process, Signal::SIGTERM).expect("it runs");
    let mut ended = None;
    until("its end", async || {
        ended = waiting.try_wait().expect("a child");
        ended.is_some()
    })
    .await;
    assert_eq!(ended.and_then(|status| status.code()), Some(0), "in good order");
    assert!(!socket.exists(), "nobody waits there any more");
    gateway.signal(Signal::SIGCONT);
    assert_eq!(gateway.get("/", &[]).await.text(), "ok", "the other one still serves");
}
