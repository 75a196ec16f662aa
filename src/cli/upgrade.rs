//! `tidegate upgrade`: starts a new process that takes the listeners over. It knows nothing of how sockets
//! are handed over.

use super::{ConfigFile, EXIT_BAD_CONFIGURATION, EXIT_FAILURE};
use crate::Config;
use clap::Args;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub(super) const AFTER_HELP: &str = "\
Checks the configuration with this binary, starts `tidegate run --upgrade`, and waits until the
new process serves. The new process takes over the listening sockets, so that no connection is
refused. The old process finishes its requests and drains its WebSocket sessions, within
shutdown.grace. If the new process fails, the old one continues unchanged.

The new process inherits stdout and stderr of the old one, and the environment and working
directory of this command. For a gateway under systemd, first install the new binary over the old
one: this command then asks the gateway (with SIGUSR2) to start the new process itself.

Exit status: 0 the new process serves, 1 the old process continues, 78 invalid configuration.

Examples:
  tidegate upgrade
  ./tidegate-new upgrade --config /etc/tidegate/tidegate.yaml";

/// The longest time that the new process may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How often the command checks whether the new process serves.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

#[derive(Args)]
pub(super) struct Upgrade {
    #[command(flatten)]
    file: ConfigFile,
}

impl Upgrade {
    pub(super) fn run(&self) -> Result<(), ExitCode> {
        let path = self.file.find_config()?;
        let config = Config::of_running(&path);
        let control = config.control_socket();
        let summary = config.check().map_err(|problems| {
            eprintln!("{problems}");
            ExitCode::from(EXIT_BAD_CONFIGURATION)
        })?;
        println!("{}: good ({summary})", path.display());
        let control = control.ok_or_else(|| {
            fail(
                "the configuration has no `upgrade_socket`, through \
                 which the processes hand over their listeners",
            )
        })?;
        let old = lock_holder(&control).map_err(|error| {
            fail(&format!(
                "no gateway is running with {} ({}: {error}); start one with `tidegate run`",
                path.display(),
                control.display()
            ))
        })?;
        let child = if is_a_service(old) {
            kill_process(old, Signal::USR2).map_err(|error| fail(&error.to_string()))?;
            None
        } else {
            Some(start(&path, old).map_err(|error| fail(&format!("{error}")))?)
        };
        let new = wait(child, &control, old)?;
        println!(
            "process {new} ({}) now serves; process {old} finishes its requests and sessions, then exits",
            env!("CARGO_PKG_VERSION")
        );
        Ok(())
    }
}

fn fail(reason: &str) -> ExitCode {
    eprintln!("error: {reason}");
    ExitCode::from(EXIT_FAILURE)
}

/// The process that listens at the control socket, by the kernel's word.
fn lock_holder(control: &Path) -> io::Result<Pid> {
    Ok(socket_peercred(UnixStream::connect(control)?)?.pid)
}

/// Whether systemd started it: what this command starts would be no part of the service then.
fn is_a_service(process: Pid) -> bool {
    let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(b"NOTIFY_SOCKET="))
}

fn start(file: &Path, old: Pid) -> io::Result<Child> {
    let output = |number: u8| {
        let there = File::options().append(true).open(format!("/proc/{old}/fd/{number}"));
        there.map_or_else(|_| Stdio::inherit(), Stdio::from)
    };
    Command::new(std::env::current_exe()?)
        .args(["run", "--upgrade", "--config"])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(output(1))
        .stderr(output(2))
        // What is typed in this terminal later is not meant for it.
        .process_group(0)
        .spawn()
}

/// Waits until another process than the old one holds the control socket.
fn wait(mut child: Option<Child>, control: &Path, old: Pid) -> Result<Pid, ExitCode> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        if let Ok(holder) = lock_holder(control)
            && holder != old
        {
            return Ok(holder);
        }
        if let Some(status) = child.as_mut().and_then(exit_status) {
            let reason = format!("the new process exited before it served ({status})");
            return Err(fail(&format!(
                "{reason}; process {old} continues to serve. The log of the new \
                 process has the reason"
            )));
        }
        if Instant::now() > deadline {
            let _ = child.as_mut().map(Child::kill);
            return Err(fail(&format!(
                "the new process did not serve within {START_TIMEOUT:?}; its log may have the reason"
            )));
        }
        sleep(POLL_INTERVAL);
    }
}

fn exit_status(child: &mut Child) -> Option<ExitStatus> {
    child.try_wait().ok().flatten()
}
