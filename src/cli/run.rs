//! `tidegate run`: starts the gateway. It knows nothing of listeners.

use super::{ConfigFile, Program};
use crate::Config;
use clap::Args;
use std::process::ExitCode;

pub(super) const AFTER_HELP: &str = "\
The file is followed: a good edit takes effect within a second and drops no connection; a bad one
changes nothing and is explained in the log.

Signals:
  SIGTERM   accept no more, finish what is under way (bounded by shutdown.grace), exit 0
  SIGINT    the same, but hardly wait; either signal a second time ends it at once
  SIGHUP    read the configuration again, open the access log's file again
  SIGUSR1   open the access log's file again, for it was rotated
  SIGQUIT   hand the listeners to a new gateway that was started with --upgrade, and go once it
            serves; a new one that fails changes nothing (`tidegate upgrade` does all of it)
  SIGUSR2   start the program again with --upgrade, as it was started itself (for systemd)

Examples:
  tidegate run --config /etc/tidegate/tidegate.yaml
  TIDEGATE_CONFIG=conf/tidegate.yaml tidegate run";

#[derive(Args)]
pub(super) struct Run {
    #[command(flatten)]
    file: ConfigFile,
    /// Take the listeners of the gateway that runs, which then finishes and goes.
    #[arg(long)]
    upgrade: bool,
}

impl Run {
    pub(super) fn run(&self, program: &Program<'_>) -> Result<(), ExitCode> {
        let gateway = program.gateway(Config::from_file(self.file.find()?)).renew_on_signal();
        let gateway = if self.upgrade { gateway.take_over() } else { gateway };
        gateway.run().map_err(|error| error.report())
    }
}
