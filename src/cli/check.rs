use super::{BAD_CONFIGURATION, ConfigFile};
use std::process::ExitCode;
use tidegate::Config;

pub const AFTER_HELP: &str = "\
Every problem is told at once, as FILE:LINE:COLUMN, with the nearest right spelling.
Exit status: 0 when the configuration is good, 78 when it is not.

Examples:
  tidegate check --config conf/tidegate.yaml
  tidegate check && kill -HUP \"$(pidof tidegate)\"";

pub fn check(file: &ConfigFile) -> Result<(), ExitCode> {
    let path = file.find()?;
    match Config::from_file(&path).check() {
        Ok(summary) => {
            println!("{}: good ({summary})", path.display());
            Ok(())
        }
        Err(problems) => {
            eprintln!("{problems}");
            Err(ExitCode::from(BAD_CONFIGURATION))
        }
    }
}
