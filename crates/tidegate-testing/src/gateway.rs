//! The gateway under test, as a child process with its own folder. It does not know the gateway's code: it uses sockets,
//! signals and output only.

use super::Config;
use super::cli::{command, tidegate};
use super::lines::Lines;
use super::site::Site;
use super::websocket::{Handshake, Socket};
use super::wire::{Response, Wire, get};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A gateway: the real program, in its own process and folder.
pub struct Gateway {
    child: Child,
    site: Site,
    stdout: Lines,
    stderr: Lines,
}

impl Gateway {
    /// Starts a gateway and waits until it accepts connections.
    pub async fn start(config: &Config) -> Self {
        Self::start_program(crate::binary(), config).await
    }

    /// Starts the gateway of a program of your own, one that calls `tidegate::cli::main_with`.
    pub async fn start_program(program: impl AsRef<Path>, config: &Config) -> Self {
        let site = Site::new(|port| config.yaml(port));
        let mut command = command(program.as_ref(), site.folder());
        command.args(["run", "--config"]).arg(site.file());
        Self::spawn_piped(command, site).await
    }

    /// Runs a file that is already written.
    pub async fn run(folder: TempDir, file: PathBuf, port: u16) -> Self {
        Self::run_with(folder, file, port, &[]).await
    }

    /// Runs a file that is already written, with variables in the gateway's environment.
    pub async fn run_with(
        folder: TempDir,
        file: PathBuf,
        port: u16,
        environment: &[(&str, &str)],
    ) -> Self {
        let site = Site::with_existing_file(folder, file, port);
        let mut command = tidegate(site.folder());
        command.envs(environment.iter().copied()).args(["run", "--config"]).arg(site.file());
        Self::spawn_piped(command, site).await
    }

    /// Starts a gateway that may open this number of files.
    pub async fn with_files(files: u32, config: &Config) -> Self {
        let site = Site::new(|port| config.yaml(port));
        let gateway = tidegate(site.folder());
        let mut shell = Command::new("sh");
        shell
            .current_dir(site.folder())
            .stdin(Stdio::null())
            .args(["-c", &format!("ulimit -n {files}; exec \"$0\" run --config \"$1\"")])
            .arg(gateway.get_program())
            .arg(site.file());
        Self::spawn_piped(shell, site).await
    }

    /// Starts a gateway with another output.
    pub async fn with_output(config: &Config, stdout: Stdio, stderr: Stdio) -> Self {
        let site = Site::new(|port| config.yaml(port));
        let mut command = tidegate(site.folder());
        command.args(["run", "--config"]).arg(site.file());
        Self::spawn(command.stdout(stdout).stderr(stderr), site).await
    }

    async fn spawn_piped(mut command: Command, site: Site) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::spawn(&mut command, site).await
    }

    async fn spawn(command: &mut Command, site: Site) -> Self {
        let mut child = command.spawn().expect("the gateway's binary");
        let lines = |output: Option<Box<dyn std::io::Read + Send>>| {
            output.map_or_else(|| Lines::read_from(std::io::empty()), Lines::read_from)
        };
        let stdout = lines(child.stdout.take().map(|it| Box::new(it) as _));
        let stderr = lines(child.stderr.take().map(|it| Box::new(it) as _));
        let mut gateway = Self { child, site, stdout, stderr };
        let Self { child, site, .. } = &mut gateway;
        let mut status = || child.try_wait().expect("the gateway's status");
        if !site.is_listening(|| status().is_some()).await {
            panic!("the gateway ended at once: {:?}", status());
        }
        gateway
    }

    /// The address of its first listener.
    pub fn address(&self) -> SocketAddr {
        self.site.address()
    }

    /// The port of its first listener.
    pub fn port(&self) -> u16 {
        self.address().port()
    }

    /// The number of its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// The temporary directory that it runs in.
    pub fn folder(&self) -> &Path {
        self.site.folder()
    }

    /// Its configuration file.
    pub fn file(&self) -> &Path {
        self.site.file()
    }

    /// Replaces the configuration file, by a rename.
    pub fn rewrite(&self, config: &Config) {
        self.site.rewrite(&config.yaml(self.port()));
    }

    /// Opens a TCP connection to its first listener.
    pub async fn connect(&self) -> Wire {
        self.site.connect().await
    }

    /// Sends bytes on a new connection and reads one response.
    pub async fn send(&self, request: impl AsRef<[u8]>) -> Response {
        self.site.send(request).await
    }

    /// Sends a `GET` with additional headers, each as `Name: value`.
    pub async fn get(&self, target: &str, fields: &[&str]) -> Response {
        self.send(get(target, fields)).await
    }

    /// Opens a WebSocket.
    pub async fn websocket(&self, target: &str) -> Socket {
        Handshake::to(target).open(self).await.1
    }

    /// Sends a WebSocket handshake that the gateway refuses.
    pub async fn refused(&self, handshake: &Handshake) -> Response {
        self.send(handshake.bytes()).await
    }

    /// The first line of the access log that `takes` accepts.
    pub async fn access(&self, what: &str, takes: impl Fn(&Value) -> bool) -> Value {
        self.stdout
            .find(what, 0, |line| {
                let value: Value = serde_json::from_str(line).ok()?;
                takes(&value).then_some(value)
            })
            .await
    }

    /// The access-log line of this path.
    pub async fn access_of(&self, path: &str) -> Value {
        self.access(path, |line| line["url.path"] == path).await
    }

    /// All lines of the access log so far.
    pub fn access_lines(&self) -> Vec<String> {
        self.stdout.all()
    }

    /// All lines of the gateway's own log so far.
    pub fn log_lines(&self) -> Vec<String> {
        self.stderr.all()
    }

    /// A point in the gateway's own log, for [`Gateway::says`].
    pub fn mark(&self) -> usize {
        self.stderr.count()
    }

    /// The first line of the gateway's log from `mark` on that contains `needle`.
    pub async fn says(&self, mark: usize, needle: &str) -> String {
        self.stderr.find(needle, mark, |line| line.contains(needle).then(|| line.to_owned())).await
    }

    /// The peak memory of the process in bytes, as Linux counts it.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the process's status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kibibytes.and_then(|number| number.parse::<u64>().ok()).expect("a number") * 1024
    }

    /// The number of bytes that the process has read, from files and sockets.
    pub fn bytes_read(&self) -> u64 {
        let path = format!("/proc/{}/io", self.child.id());
        let text = std::fs::read_to_string(path).expect("the gateway runs");
        let count = text.lines().find_map(|line| line.strip_prefix("rchar: "));
        count.and_then(|count| count.trim().parse().ok()).expect("a number")
    }

    /// Sends the process a signal.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(id), signal).expect("the gateway runs");
    }

    /// Waits until the process has exited.
    pub async fn exited(&mut self, bound: Duration) -> ExitStatus {
        exited(&mut self.child, bound).await
    }

    /// Whether the process is still running.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("the gateway's status").is_none()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the gateway's log\n{}", self.stderr.all().join("\n"));
            eprintln!("--- its access log\n{}", self.stdout.all().join("\n"));
        }
    }
}

async fn exited(child: &mut Child, bound: Duration) -> ExitStatus {
    let deadline = Instant::now() + bound;
    loop {
        if let Some(status) = child.try_wait().expect("the process's status") {
            return status;
        }
        assert!(Instant::now() < deadline, "still there after {bound:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
