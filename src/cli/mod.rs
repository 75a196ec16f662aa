//! The command line: one file for each command. Parses arguments and prints; every decision is made by the library.
#![cfg_attr(
    not(test),
    allow(
        clippy::indexing_slicing,
        reason = "`value[\"key\"]` of serde_json reads a missing key as null"
    )
)]

/// Writes to standard output. A closed pipe (`| head -1`) loses the text and does not end the verb, whose work and
/// exit status count; the macro of the standard library would panic.
macro_rules! print {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = std::io::stdout().write_fmt(format_args!($($text)*));
    }};
}

/// Writes a line to standard output, and ignores a closed pipe.
macro_rules! println {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

/// Writes a line to standard error, and ignores a closed pipe.
macro_rules! eprintln {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

mod admin;
mod cache;
mod check;
#[cfg(feature = "demo")]
mod demo;
mod diff;
mod doctor;
mod drain;
mod explain;
mod fmt;
mod hash;
mod health;
mod history;
mod import;
mod kick;
mod run;
mod schema;
mod sessions;
mod status;
mod upgrade;

use crate::server::EXIT_BAD_CONFIGURATION;
use crate::{Config, Gateway};
use clap::{Args, Parser, Subcommand, error::ErrorKind};
use std::path::PathBuf;
use std::process::ExitCode;
use tidegate_config::defaults::DEFAULT_CONFIG_PATHS;

/// Exit status for a failure while running.
const EXIT_FAILURE: u8 = 1;
/// Exit status for a wrong command line.
const EXIT_USAGE: u8 = 2;

const AFTER_HELP: &str = "\
Examples:
  tidegate demo                                 try it: a gateway, an example service and a web page
  tidegate check --config conf/tidegate.yaml    check a configuration
  tidegate run --config conf/tidegate.yaml      run the gateway
  tidegate doctor ws://localhost:3000/ws        find out why a connection fails

Exit status: 0 success, 1 failure, 2 invalid command line, 78 invalid configuration.";

/// An HTTP and WebSocket edge gateway, configured by one YAML file.
#[derive(Parser)]
#[command(name = "tidegate", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway.
    #[command(after_help = run::AFTER_HELP)]
    Run(run::Run),
    /// Replace a running gateway with this binary, without refusing a connection.
    #[command(after_help = upgrade::AFTER_HELP)]
    Upgrade(upgrade::Upgrade),
    /// Check a configuration and report every error and warning.
    #[command(after_help = check::AFTER_HELP)]
    Check(check::Check),
    /// Compare what two configurations do, route by route.
    #[command(after_help = diff::AFTER_HELP)]
    Diff(diff::Diff),
    /// Format configuration files; comments are kept.
    #[command(after_help = fmt::AFTER_HELP)]
    Fmt(fmt::Fmt),
    /// Explain how the gateway handles a request: the route that matches, why, and the result.
    #[command(after_help = explain::AFTER_HELP)]
    Explain(Box<explain::Explain>),
    /// List the configuration versions that a running gateway has applied.
    #[command(after_help = history::AFTER_HELP)]
    History(history::History),
    /// Roll a running gateway back to an earlier configuration version.
    #[command(after_help = history::ROLLBACK_AFTER_HELP)]
    Rollback(history::Rollback),
    /// Show the state of a running gateway: listeners, configuration version, connections.
    #[command(after_help = status::AFTER_HELP)]
    Status(status::Status),
    /// List the live WebSocket sessions of a running gateway.
    #[command(after_help = sessions::AFTER_HELP)]
    Sessions(sessions::Sessions),
    /// Close WebSocket sessions of a running gateway.
    #[command(after_help = kick::AFTER_HELP)]
    Kick(kick::Kick),
    /// Drain a running gateway: close its WebSocket sessions gradually and refuse new ones.
    #[command(after_help = drain::AFTER_HELP)]
    Drain(drain::Drain),
    /// Purge responses from the cache of a running gateway.
    #[command(after_help = cache::AFTER_HELP)]
    Cache(cache::Cache),
    /// Print the JSON Schema or the reference of the configuration.
    #[command(after_help = schema::AFTER_HELP)]
    Schema(schema::Schema),
    /// Hash a password or an API key, or make a new key.
    #[command(after_help = hash::AFTER_HELP)]
    Hash(hash::Hash),
    /// Check whether a running gateway accepts connections (for container health checks).
    #[command(after_help = health::AFTER_HELP)]
    Health(health::Health),
    /// Diagnose why a URL does not work, and show which line of the configuration to change.
    #[command(after_help = doctor::AFTER_HELP)]
    Doctor(Box<doctor::Doctor>),
    /// Convert a configuration of nginx, Express or Traefik, and list what was not converted.
    #[command(after_help = import::AFTER_HELP)]
    Import(import::Import),
    /// Run a demo: a gateway with an example notification service and a web page.
    #[cfg(feature = "demo")]
    #[command(after_help = demo::AFTER_HELP)]
    Demo(demo::Demo),
}

#[derive(Args, Clone)]
struct ConfigFile {
    /// Configuration file [default: ./tidegate.yaml, else /etc/tidegate/tidegate.yaml].
    #[arg(short, long, value_name = "FILE", env = "TIDEGATE_CONFIG")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    /// The file to read, or the places where there was none.
    fn find_config(&self) -> Result<PathBuf, ExitCode> {
        if let Some(path) = &self.config {
            return Ok(path.clone());
        }
        DEFAULT_CONFIG_PATHS.iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(|| {
            eprintln!(
                "error: no configuration file: neither {} nor {} exists, and TIDEGATE_CONFIG is not \
                 set; name a file with --config",
                DEFAULT_CONFIG_PATHS[0], DEFAULT_CONFIG_PATHS[1]
            );
            ExitCode::from(EXIT_BAD_CONFIGURATION)
        })
    }
}

/// The program that the command line belongs to: what it makes of a gateway before that is used.
struct Program<'p> {
    set_up: &'p dyn Fn(Gateway) -> Gateway,
}

