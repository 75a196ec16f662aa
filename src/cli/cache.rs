//! `tidegate cache`: purges entries of a running gateway. It knows nothing of the storage.

use super::admin::{self, AdminEndpoint};
use crate::admin::paths;
use clap::{ArgGroup, Args, Subcommand};
use std::process::ExitCode;

pub(super) const AFTER_HELP: &str = "\
Write URLs as clients request them: with scheme and host, and with the port unless it is the
default port of the scheme. A response that is still being received when it is purged is
delivered to the clients that wait for it, and not stored.

Examples:
  tidegate cache purge --url https://example.com/catalogue/7
  tidegate cache purge --prefix https://example.com/catalogue/
  tidegate cache purge --all";

#[derive(Args)]
pub(super) struct Cache {
    #[command(subcommand)]
    verb: CacheCommand,
}

#[derive(Subcommand)]
enum CacheCommand {
    /// Purge responses from the cache.
    Purge(Purge),
}

#[derive(Args)]
#[command(group(ArgGroup::new("what").required(true).args(["url", "prefix", "all"])))]
struct Purge {
    #[command(flatten)]
    endpoint: AdminEndpoint,
    /// Purge the responses of this URL, in all variants.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Purge the responses of all URLs that begin with this prefix.
    #[arg(long, value_name = "URL")]
    prefix: Option<String>,
    /// Purge all responses.
    #[arg(long)]
    all: bool,
}

impl Cache {
    pub(super) fn run(&self) -> Result<(), ExitCode> {
        let CacheCommand::Purge(purge) = &self.verb;
        let target = admin::target(
            paths::CACHE_PURGE,
            &[
                ("url", purge.url.as_deref()),
                ("prefix", purge.prefix.as_deref()),
                ("all", purge.all.then_some("true")),
            ],
        );
        let answer = purge.endpoint.request_json("POST", &target, "")?;
        println!("purged {} responses", answer["purged"]);
        Ok(())
    }
}
