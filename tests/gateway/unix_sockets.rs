//! Upstreams and listeners work over Unix domain sockets.

use futures_util::{SinkExt, StreamExt};
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tidegate_testing::{
    Config, Gateway, Handshake, Upstream, Wire, cli, free_port, get, ok, until,
};
use tokio::net::{UnixListener, UnixStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

/// A service at a Unix socket, which passes each connection on to an upstream of the kit.
fn behind(path: &Path, upstream: &Upstream) -> tokio::task::JoinHandle<()> {
    let listener = UnixListener::bind(path).expect("the socket");
    let address = upstream.address();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(address).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    })
}

#[tokio::test]
async fn unix_socket_upstream_takes_requests_and_websockets() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("app.sock");
    let upstream = Upstream::echo().await;
    let _service = behind(&path, &upstream);
    let at = format!("unix:{}", path.display());
    let config = Config::to_address(&at)
        .with("rewrite: {host: upstream}")
        .speaking("health: {check: {http: /health}, interval: 100ms, healthy_after: 1}");
    let gateway = config.start().await;
    assert_eq!(gateway.get("/x", &[]).await.text(), "polled");
    let mut socket = gateway.websocket("/ws").await;
    socket.send(Message::text("hello")).await.expect("sent");
    assert_eq!(socket.next().await.expect("an echo").expect("a message"), Message::text("hello"));
    let line = gateway.access_of("/x").await;
    assert_eq!(line["upstream.address"], at);
    until("it is asked whether it is well", async || {
        upstream.requests().iter().any(|request| request.head.target() == "/health")
    })
    .await;
    for request in upstream.requests() {
        assert_eq!(request.head.get("host"), Some("localhost"), "{}", request.head.text);
    }
}

#[tokio::test]
async fn missing_unix_socket_is_502_or_fails_over() {
    let folder = TempDir::new().expect("a folder");
    let missing = format!("unix:{}", folder.path().join("missing.sock").display());
    let gateway = Config::to_address(&missing).start().await;
    let answer = gateway.get("/", &[]).await;
    assert_eq!(
        (answer.status(), answer.error()["error"].as_str()),
        (502, Some("upstream_unreachable"))
    );
    let line = gateway.access_of("/").await;
    assert!(line["error.message"].as_str().is_some_and(|it| it.contains(&missing)), "{line}");
    let upstream = Upstream::answering(|_| ok("there")).await;
    let both = [missing, upstream.address().to_string()];
    let config = Config::new().upstream("service", &both).route("all", "path_prefix: /", "service");
    let gateway = config.start().await;
    for _ in 0..6 {
        assert_eq!(gateway.get("/", &[]).await.text(), "there");
    }
}

#[tokio::test]
async fn relative_unix_socket_path_is_refused() {
    let folder = TempDir::new().expect("a folder");
    for (address, reason) in [
        ("unix:run/app.sock", "absolute path"),
        ("unix:", "absolute path"),
        (&*format!("unix:/{}", "x".repeat(200)), "107 bytes"),
    ] {
        let yaml = Config::to_address(address).yaml(1);
        std::fs::write(folder.path().join("t.yaml"), yaml).expect("a file");
        let run = cli(folder.path(), &["check", "--config", "t.yaml"], &[]).await;
        assert_eq!(run.code, Some(78));
        assert!(run.all().contains(reason), "{}", run.all());
    }
}

/// A gateway that listens at a Unix socket as well, and whose admin endpoint is one.
struct Local {
    gateway: Gateway,
    upstream: Upstream,
}

impl Local {
    async fn new(more: &str) -> Self {
        let upstream = Upstream::echo().await;
        let folder = TempDir::new().expect("a folder");
        let port = free_port();
        let file = folder.path().join("tidegate.yaml");
        std::fs::write(&file, Self::yaml(folder.path(), port, &upstream, more)).expect("a file");
        let gateway = Gateway::run(folder, file, port).await;
        Self { gateway, upstream }
    }

    fn yaml(folder: &Path, port: u16, upstream: &Upstream, more: &str) -> String {
        let folder = folder.display();
        format!(
            "listeners:\n\
             \x20 - address: unix:{folder}/http.sock\n\
             \x20   mode: \"0600\"\n\
             \x20 - address: 127.0.0.1:{port}\n\
             admin: {{address: \"unix:{folder}/admin.sock\"}}\n\
             {more}\n\
             upstreams: {{service: {{endpoints: [\"{}\"]}}}}\n\
             routes: [{{name: all, match: {{path_prefix: /}}, upstream: service}}]\n",
            upstream.address()
        )
    }

    fn path(&self, name: &str) -> PathBuf {
        self.gateway.folder().join(name)
    }

    async fn connect(&self) -> Wire<UnixStream> {
        Wire::over(UnixStream::connect(self.path("http.sock")).await.expect("a connection"))
    }
}

#[tokio::test]
async fn unix_socket_clients_have_no_address_and_are_not_trusted() {
    let local = Local::new("").await;
    let mode = std::fs::metadata(local.path("http.sock")).expect("the file").permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
    let mut wire = local.connect().await;
    let told = ["X-Forwarded-For: 192.0.2.1", "X-Real-Ip: 192.0.2.1", "Forwarded: for=192.0.2.1"];
    wire.send(get("/x", &told)).await;
    assert_eq!(wire.response().await.status(), 200);
    let request = local.upstream.request(0).await;
    assert_eq!(request.head.get("x-forwarded-for"), None);
    assert_eq!(request.head.get("x-real-ip"), None);
    assert_eq!(request.head.get("forwarded"), Some("for=unknown;host=\"localhost\";proto=http"));
    let line = local.gateway.access_of("/x").await;
    assert_eq!(line["client.address"], serde_json::Value::Null);
}

