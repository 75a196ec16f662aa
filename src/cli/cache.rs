//! `tidegate cache`: purges entries of a running gateway. It knows nothing of the storage.

use super::admin::{self, Endpoint};
use clap::{ArgGroup, Args, Subcommand};
use std::process::ExitCode;

pub(super) const AFTER_HELP: &str = "\
URLs are written as clients write them: with scheme, host, and the port unless it is the scheme's own.
A response that is on its way when it is purged is given to those who wait for it, and not kept.

Examples:
  tidegate cache purge --url https://example.com/catalogue/7
  tidegate cache purge --prefix https://example.com/catalogue/
  tidegate cache purge --all";

#[derive(Args)]
pub(super) struct Cache {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Take responses away.
    Purge(Purge),
}

#[derive(Args)]
#[command(group(ArgGroup::new("what").required(true).args(["url", "prefix", "all"])))]
struct Purge {
    #[command(flatten)]
    endpoint: Endpoint,
    /// Those of this URL, in all variants.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Those of all URLs that begin so.
    #[arg(long, value_name = "URL")]
    prefix: Option<String>,
    /// All.
    #[arg(long)]
    all: bool,
}

impl Cache {
    pub(super) fn run(&self) -> Result<(), ExitCode> {
        let Verb::Purge(purge) = &self.verb;
        let target = admin::target(
            "/cache/purge",
            &[
                ("url", purge.url.as_deref()),
                ("prefix", purge.prefix.as_deref()),
                ("all", purge.all.then_some("true")),
            ],
        );
        let answer = purge.endpoint.ask("POST", &target, "")?;
        println!("{} responses are purged", answer["purged"]);
        Ok(())
    }
}
