//! `tidegate import`: reads a configuration of another program. It knows nothing of foreign formats;
//! `tidegate-import` does.

use super::EXIT_FAILURE;
use crate::Config;
use clap::{Args, ValueEnum};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use tidegate_import::Format;

/// Exit status when a part of the configuration could not be imported.
const EXIT_LEFT_OUT: u8 = 3;

pub(super) const AFTER_HELP: &str = "\
Prints the configuration to stdout. Prints to stderr, as FILE:LINE, each directive that could not
be converted (`left out`) and each whose effect differs in Tidegate (`changed`). If access
control such as `auth_basic` cannot be converted, the routes it protected answer 403.
docs/import.md lists what is converted.

Exit status: 0 everything was converted, 3 something was left out, 1 the file cannot be read, or
the result is not a valid configuration on this machine, for example because a certificate file
is missing.

Examples:
  tidegate import nginx /etc/nginx/nginx.conf > tidegate.yaml
  tidegate import express gateway.js > tidegate.yaml
  tidegate import traefik dynamic.yml > tidegate.yaml
  tidegate import nginx sites-enabled/shop > shop.yaml && tidegate check --config shop.yaml";

#[derive(Args)]
pub(super) struct Import {
    /// Program that the file configures.
    format: ImportFormat,
    /// File to convert; files that it includes are read too.
    file: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum ImportFormat {
    /// A JavaScript or TypeScript program that uses Express and http-proxy-middleware.
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
            ImportFormat::Express => Format::Express,
            #[cfg(not(feature = "import-express"))]
            ImportFormat::Express => {
                eprintln!(
                    "error: this build of tidegate cannot import Express programs; build it with `cargo \
                     build --release --features import-express`"
                );
                return Err(ExitCode::from(EXIT_FAILURE));
            }
            ImportFormat::Nginx => Format::Nginx,
            ImportFormat::Traefik => Format::Traefik,
        };
        let import = tidegate_import::import(format, &self.file).map_err(|unreadable| {
            eprintln!("{unreadable}");
            ExitCode::from(EXIT_FAILURE)
        })?;
        // A closed pipe (`| head`) is no failure.
        let _ = std::io::stdout().write_all(import.yaml.as_bytes());
        for note in &import.notes {
            eprintln!("{note}");
        }
        if let Err(problems) = Config::from_yaml(&import.yaml).check() {
            eprintln!("the result is not a valid configuration on this machine:\n{problems}");
            return Err(ExitCode::from(EXIT_FAILURE));
        }
        if import.has_left_out() { Err(ExitCode::from(EXIT_LEFT_OUT)) } else { Ok(()) }
    }
}
