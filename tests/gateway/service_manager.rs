//! Load balancers and service managers learn of state changes before they happen.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tidegate_testing::{Config, Gateway, Ready, Upstream, cli, free_port, get, ok, until, within};
use tokio::net::UnixDatagram;
use tokio::sync::Notify;

/// More than a second of an idle machine, on a busy one.
const SOON: Duration = Duration::from_secs(5);

async fn admin(port: u16, path: &str) -> (u16, Value) {
    let answer = reqwest::get(format!("http://127.0.0.1:{port}{path}")).await.expect("an answer");
    let status = answer.status().as_u16();
    (status, answer.json().await.expect("JSON"))
}

/// What a service manager hears.
struct Manager(UnixDatagram);

impl Manager {
    fn at(path: &Path) -> Self {
        Self(UnixDatagram::bind(path).expect("a socket"))
    }

    /// The first message that has all of these lines (or beginnings of lines), come or to come.
    async fn hears(&self, lines: &[&str]) -> String {
        let what = format!("{lines:?}");
        within(&what, async {
            loop {
                let mut buffer = [0; 4096];
                let length = self.0.recv(&mut buffer).await.expect("a message");
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if lines.iter().all(|line| text.lines().any(|told| told.starts_with(line))) {
                    return text;
                }
            }
        })
        .await
    }
}

#[tokio::test]
async fn shutdown_continues_after_its_delay() {
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
                if wire.try_send(ok("ok")).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    let port = free_port();
    let config = Config::to(&upstream)
        .top(&format!("admin: {{address: \"127.0.0.1:{port}\"}}"))
        .top("shutdown: {delay: 500ms}");
    let mut gateway = config.start().await;
    gateway.says(0, "ready").await;
    assert_eq!(admin(port, "/readyz").await.0, 200);
    assert_eq!(admin(port, "/livez").await.0, 200);
    let mut slow = gateway.connect().await;
    slow.send(get("/slow", &[])).await;
    upstream.request(0).await;

    let mark = gateway.mark();
    gateway.signal(Signal::SIGTERM);
    gateway.says(mark, "/readyz answers 503").await;
    gateway.says(mark, "no new connections").await;
    until("connections to be refused", || async {
        tokio::net::TcpStream::connect(gateway.address()).await.is_err()
    })
    .await;
    // The request under way keeps it there, and it can be asked.
    assert_eq!(admin(port, "/readyz").await.0, 503);
    assert_eq!(admin(port, "/livez").await.0, 200);
    gate.notify_one();
    assert_eq!(slow.response().await.text(), "ok");
    assert_eq!(gateway.exited(SOON).await.code(), Some(0));
}

#[tokio::test]
async fn readiness_fails_while_connections_are_still_accepted_until_a_second_signal() {
    let upstream = Upstream::saying("ok").await;
    let port = free_port();
    let config = Config::to(&upstream)
        .top(&format!("admin: {{address: \"127.0.0.1:{port}\"}}"))
        .top("shutdown: {delay: 1h}");
    let mut gateway = config.start().await;
    gateway.says(0, "ready").await;
    let address = format!("127.0.0.1:{port}");
    let health = ["health", "--ready", "--address", &address];
    assert_eq!(admin(port, "/readyz").await.0, 200);
    assert_eq!(cli(gateway.folder(), &health, &[]).await.code, Some(0));
    let mark = gateway.mark();
    gateway.signal(Signal::SIGTERM);
    gateway.says(mark, "/readyz answers 503").await;
    assert_eq!(admin(port, "/readyz").await.0, 503);
    assert_eq!(admin(port, "/livez").await.0, 200);
    assert_eq!(cli(gateway.folder(), &health, &[]).await.code, Some(1));
    assert_eq!(gateway.get("/", &[]).await.text(), "ok", "it still accepts");
    gateway.signal(Signal::SIGTERM);
    assert_eq!(gateway.exited(SOON).await.code(), Some(0));
}

#[tokio::test]
async fn systemd_is_notified_of_start_reload_and_stop() {
    let upstream = Upstream::saying("ok").await;
    let folder = tempfile::TempDir::new().expect("a folder");
    let socket = folder.path().join("notify");
    let manager = Manager::at(&socket);
    let mut gateway = notifying(&upstream, &socket).await;
    let ready = manager.hears(&["READY=1", "STATUS=listening on 127.0.0.1:"]).await;
    assert!(ready.contains(&gateway.port().to_string()), "{ready}");
    gateway.signal(Signal::SIGHUP);
    manager.hears(&["RELOADING=1", "MONOTONIC_USEC="]).await;
    manager.hears(&["READY=1"]).await;
    gateway.signal(Signal::SIGTERM);
    manager.hears(&["STOPPING=1", "STATUS=stopping"]).await;
    assert_eq!(gateway.exited(SOON).await.code(), Some(0));
}

