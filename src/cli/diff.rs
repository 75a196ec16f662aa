use super::admin::Endpoint;
use super::check::{against, wrong};
use super::{FAILURE, USAGE};
use clap::Args;
use serde_json::Value;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tidegate::Config;

pub const AFTER_HELP: &str = "\
Both files are compiled as the gateway would and compared by what their routes do: an edit that changes
nothing for anybody is no difference. Exit status: 0 when they do the same, 1 when they do not, 78 when one
of them is wrong. With --running the gateway that runs is the old one, and its live sessions are told of
that the file would touch.

Examples:
  tidegate diff --running /etc/tidegate/tidegate.yaml
  tidegate diff /etc/tidegate/tidegate.yaml tidegate.yaml
  git show HEAD:conf/tidegate.yaml > old.yaml && tidegate diff old.yaml conf/tidegate.yaml --json";

#[derive(Args)]
pub struct Diff {
    /// The file as it was, and the file as it is to be; with --running, the latter alone.
    #[arg(required = true, num_args = 1..=2, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Compare with the gateway that runs.
    #[arg(long)]
    running: bool,
    #[command(flatten)]
    endpoint: Endpoint,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl Diff {
    pub fn run(&self) -> Result<(), ExitCode> {
        let explainer = |path: &Path| Config::from_file(path).explainer().map_err(wrong);
        let is_same = match (&*self.files, self.running) {
            ([old, new], false) => {
                let difference = explainer(old)?.difference(&explainer(new)?);
                let json = serde_json::to_value(&difference).unwrap_or_default();
                self.tell(&json, &difference.to_string())
            }
            ([new], true) => {
                let gateway = self.endpoint.gateway()?;
                let answer = gateway.ask("POST", "/diff", &explainer(new)?.outline())?;
                let is_same =
                    self.tell(&answer["difference"], answer["text"].as_str().unwrap_or_default());
                if !self.json {
                    println!("{}", against(&gateway, new)?);
                }
                is_same
            }
            _ => {
                eprintln!("error: name two files, or one and --running");
                return Err(ExitCode::from(USAGE));
            }
        };
        if is_same { Ok(()) } else { Err(ExitCode::from(FAILURE)) }
    }

    /// Whether there is none.
    fn tell(&self, difference: &Value, text: &str) -> bool {
        match self.json {
            true => println!("{difference}"),
            false if text.is_empty() => println!("no difference"),
            false if std::io::stdout().is_terminal() => print!("{}", coloured(text)),
            false => print!("{text}"),
        }
        text.is_empty()
    }
}

/// Green for what is new, red for what is gone, yellow for what is otherwise.
fn coloured(text: &str) -> String {
    let paint = |line: &str| match line.chars().next() {
        Some('+') => format!("\x1b[32m{line}\x1b[0m\n"),
        Some('-') => format!("\x1b[31m{line}\x1b[0m\n"),
        Some('~') => format!("\x1b[33m{line}\x1b[0m\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(paint).collect()
}
