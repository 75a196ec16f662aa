//! `tidegate history` and `tidegate rollback`: lists the versions of a running gateway, and goes back to one. Reads no
//! state itself; the admin endpoint has it.

use super::admin::{AdminEndpoint, target};
use crate::admin::paths;
use clap::Args;
use serde_json::Value;
use std::process::ExitCode;

pub(super) const AFTER_HELP: &str = "\
Lists the last twenty configuration versions, newest first: when and why each took effect, and
what it changed. With `state_dir` set, the history survives a restart.

Examples:
  tidegate history
  tidegate history --json | jq '.versions[0].difference'";

#[derive(Args)]
pub(super) struct History {
    #[command(flatten)]
    endpoint: AdminEndpoint,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl History {
    pub(super) fn run(&self) -> Result<(), ExitCode> {
        let history = self.endpoint.request_json("GET", paths::HISTORY, "")?;
        if self.json {
            println!("{history}");
            return Ok(());
        }
        let none = Vec::new();
        let versions = history["versions"].as_array().unwrap_or(&none);
        for (index, version) in versions.iter().enumerate() {
            let of = |name: &str| version[name].as_str().unwrap_or_default();
            let mark = if index == 0 { "*" } else { " " };
            let number = version["version"].as_u64().unwrap_or_default();
            println!("{mark} {number:>4}  {}  {}", of("time"), of("cause"));
            for line in of("text").lines() {
                println!("          {line}");
            }
        }
        let restart = history["restart_needed"].as_array().unwrap_or(&none);
        if !restart.is_empty() {
            println!("\nSettings that take effect only after a restart: {}.", joined_keys(restart));
        }
        if let Value::Object(refused) = &history["refused"] {
            let of = |name: &str| refused.get(name).and_then(Value::as_str).unwrap_or_default();
            println!("\nThe edit of {} did not take effect:\n{}", of("time"), of("problems"));
        }
        Ok(())
    }
}

/// Keys of the configuration, as a list.
pub(super) fn joined_keys(keys: &[Value]) -> String {
    let keys: Vec<_> = keys.iter().filter_map(Value::as_str).map(|it| format!("`{it}`")).collect();
    keys.join(", ")
}

pub(super) const ROLLBACK_AFTER_HELP: &str = "\
The gateway applies the earlier version as it applies an edit: while it runs, completely or not
at all. WebSocket sessions are affected only as `websocket.on_change` says.

The configuration file does not change. Correct it: its next edit, a SIGHUP or a restart applies
the file again.

Examples:
  tidegate rollback        roll back to the previous version
  tidegate rollback 12";

#[derive(Args)]
pub(super) struct Rollback {
    /// Version number, as listed by `tidegate history` [default: the previous version, skipping versions that
    /// `reload.guard` rolled back].
    version: Option<u64>,
    #[command(flatten)]
    endpoint: AdminEndpoint,
}

impl Rollback {
    pub(super) fn run(&self) -> Result<(), ExitCode> {
        let version = self.version.map(|version| version.to_string());
        let target = target(paths::ROLLBACK, &[("version", version.as_deref())]);
        let done = self.endpoint.request_json("POST", &target, "")?;
        println!("{}", done["changes"].as_str().unwrap_or_default());
        println!(
            "the configuration file is unchanged; correct it, or its next edit, a SIGHUP or a \
             restart applies it again"
        );
        Ok(())
    }
}