#[tokio::test]
async fn proxy_at_a_unix_socket_may_be_trusted() {
    let local = Local::new("trusted_proxies: [unix, 10.0.0.0/8]").await;
    let mut wire = local.connect().await;
    wire.send(get("/x", &["X-Forwarded-For: 192.0.2.1, 10.0.0.1"])).await;
    assert_eq!(wire.response().await.status(), 200);
    assert_eq!(local.gateway.access_of("/x").await["client.address"], "192.0.2.1");
    let request = local.upstream.request(0).await;
    assert_eq!(request.head.get("x-forwarded-for"), Some("192.0.2.1, 10.0.0.1"));
}

#[tokio::test]
async fn websockets_and_admin_work_over_unix_sockets() {
    let local = Local::new("").await;
    let mut wire = local.connect().await;
    wire.send(Handshake::to("/ws").bytes()).await;
    assert_eq!(wire.head().await.status(), Some(101));
    let stream = wire.into_stream();
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    socket.send(Message::text("hello")).await.expect("sent");
    assert_eq!(socket.next().await.expect("an echo").expect("a message"), Message::text("hello"));
    let file = local.gateway.file().display().to_string();
    let folder = local.gateway.folder();
    let ready = cli(folder, &["health", "--ready", "--config", &file], &[]).await;
    assert_eq!((ready.code, ready.stdout.as_str()), (Some(0), "ready\n"), "{}", ready.stderr);
    let admin = format!("unix:{}", local.path("admin.sock").display());
    let sessions = cli(folder, &["sessions", "--admin", &admin], &[]).await;
    assert!(sessions.stdout.contains("1 of 1 sessions"), "{}", sessions.all());
    let health = cli(folder, &["health", "--config", &file], &[]).await;
    assert!(health.stdout.contains("http.sock accepts connections"), "{}", health.all());
}

#[tokio::test]
async fn stale_socket_is_replaced_and_one_in_use_is_not() {
    let mut local = Local::new("").await;
    let file = local.gateway.file().display().to_string();
    let second = cli(local.gateway.folder(), &["run", "--config", &file], &[]).await;
    assert_eq!(second.code, Some(1));
    assert!(second.stderr.contains("admin.sock: the address is in use"), "{}", second.stderr);
    local.gateway.signal(Signal::SIGKILL);
    local.gateway.exited(Duration::from_secs(20)).await;
    assert!(local.path("http.sock").exists(), "left behind");
    let folder = TempDir::new().expect("a folder");
    for name in ["http.sock", "admin.sock"] {
        std::fs::rename(local.path(name), folder.path().join(name)).expect("moved");
    }
    let port = free_port();
    let file = folder.path().join("tidegate.yaml");
    let yaml = Local::yaml(folder.path(), port, &local.upstream, "");
    std::fs::write(&file, yaml).expect("a file");
    let mut gateway = Gateway::run(folder, file, port).await;
    let path = gateway.folder().join("http.sock");
    let mut wire = Wire::over(UnixStream::connect(&path).await.expect("a connection"));
    wire.send(get("/", &[])).await;
    assert_eq!(wire.response().await.status(), 200);
    gateway.signal(Signal::SIGTERM);
    gateway.exited(Duration::from_secs(20)).await;
    assert!(!path.exists(), "removed at the end");
}

#[tokio::test]
async fn regular_file_at_the_socket_path_is_kept() {
    let folder = TempDir::new().expect("a folder");
    let upstream = Upstream::saying("hello").await;
    std::fs::write(folder.path().join("http.sock"), "precious").expect("a file");
    let file = folder.path().join("tidegate.yaml");
    let yaml = Local::yaml(folder.path(), free_port(), &upstream, "");
    std::fs::write(&file, yaml).expect("a file");
    let arguments = ["run", "--config", "tidegate.yaml"];
    let run = cli(folder.path(), &arguments, &[]).await;
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("exists and is not a socket"), "{}", run.stderr);
    assert!(!folder.path().join("admin.sock").exists(), "a start that fails leaves nothing behind");
    let text = std::fs::read_to_string(folder.path().join("http.sock")).expect("the file");
    assert_eq!(text, "precious");
}

#[tokio::test]
async fn upgrade_hands_unix_sockets_over() {
    let control = TempDir::new().expect("a folder");
    let socket = format!("upgrade_socket: {}/upgrade.sock", control.path().display());
    let mut local = Local::new(&socket).await;
    let file = local.gateway.file().display().to_string();
    local.gateway.says(0, "ready").await;
    let upgrade = cli(local.gateway.folder(), &["upgrade", "--config", &file], &[]).await;
    assert_eq!(upgrade.code, Some(0), "{}", upgrade.all());
    local.gateway.exited(Duration::from_secs(20)).await;
    let mut wire = local.connect().await;
    wire.send(get("/", &[])).await;
    assert_eq!(wire.response().await.status(), 200, "the new one has it, and its file");
    let told = local.gateway.says(0, "upgrade: the new process").await;
    let process = told.split("process ").nth(1).and_then(|rest| rest.split(' ').next());
    let process = process.and_then(|process| process.parse().ok()).expect("its number");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(process), Signal::SIGTERM).expect("alive");
}
