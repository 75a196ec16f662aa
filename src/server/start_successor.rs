//! Starts the new process of an upgrade by signal. Knows nothing of sockets.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

/// What Linux appends to the path of a program whose file was replaced.
const DELETED_SUFFIX: &[u8] = b" (deleted)";

/// Starts the program that is at this one's path by now, with the same arguments and `--upgrade`.
/// It lives where this one does, with the same environment: under systemd, in the unit.
pub(super) fn start() {
    match spawn() {
        Ok(mut child) => {
            let process = child.id();
            log::info!("upgrade: started the new process {process}");
            // This process has to see how its children end.
            thread::spawn(move || {
                if let Ok(status) = child.wait() {
                    log::error!("upgrade: the new process {process} ended: {status}");
                }
            });
        }
        Err(error) => log::error!(
            "upgrade failed: cannot start the program a second time: {error}; this process keeps \
             serving"
        ),
    }
}

fn spawn() -> io::Result<Child> {
    let program = env::current_exe()?.into_os_string();
    let path = program.as_bytes();
    let path = path.strip_suffix(DELETED_SUFFIX).unwrap_or(path);
    let program = PathBuf::from(OsString::from_vec(path.to_vec()));
    let mut arguments: Vec<OsString> = env::args_os().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--upgrade") {
        arguments.push("--upgrade".into());
    }
    Command::new(program).args(arguments).stdin(Stdio::null()).spawn()
}
