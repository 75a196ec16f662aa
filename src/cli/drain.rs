//! `tidegate drain`: asks a running gateway to move its sessions. It knows nothing of sessions but their
//! number.

use super::admin::AdminEndpoint;
use crate::admin::paths;
use clap::Args;
use std::process::ExitCode;

pub(super) const AFTER_HELP: &str = "\
The gateway refuses new WebSocket sessions (503 with Retry-After) and closes existing ones with
close code `drain.code`, spread over `drain.spread`. The process keeps running and serves other
HTTP requests. Afterwards, stop it with SIGTERM, or accept WebSocket sessions again with --stop.

Examples:
  tidegate drain
  tidegate drain --stop";

#[derive(Args)]
pub(super) struct Drain {
    #[command(flatten)]
    endpoint: AdminEndpoint,
    /// Stop draining: accept new WebSocket sessions again.
    #[arg(long)]
    stop: bool,
}

impl Drain {
    pub(super) fn run(&self) -> Result<(), ExitCode> {
        if self.stop {
            self.endpoint.request_json("DELETE", paths::DRAIN, "")?;
            println!("draining stopped; the gateway accepts new WebSocket sessions again");
            return Ok(());
        }
        let answer = self.endpoint.request_json("POST", paths::DRAIN, "")?;
        println!(
            "draining: {} WebSocket sessions are closed within {} ms, new ones are refused",
            answer["sessions"], answer["spread_ms"]
        );
        Ok(())
    }
}
