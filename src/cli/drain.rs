//! `tidegate drain`: asks a running gateway to move its sessions. It knows nothing of sessions but their
//! number.

use super::admin::Endpoint;
use clap::Args;
use std::process::ExitCode;

pub(super) const AFTER_HELP: &str = "\
The gateway refuses new WebSockets (503 with Retry-After) and closes those that there are with
`drain.code`, spread over `drain.spread`. HTTP goes on, and so does the process: stop it with
SIGTERM, or take WebSockets again with --stop.

Examples:
  tidegate drain
  tidegate drain --stop";

#[derive(Args)]
pub(super) struct Drain {
    #[command(flatten)]
    endpoint: Endpoint,
    /// Take new WebSockets again.
    #[arg(long)]
    stop: bool,
}

impl Drain {
    pub(super) fn run(&self) -> Result<(), ExitCode> {
        if self.stop {
            self.endpoint.ask("DELETE", "/drain", "")?;
            println!("new WebSockets are taken again");
            return Ok(());
        }
        let answer = self.endpoint.ask("POST", "/drain", "")?;
        println!(
            "draining: {} sessions are closed within {} ms, new ones are refused",
            answer["sessions"], answer["spread_ms"]
        );
        Ok(())
    }
}
