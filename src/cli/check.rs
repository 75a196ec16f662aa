//! `tidegate check`: reports the problems of a configuration. It finds none by itself.

use super::admin::{AdminClient, AdminEndpoint};
use super::{EXIT_BAD_CONFIGURATION, EXIT_FAILURE, Program};
use crate::Config;
use crate::admin::paths;
use crate::config::Problems;
use clap::Args;
use serde_json::Value;
use std::process::ExitCode;

pub(super) const AFTER_HELP: &str = "\
Reports every error at once, as FILE:LINE:COLUMN, with a suggestion for misspelt names. Valid but
risky settings are reported as warnings; docs/warnings.md explains each by its name.

Exit status: 0 valid configuration, 78 invalid configuration, 1 no running gateway answered.

Examples:
  tidegate check --config conf/tidegate.yaml
  tidegate check --against-running        which WebSocket sessions would a reload affect?
  tidegate check && kill -HUP \"$(pidof tidegate)\"";

#[derive(Args)]
pub(super) struct Check {
    #[command(flatten)]
    endpoint: AdminEndpoint,
    /// Ask the running gateway which of its WebSocket sessions this configuration would affect.
    #[arg(long)]
    against_running: bool,
    /// Treat warnings as errors.
    #[arg(long)]
    deny_warnings: bool,
}

impl Check {
    pub(super) fn run(&self, program: &Program<'_>) -> Result<(), ExitCode> {
        let path = self.endpoint.file.find_config()?;
        let gateway = || program.gateway(Config::from_file(&path));
        let summary = gateway().check().map_err(report_problems)?;
        println!("{}: good ({summary})", path.display());
        if !summary.warnings.is_empty() {
            eprintln!("{}; docs/warnings.md explains them", summary.warnings);
            if self.deny_warnings {
                return Err(ExitCode::from(EXIT_BAD_CONFIGURATION));
            }
        }
        if self.against_running {
            let Some(address) = self.endpoint.admin.clone().or(summary.admin) else {
                eprintln!(
                    "error: the configuration has no `admin.address`; name the address of the running \
                     gateway's admin endpoint with --admin"
                );
                return Err(ExitCode::from(EXIT_FAILURE));
            };
            println!("{}", compare_with_running(&AdminClient::for_address(&address), gateway())?);
        }
        Ok(())
    }
}

pub(super) fn report_problems(problems: Problems) -> ExitCode {
    eprintln!("{problems}");
    ExitCode::from(EXIT_BAD_CONFIGURATION)
}

/// What the running gateway would do with its sessions.
fn compare_with_running(running: &AdminClient, new: crate::Gateway) -> Result<String, ExitCode> {
    let plan = new.session_plan().map_err(report_problems)?;
    Ok(affected(&running.request_or_report("POST", paths::SESSIONS_AFFECTED, &plan)?))
}

/// Describes how many sessions of the running gateway a reload would affect.
pub(super) fn affected(answer: &Value) -> String {
    let count = |key: &str| answer[key].as_u64().unwrap_or(0);
    let (kept, drained, closed) = (count("kept"), count("drained"), count("closed"));
    let affected = kept + drained + closed;
    let mut text = format!("{affected} of {} WebSocket sessions would be affected", count("total"));
    if affected > 0 {
        text.push_str(&format!(": {kept} kept, {drained} drained, {closed} closed"));
        for (route, count) in answer["routes"].as_object().into_iter().flatten() {
            text.push_str(&format!("\n  {count} on the route {route}"));
        }
    }
    text
}
