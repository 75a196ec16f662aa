//! `tidegate import`: reads a configuration of another program. It knows nothing of foreign formats;
//! `tidegate-import` does.

use super::FAILURE;
use crate::Config;
use clap::{Args, ValueEnum};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use tidegate_import::Format;

/// Something could not be carried.
const LEFT_OUT: u8 = 3;

pub(super) const AFTER_HELP: &str = "\
The configuration goes to stdout. To stderr goes each line that could not be carried (`left out`),
and each that means something else now (`changed`), as FILE:LINE. What guards something and can't be
carried, such as `auth_basic`, closes what it guarded. docs/import.md says what is carried.

Exit status: 0 all was carried, 3 something was left out, 1 the file can't be read, or the result is
not good on this machine, for want of a certificate's file for instance.

Examples:
  tidegate import nginx /etc/nginx/nginx.conf > tidegate.yaml
  tidegate import express gateway.js > tidegate.yaml
  tidegate import traefik dynamic.yml > tidegate.yaml
  tidegate import nginx sites-enabled/shop > shop.yaml && tidegate check --config shop.yaml";

#[derive(Args)]
pub(super) struct Import {
    /// Whose file it is.
    format: Kind,
    /// The file; those that it includes are read too.
    file: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// A program with Express and http-proxy-middleware, in JavaScript or TypeScript.
    Express,
    /// nginx.conf, or a file with `server` blocks.
    Nginx,
    /// A file of Traefik's file provider, in YAML or TOML.
    Traefik,
}

impl Import {
    pub(super) fn run(&self) -> Result<(), ExitCode> {
        let format = match self.format {
            #[cfg(feature = "import-express")]
            Kind::Express => Format::Express,
            #[cfg(not(feature = "import-express"))]
            Kind::Express => {
                eprintln!(
                    "error: this build can't read Express programs, which takes a parser of JavaScript; build it with: \
                     cargo build --release --features import-express"
                );
                return Err(ExitCode::from(FAILURE));
            }
            Kind::Nginx => Format::Nginx,
            Kind::Traefik => Format::Traefik,
        };
        let import = tidegate_import::import(format, &self.file).map_err(|unreadable| {
            eprintln!("{unreadable}");
            ExitCode::from(FAILURE)
        })?;
        // A closed pipe (`| head`) is no failure.
        let _ = std::io::stdout().write_all(import.yaml.as_bytes());
        for note in &import.notes {
            eprintln!("{note}");
        }
        if let Err(problems) = Config::from_yaml(&import.yaml).check() {
            eprintln!("the result is not good on this machine:\n{problems}");
            return Err(ExitCode::from(FAILURE));
        }
        if import.has_left_out() { Err(ExitCode::from(LEFT_OUT)) } else { Ok(()) }
    }
}