#[tokio::test]
async fn upgrade_under_systemd_reports_the_new_main_process() {
    let upstream = Upstream::saying("ok").await;
    let folder = tempfile::TempDir::new().expect("a folder");
    let socket = folder.path().join("notify");
    let manager = Manager::at(&socket);
    let mut gateway = notifying(&upstream, &socket).await;
    manager.hears(&["READY=1"]).await;
    let file = gateway.file().to_str().expect("a path").to_owned();
    let run = cli(gateway.folder(), &["upgrade", "--config", &file], &[]).await;
    assert_eq!(run.code, Some(0), "{}", run.all());
    let told = manager.hears(&["MAINPID="]).await;
    let process = told.lines().find_map(|line| line.strip_prefix("MAINPID=")).expect("a process");
    assert!(run.stdout.contains(&format!("process {process} ")), "{told} {}", run.all());
    let process = Pid::from_raw(process.parse().expect("a number"));
    assert_eq!(gateway.exited(SOON + SOON).await.code(), Some(0));
    assert_eq!(gateway.get("/", &[]).await.text(), "ok");
    kill(process, Signal::SIGTERM).expect("the new process runs");
    manager.hears(&["STOPPING=1"]).await;
}

async fn notifying(upstream: &Upstream, socket: &Path) -> Gateway {
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("tidegate.yaml");
    let port = free_port();
    let config = Config::to(upstream).top("shutdown: {grace: 4s}");
    std::fs::write(&file, config.yaml(port)).expect("a file");
    let socket = socket.to_str().expect("a path");
    Gateway::run_with(folder, file, port, &[("NOTIFY_SOCKET", socket)]).await
}

/// What systemd itself thinks of the unit, where it is installed.
#[test]
fn systemd_unit_passes_verification() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let unit = std::fs::read_to_string(root.join("conf/systemd/tidegate.service")).expect("a unit");
    let folder = tempfile::TempDir::new().expect("a folder");
    let binary = env!("CARGO_BIN_EXE_tidegate");
    let here = unit.replace("/usr/local/bin/tidegate", binary);
    assert_ne!(here, unit, "the unit runs the binary");
    let file = folder.path().join("tidegate.service");
    std::fs::write(&file, here).expect("a unit");
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--recursive-errors=no", "--man=no"])
        .arg(&file)
        .output();
    match verified {
        Ok(verified) => {
            let told = String::from_utf8_lossy(&verified.stderr).into_owned();
            assert!(verified.status.success() && told.trim().is_empty(), "{told}");
        }
        // `scripts/install-deps test` brings it where merges are judged.
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "systemd-analyze: {error}");
            println!("not verified, systemd-analyze: {error}");
        }
    }
}

/// Waits until a gateway has so many threads of its runtime: workers, for those that do what blocks
/// end when they have nothing to do. It is started by this program with these arguments.
#[cfg(target_os = "linux")]
async fn has_workers(program: &str, arguments: &[&str], count: usize) {
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("tidegate.yaml");
    let port = free_port();
    let yaml = format!(
        "listeners: [{{address: \"127.0.0.1:{port}\"}}]\n\
         routes: [{{name: all, respond: {{status: 204}}}}]\n"
    );
    std::fs::write(&file, yaml).expect("a file");
    let mut command = Command::new(program);
    command.args(arguments).args(["run", "--config"]).arg(&file).current_dir(folder.path());
    let gateway = Ready::wait(command).await;
    until(&format!("{program} {arguments:?} to have {count} workers"), async || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", gateway.id())).expect("threads");
        let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
        let names = tasks.filter_map(|task| name(task.ok()?));
        names.filter(|name| name.trim() == "gateway").count() == count
    })
    .await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn worker_threads_match_the_available_cores() {
    let binary = env!("CARGO_BIN_EXE_tidegate");
    let cores = std::thread::available_parallelism().expect("cores").get();
    has_workers(binary, &[], cores).await;
    let status = std::fs::read_to_string("/proc/self/status").expect("the status");
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let first = allowed.and_then(|it| it.trim().split([',', '-']).next()).expect("a core");
    has_workers("taskset", &["-c", first, binary], 1).await;
}

/// systemd kills what has not ended by then.
#[test]
fn systemd_stop_timeout_exceeds_the_shutdown_grace() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let unit = std::fs::read_to_string(root.join("conf/systemd/tidegate.service")).expect("a unit");
    let wait = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec="));
    let wait: u64 = wait.and_then(|wait| wait.parse().ok()).expect("seconds");
    assert!(wait > 30, "the default of shutdown.grace is 30s");
}
