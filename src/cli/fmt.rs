//! `tidegate fmt`: formats configuration files. It knows nothing of their keys.

use super::{ConfigFile, EXIT_BAD_CONFIGURATION, EXIT_FAILURE};
use clap::Args;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(super) const AFTER_HELP: &str = "\
Rewrites each file in place, only if its meaning stays the same, and prints the names of changed
files.

Exit status: 0 success, 1 with --check if a file would change, 78 if a file is not valid YAML.

Examples:
  tidegate fmt                          format the default configuration file
  tidegate fmt conf/tidegate.yaml conf.d/*.yaml
  tidegate fmt --check                  for CI: report files that are not formatted
  tidegate fmt - < old.yaml > new.yaml";

#[derive(Args)]
pub(super) struct Fmt {
    /// Files to format, or `-` to read standard input and write standard output [default: the configuration file].
    files: Vec<PathBuf>,
    /// Print the names of files that would change, and change nothing.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    file: ConfigFile,
}

impl Fmt {
    pub(super) fn run(&self) -> Result<(), ExitCode> {
        if self.files.iter().any(|file| file == Path::new("-")) {
            return format_stdin();
        }
        let files =
            if self.files.is_empty() { vec![self.file.find_config()?] } else { self.files.clone() };
        let mut status = Ok(());
        for path in &files {
            let fail = |code, reason: String| {
                eprintln!("error: {}: {reason}", path.display());
                ExitCode::from(code)
            };
            let text = fs::read_to_string(path).map_err(|it| fail(EXIT_FAILURE, it.to_string()))?;
            let laid_out = crate::config::format_yaml(&text)
                .map_err(|error| fail(EXIT_BAD_CONFIGURATION, error.to_string()))?;
            if laid_out == text {
                continue;
            }
            println!("{}", path.display());
            if self.check {
                status = Err(ExitCode::from(EXIT_FAILURE));
            } else {
                replace(path, &laid_out).map_err(|it| fail(EXIT_FAILURE, it.to_string()))?;
            }
        }
        status
    }
}

/// From standard input to standard output.
fn format_stdin() -> Result<(), ExitCode> {
    let fail = |code: u8, reason: String| {
        eprintln!("error: {reason}");
        ExitCode::from(code)
    };
    let mut text = String::new();
    io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| fail(EXIT_FAILURE, format!("cannot read standard input: {error}")))?;
    let laid_out = crate::config::format_yaml(&text)
        .map_err(|error| fail(EXIT_BAD_CONFIGURATION, format!("standard input: {error}")))?;
    // A closed pipe (`| head`) is no failure.
    let _ = io::stdout().write_all(laid_out.as_bytes());
    Ok(())
}

/// All of it or nothing: a gateway may follow the file.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = path.canonicalize()?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let new = path.with_file_name(name);
    fs::write(&new, text)?;
    fs::set_permissions(&new, fs::metadata(&path)?.permissions())?;
    fs::rename(&new, &path)
}
