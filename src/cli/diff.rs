use super::FAILURE;
use super::check::wrong;
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tidegate::Config;

pub const AFTER_HELP: &str = "\
Both files are compiled as the gateway would and compared by what their routes do: an edit that changes
nothing for anybody is no difference. Exit status: 0 when they do the same, 1 when they do not, 78 when one
of them is wrong. Which live sessions a file would touch: tidegate check --against-running.

Examples:
  tidegate diff /etc/tidegate/tidegate.yaml tidegate.yaml
  git show HEAD:conf/tidegate.yaml > old.yaml && tidegate diff old.yaml conf/tidegate.yaml --json";

#[derive(Args)]
pub struct Diff {
    /// The file as it was.
    old: PathBuf,
    /// The file as it is to be.
    new: PathBuf,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl Diff {
    pub fn run(&self) -> Result<(), ExitCode> {
        let explainer = |path: &Path| Config::from_file(path).explainer().map_err(wrong);
        let (old, new) = (explainer(&self.old)?, explainer(&self.new)?);
        let difference = old.difference(&new);
        match self.json {
            true => println!("{}", serde_json::to_string(&difference).unwrap_or_default()),
            false if difference.is_empty() => println!("no difference"),
            false => print!("{difference}"),
        }
        if difference.is_empty() { Ok(()) } else { Err(ExitCode::from(FAILURE)) }
    }
}