impl Program<'_> {
    /// The gateway of a configuration, with the program's filters.
    fn gateway(&self, config: Config) -> Gateway {
        (self.set_up)(Gateway::from_config(config))
    }
}

/// Reads the command line of the `tidegate` program and does what it says.
pub fn main() -> ExitCode {
    main_with(|gateway| gateway)
}

/// Runs the command line for a program of your own: every verb of `tidegate` (`run`, `check`, `explain`, `diff`, …)
/// knows the filters that `set_up` adds.
///
/// `set_up` is called for each configuration that a verb reads: once for `run`, twice for `diff`.
///
/// ```no_run
/// # #[derive(serde::Deserialize, tidegate::schemars::JsonSchema)]
/// # #[schemars(crate = "tidegate::schemars")]
/// # struct ApiKeys {}
/// # struct ApiKeyFilter;
/// # impl tidegate::Filter for ApiKeyFilter {}
/// fn main() -> std::process::ExitCode {
///     tidegate::cli::main_with(|gateway| {
///         gateway.register("api_keys", |settings: ApiKeys| Ok(ApiKeyFilter))
///     })
/// }
/// ```
pub fn main_with(set_up: impl Fn(Gateway) -> Gateway) -> ExitCode {
    let program = Program { set_up: &set_up };
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(EXIT_USAGE),
            };
        }
    };
    let done = match cli.verb {
        Command::Run(run) => run.run(&program),
        Command::Upgrade(upgrade) => upgrade.run(),
        Command::Check(check) => check.run(&program),
        Command::Sessions(sessions) => sessions.run(),
        Command::Status(status) => status.run(),
        Command::Diff(diff) => diff.run(&program),
        Command::Explain(explain) => explain.run(&program),
        Command::Fmt(fmt) => fmt.run(),
        Command::History(history) => history.run(),
        Command::Rollback(rollback) => rollback.run(),
        Command::Kick(kick) => kick.run(),
        Command::Drain(drain) => drain.run(),
        Command::Cache(cache) => cache.run(),
        Command::Schema(schema) => schema.print(&program),
        Command::Hash(hash) => hash.run(),
        Command::Health(health) => health::check_health(&health),
        Command::Doctor(doctor) => doctor.run(&program),
        Command::Import(import) => import.run(),
        #[cfg(feature = "demo")]
        Command::Demo(demo) => demo.run(&program),
    };
    done.err().unwrap_or(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn command_line_definition_is_well_formed() {
        Cli::command().debug_assert();
    }
}
