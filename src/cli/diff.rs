//! `tidegate diff`: compares two configurations. It compares nothing by itself; `explain/` does.

use super::admin::AdminEndpoint;
use super::check::{affected, report_problems};
use super::{EXIT_FAILURE, EXIT_USAGE, Program};
use crate::Config;
use crate::admin::paths;
use crate::explain::Difference;
use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(super) const AFTER_HELP: &str = "\
Compares the effect of both files, not their text: changed settings, changed routes, requests
that another route would handle, and the effect on WebSocket sessions. An edit without effect,
such as a comment, is no difference.

With --running, the old configuration is the one of the running gateway, and the output counts
the live WebSocket sessions that the new file would affect. Colours are used on a terminal,
unless NO_COLOR is set.

Exit status: 0 no difference, 1 a difference, 78 invalid configuration.

Examples:
  tidegate diff --running /etc/tidegate/tidegate.yaml
  tidegate diff /etc/tidegate/tidegate.yaml tidegate.yaml
  git show HEAD:conf/tidegate.yaml > old.yaml && tidegate diff old.yaml conf/tidegate.yaml --json";

#[derive(Args)]
pub(super) struct Diff {
    /// The old file and the new file; with --running, only the new file.
    #[arg(required = true, num_args = 1..=2, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Compare with the configuration of the running gateway.
    #[arg(long)]
    running: bool,
    #[command(flatten)]
    endpoint: AdminEndpoint,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Diff {
    pub(super) fn run(&self, program: &Program<'_>) -> Result<(), ExitCode> {
        let explainer = |path: &Path| {
            program.gateway(Config::from_file(path)).explainer().map_err(report_problems)
        };
        let (difference, live) = match (&*self.files, self.running) {
            ([old, new], false) => (explainer(old)?.difference(&explainer(new)?), None),
            ([new], true) => {
                let gateway = self.endpoint.find_gateway()?;
                let answer =
                    gateway.request_or_report("POST", paths::DIFF, &explainer(new)?.outline())?;
                let difference = Difference::deserialize(&answer["difference"]);
                let difference = difference.map_err(|error| {
                    eprintln!(
                        "error: the running gateway's response is not understood, perhaps because \
                         its version differs: {error}"
                    );
                    ExitCode::from(EXIT_FAILURE)
                })?;
                (difference, Some(answer["live"].clone()))
            }
            _ => {
                eprintln!("error: expected two files, or one file with --running");
                return Err(ExitCode::from(EXIT_USAGE));
            }
        };
        match self.json {
            true => println!("{}", as_json(&difference, live)),
            false => print_difference(&difference, live.as_ref()),
        }
        if difference.is_empty() { Ok(()) } else { Err(ExitCode::from(EXIT_FAILURE)) }
    }
}

/// With what becomes of the sessions that there are, where a gateway was asked.
fn as_json(difference: &Difference, live: Option<Value>) -> Value {
    // Strings, numbers and lists always become JSON.
    let mut output = serde_json::to_value(difference).unwrap_or_default();
    if let (Value::Object(output), Some(live)) = (&mut output, live) {
        output.insert("live".to_owned(), live);
    }
    output
}

fn print_difference(difference: &Difference, live: Option<&Value>) {
    if difference.is_empty() {
        println!("no difference");
    } else {
        print!("{}", difference.table(has_colours()));
    }
    if let Some(live) = live {
        println!("{}", affected(live));
    }
}

/// On a terminal, unless nobody wants any (<https://no-color.org>).
fn has_colours() -> bool {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal() && !is_unwanted
}
