//! A Redis server for tests, without persistence. It does not know the gateway's keys.

use super::{Authority, free_port, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tokio::net::TcpStream;

/// A Redis server without persistence.
pub struct Redis {
    folder: TempDir,
    port: u16,
    options: Vec<String>,
    running: Option<Child>,
}

impl Redis {
    /// Starts a server without TLS on a free port.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Starts a server with more options.
    pub async fn with(options: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let port = free_port();
        let options = options.iter().map(|&option| option.to_owned());
        let options = ["--port".to_owned(), port.to_string()].into_iter().chain(options).collect();
        let mut redis = Self { folder, port, options, running: None };
        redis.run().await;
        redis
    }

    /// Starts a server with TLS and a certificate of this authority.
    pub async fn over_tls(authority: &Authority) -> Self {
        let folder = TempDir::new().expect("a folder");
        authority.write(&folder.path().join("ca.pem"));
        authority.issue(folder.path(), "redis", &["localhost"], 2090);
        let port = free_port();
        let options = format!(
            "--port 0 --tls-port {port} --tls-auth-clients no --tls-cert-file redis.pem \
             --tls-key-file redis.key --tls-ca-cert-file ca.pem"
        );
        let options = options.split(' ').map(str::to_owned).collect();
        let mut redis = Self { folder, port, options, running: None };
        redis.run().await;
        redis
    }

    /// Starts again, without data.
    pub async fn run(&mut self) {
        let child = Command::new("redis-server")
            .current_dir(self.folder.path())
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        self.running = Some(child.expect("Redis: apt-get install redis-server"));
        until("Redis listens", async || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.is_ok()
        })
        .await;
    }

    /// Kills the server.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Suspends the server, which keeps its connections, or resumes it.
    pub fn freeze(&self, freeze: bool) {
        let child = self.running.as_ref().expect("it runs");
        let id = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
        kill(id, if freeze { Signal::SIGSTOP } else { Signal::SIGCONT }).expect("it runs");
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path of the authority's certificate, for a server with TLS.
    pub fn ca(&self) -> String {
        self.folder.path().join("ca.pem").display().to_string()
    }

    /// The configuration section for this server.
    pub fn section(&self, more: &str) -> String {
        format!("shared_counters: {{url: \"redis://127.0.0.1:{}\"{more}}}", self.port)
    }

    /// Runs a command; returns the reply's lines.
    pub fn ask(&self, command: &[&str]) -> Vec<String> {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(command)
            .output()
            .expect("redis-cli");
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().map(str::to_owned).collect()
    }

    /// The number of counted sessions.
    pub fn sessions(&self) -> usize {
        let keys = self.ask(&["--raw", "KEYS", "*:sessions:*"]);
        let count = |key: &String| self.ask(&["--raw", "HLEN", key])[0].parse::<usize>();
        keys.iter().filter(|key| !key.is_empty()).map(|key| count(key).expect("a number")).sum()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
