//! `tidegate schema`: prints the JSON Schema or the reference. It knows nothing of a configuration.

use super::Program;
use crate::Config;
use clap::Args;
use std::io::Write;
use std::process::ExitCode;

pub(super) const AFTER_HELP: &str = "\
Editors with a YAML language server use the schema if the configuration file begins with
  # yaml-language-server: $schema=tidegate.schema.json

Examples:
  tidegate schema > tidegate.schema.json
  tidegate schema --markdown | less";

#[derive(Args)]
pub(super) struct Schema {
    /// Print the reference as Markdown instead: every key with its type, default and meaning.
    #[arg(long)]
    markdown: bool,
}

impl Schema {
    pub(super) fn print(&self, program: &Program<'_>) -> Result<(), ExitCode> {
        let gateway = program.gateway(Config::from_yaml(""));
        let text = if self.markdown {
            gateway.reference_markdown()
        } else {
            format!("{:#}\n", gateway.json_schema())
        };
        // A closed pipe (`| head`) is no failure.
        let _ = std::io::stdout().write_all(text.as_bytes());
        Ok(())
    }
}
