//! The gateway under test, as a child process with its own folder, and runs of its command line. It does not know the
//! gateway's code: it uses sockets, signals and output only.

use super::lines::Lines;
use super::websocket::{Handshake, Socket};
use super::wire::{Head, Response, Wire, get};
use super::{Config, WAIT_TIMEOUT};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::{File, TryLockError};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A gateway: the real program, in its own process and folder.
pub struct Gateway {
    child: Child,
    folder: TempDir,
    file: PathBuf,
    address: SocketAddr,
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
        let folder = TempDir::new().expect("a folder");
        let port = free_port();
        let file = folder.path().join("tidegate.yaml");
        std::fs::write(&file, config.yaml(port)).expect("a configuration file");
        let mut command = command(program.as_ref(), folder.path());
        command.args(["run", "--config"]).arg(&file);
        Self::spawn_piped(command, folder, file, port).await
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
        let mut command = tidegate(folder.path());
        command.envs(environment.iter().copied()).args(["run", "--config"]).arg(&file);
        Self::spawn_piped(command, folder, file, port).await
    }

    /// Starts a gateway that may open this number of files.
    pub async fn with_files(files: u32, config: &Config) -> Self {
        let folder = TempDir::new().expect("a folder");
        let port = free_port();
        let file = folder.path().join("tidegate.yaml");
        std::fs::write(&file, config.yaml(port)).expect("a configuration file");
        let gateway = tidegate(folder.path());
        let mut shell = Command::new("sh");
        shell
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .args(["-c", &format!("ulimit -n {files}; exec \"$0\" run --config \"$1\"")])
            .arg(gateway.get_program())
            .arg(&file);
        Self::spawn_piped(shell, folder, file, port).await
    }

    /// Starts a gateway with another output.
    pub async fn with_output(config: &Config, stdout: Stdio, stderr: Stdio) -> Self {
        let folder = TempDir::new().expect("a folder");
        let port = free_port();
        let file = folder.path().join("tidegate.yaml");
        std::fs::write(&file, config.yaml(port)).expect("a configuration file");
        let mut command = tidegate(folder.path());
        command.args(["run", "--config"]).arg(&file);
        Self::spawn(command.stdout(stdout).stderr(stderr), folder, file, port).await
    }

    async fn spawn_piped(mut command: Command, folder: TempDir, file: PathBuf, port: u16) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::spawn(&mut command, folder, file, port).await
    }

    async fn spawn(command: &mut Command, folder: TempDir, file: PathBuf, port: u16) -> Self {
        let mut child = command.spawn().expect("the gateway's binary");
        let lines = |output: Option<Box<dyn std::io::Read + Send>>| {
            output.map_or_else(|| Lines::read_from(std::io::empty()), Lines::read_from)
        };
        let stdout = lines(child.stdout.take().map(|it| Box::new(it) as _));
        let stderr = lines(child.stderr.take().map(|it| Box::new(it) as _));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut gateway = Self { child, folder, file, address, stdout, stderr };
        let deadline = Instant::now() + WAIT_TIMEOUT;
        while tokio::net::TcpStream::connect(address).await.is_err() {
            let gone = gateway.child.try_wait().expect("the gateway's status");
            assert!(gone.is_none(), "the gateway went at once: {gone:?}");
            assert!(Instant::now() < deadline, "the gateway does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        gateway
    }

    /// The address of its first listener.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port of its first listener.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The number of its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// The temporary directory that it runs in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its configuration file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Replaces the configuration file, by a rename.
    pub fn rewrite(&self, config: &Config) {
        replace_file(&self.file, &config.yaml(self.port()));
    }

    /// Opens a TCP connection to its first listener.
    pub async fn connect(&self) -> Wire {
        Wire::connect(self.address).await
    }

    /// Sends bytes on a new connection and reads one response.
    pub async fn send(&self, request: impl AsRef<[u8]>) -> Response {
        let mut wire = self.connect().await;
        wire.send(request).await;
        wire.response().await
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

/// The result of a run of the command line.
pub struct Cli {
    /// The exit status; `None` when a signal ended the process.
    pub code: Option<i32>,
    /// Everything it wrote to standard output.
    pub stdout: String,
    /// Everything it wrote to standard error.
    pub stderr: String,
}

impl Cli {
    /// Standard output, followed by standard error.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Runs the program to its end.
pub async fn cli(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Cli {
    let mut child = tidegate(folder)
        .args(arguments)
        .envs(environment.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the gateway's binary");
    let reader = |mut output: Box<dyn std::io::Read + Send>| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = output.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let stdout = reader(Box::new(child.stdout.take().expect("stdout")));
    let stderr = reader(Box::new(child.stderr.take().expect("stderr")));
    let deadline = Instant::now() + WAIT_TIMEOUT;
    let code = loop {
        if let Some(status) = child.try_wait().expect("the process's status") {
            break status.code();
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("`tidegate {}` does not end", arguments.join(" "));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    Cli { code, stdout: stdout.join().expect("stdout"), stderr: stderr.join().expect("stderr") }
}

fn tidegate(folder: &Path) -> Command {
    command(&crate::binary(), folder)
}

fn command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .env_remove("TIDEGATE_CONFIG")
        .env_remove("RUST_LOG")
        .env_remove("NOTIFY_SOCKET")
        .env("NO_COLOR", "1");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OTEL_") {
            command.env_remove(name);
        }
    }
    command
}

/// Replaces a file as careful editors do, by a rename.
pub fn replace_file(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).expect("a new file");
    std::fs::rename(&new, file).expect("the file replaced");
}

/// Creates a named pipe.
pub fn named_pipe(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, path, FileType::Fifo, mode, 0).expect("a pipe");
}

/// A free port below the kernel's ephemeral range, which no other test or test run on this machine gets.
pub fn free_port() -> u16 {
    static PORTS: Mutex<Option<Ports>> = Mutex::new(None);
    let mut ports = PORTS.lock().unwrap_or_else(PoisonError::into_inner);
    let ports = ports.get_or_insert_with(Ports::new);
    loop {
        let port = ports.next();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// Blocks of ports; a block belongs to the process that has locked its file.
struct Ports {
    folder: PathBuf,
    held: Vec<File>,
    block: u16,
    left: Range<u16>,
}

impl Ports {
    const FIRST: u16 = 10_000;
    const IN_A_BLOCK: u16 = 40;
    const BLOCKS: u16 = 550;

    fn new() -> Self {
        let folder = std::env::temp_dir().join("tidegate-test-ports");
        let _ = std::fs::create_dir_all(&folder);
        let block = u16::try_from(std::process::id() % u32::from(Self::BLOCKS)).unwrap_or(0);
        Self { folder, held: Vec::new(), block, left: 0..0 }
    }

    fn next(&mut self) -> u16 {
        loop {
            if let Some(port) = self.left.next() {
                return port;
            }
            let first = Self::FIRST + self.block * Self::IN_A_BLOCK;
            self.left = if self.lock() { first..first + Self::IN_A_BLOCK } else { 0..0 };
            self.block = (self.block + 1) % Self::BLOCKS;
        }
    }

    /// Locks the next block. If locks are not supported, every block counts as locked.
    fn lock(&mut self) -> bool {
        let file = self.folder.join(self.block.to_string());
        let Ok(file) = File::options().create(true).append(true).open(file) else { return true };
        match file.try_lock() {
            Ok(()) => {
                self.held.push(file);
                true
            }
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(_)) => true,
        }
    }
}

impl Response {
    /// The body of an error, after a check of the keys that every error has.
    pub fn error(&self) -> Value {
        assert_eq!(self.head.get("content-type"), Some("application/json"), "{}", self.head.text);
        let value: Value = serde_json::from_slice(&self.body).expect("JSON");
        for key in ["error", "message", "request_id"] {
            assert!(value[key].as_str().is_some_and(|text| !text.is_empty()), "{key} in {value}");
        }
        assert_eq!(self.head.get("x-request-id"), value["request_id"].as_str());
        value
    }
}

impl Head {
    /// The only value of a header; panics if there are two.
    pub fn only(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} is doubled in:\n{}", self.text);
        all.first().copied()
    }
}
