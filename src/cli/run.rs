use super::{ConfigFile, report};
use std::process::ExitCode;
use tidegate::{Config, Gateway};

pub const AFTER_HELP: &str = "\
The file is followed: a good edit takes effect within a second and drops no connection; a bad one
changes nothing and is explained in the log.

Signals:
  SIGTERM   accept no more, finish what is under way (bounded by shutdown.grace), exit 0
  SIGINT    the same, but hardly wait; either signal a second time ends it at once
  SIGHUP    read the configuration again, open the access log's file again

Examples:
  tidegate run --config /etc/tidegate/tidegate.yaml
  TIDEGATE_CONFIG=conf/tidegate.yaml tidegate run";

pub fn run(file: &ConfigFile) -> Result<(), ExitCode> {
    let config = Config::from_file(file.find()?);
    Gateway::from_config(config).run().map_err(|error| report(&error))
}
