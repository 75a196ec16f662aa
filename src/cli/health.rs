//! `tidegate health`: a probe for containers. It needs no configuration when it has an address.

use super::admin;
use super::{ConfigFile, EXIT_BAD_CONFIGURATION, EXIT_FAILURE};
use crate::Config;
use crate::admin::paths;
use crate::config::Address;
use clap::Args;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

pub(super) const AFTER_HELP: &str = "\
Connects to --address, or to the first listener of the gateway that runs with the configuration.

With --ready, asks the admin endpoint instead (GET /readyz), which fails as soon as the gateway
begins to stop, while it still accepts connections (shutdown.delay).

In containers, use --address: the command then needs no configuration file.

Exit status: 0 the connection is accepted, 1 it is not, 78 the configuration has no listener.

Example, in a Dockerfile:
  HEALTHCHECK CMD [\"/usr/local/bin/tidegate\", \"health\", \"--address\", \"127.0.0.1:3000\"]";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Args)]
pub(super) struct Health {
    /// Address to connect to; the configuration is then not read.
    #[arg(short, long, value_name = "ADDRESS")]
    address: Option<Address>,
    /// Ask the admin endpoint whether the gateway is ready for requests; --address is then the admin endpoint's.
    #[arg(long)]
    ready: bool,
    #[command(flatten)]
    file: ConfigFile,
}

pub(super) fn check_health(health: &Health) -> Result<(), ExitCode> {
    if health.ready {
        let endpoint = admin::AdminEndpoint {
            admin: health.address.clone(),
            token: None,
            file: health.file.clone(),
        };
        endpoint.request_json("GET", paths::READYZ, "")?;
        println!("ready");
        return Ok(());
    }
    let address = match &health.address {
        Some(address) => address.clone(),
        None => first_listener(&health.file)?,
    };
    match admin::connect(&address, CONNECT_TIMEOUT) {
        Ok(_) => {
            println!("{address} accepts connections");
            Ok(())
        }
        Err(error) => {
            eprintln!("error: {address} does not accept connections: {error}");
            Err(ExitCode::from(EXIT_FAILURE))
        }
    }
}

fn first_listener(file: &ConfigFile) -> Result<Address, ExitCode> {
    // An edit of the file, good or bad, moves no listener of the gateway that runs.
    let path = file.find_config()?;
    let config = Config::of_running(&path);
    let first = match config.ask_running().and_then(|running| running.listener) {
        Some(listener) => Some(listener),
        None => config.running_listener().map_err(|problems| {
            eprintln!("{problems}");
            ExitCode::from(EXIT_BAD_CONFIGURATION)
        })?,
    };
    first.map(connectable_address).ok_or_else(|| {
        let path = path.display();
        eprintln!("error: the configuration {path} has no listener; name the gateway's address with --address");
        ExitCode::from(EXIT_BAD_CONFIGURATION)
    })
}

/// Where a listener on every address can be reached from here.
fn connectable_address(listener: Address) -> Address {
    let Address::Inet(listener) = listener else { return listener };
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port()).into()
}
