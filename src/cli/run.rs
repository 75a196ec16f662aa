//! `tidegate run`: starts the gateway. It knows nothing of listeners.

use super::{ConfigFile, Program};
use crate::Config;
use clap::Args;
use std::process::ExitCode;

pub(super) const AFTER_HELP: &str = "\
The gateway watches the configuration file. A valid edit takes effect within a second and drops
no connection; an invalid one changes nothing, and the log lists its errors.

Signals:
  SIGTERM   stop gracefully: accept no more connections, finish requests in flight (at most
            shutdown.grace), exit with status 0
  SIGINT    stop quickly; a second SIGINT or SIGTERM stops at once
  SIGHUP    reload the configuration and reopen the access log file
  SIGUSR1   reopen the access log file, after it was rotated
  SIGQUIT   hand the listeners to a new process that was started with --upgrade, and exit once it
            serves; if it fails, this process continues (`tidegate upgrade` does all of this)
  SIGUSR2   start a new process with --upgrade and the same arguments (for systemd)

Examples:
  tidegate run --config /etc/tidegate/tidegate.yaml
  TIDEGATE_CONFIG=conf/tidegate.yaml tidegate run";

#[derive(Args)]
pub(super) struct Run {
    #[command(flatten)]
    file: ConfigFile,
    /// Take over the listeners of the running gateway, which then drains and exits.
    #[arg(long)]
    upgrade: bool,
}

impl Run {
    pub(super) fn run(&self, program: &Program<'_>) -> Result<(), ExitCode> {
        let gateway =
            program.gateway(Config::from_file(self.file.find_config()?)).upgrade_on_signal();
        let gateway = if self.upgrade { gateway.take_over() } else { gateway };
        gateway.run_with_log().map_err(|error| error.report())
    }
}
