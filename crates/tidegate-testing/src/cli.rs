//! Runs of the command line, to their end. It does not know the verbs.

use super::WAIT_TIMEOUT;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

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

/// The program of this repository, to be run in this folder.
pub(crate) fn tidegate(folder: &Path) -> Command {
    command(&crate::binary(), folder)
}

/// A program that is a gateway, to be run in this folder without settings from the environment.
pub(crate) fn command(program: &Path, folder: &Path) -> Command {
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
