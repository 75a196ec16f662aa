//! A child process that reports when it is ready. It does not know what the process does.

use super::within;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A program that runs until this is dropped.
pub struct Ready(Child);

impl Ready {
    /// Starts it, and waits until its standard error says `ready`.
    pub async fn wait(mut command: Command) -> Self {
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = Self(spawned.spawn().expect("a program"));
        let told = BufReader::new(child.0.stderr.take().expect("its standard error"));
        let (sender, ready) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut sender = Some(sender);
            // Read to its end: a full pipe would block the program.
            for line in told.lines().map_while(Result::ok) {
                if line.contains("ready")
                    && let Some(sender) = sender.take()
                {
                    let _ = sender.send(());
                }
            }
        });
        within("the program to be ready", ready).await.expect("it ended before it was ready");
        child
    }
}

impl Ready {
    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
