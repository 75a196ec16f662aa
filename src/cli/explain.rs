//! `tidegate explain`: arguments and output. It decides nothing about requests.

use super::admin::{self, AdminEndpoint};
use super::{EXIT_FAILURE, EXIT_USAGE, Program};
use crate::Config;
use crate::admin::paths;
use crate::explain::{Decision, RequestToExplain};
use clap::Args;
use std::net::IpAddr;
use std::process::ExitCode;

pub(super) const AFTER_HELP: &str = "\
Uses the routing table and filters of the configuration, as the gateway does; no request is sent.

Exit status: 0 the gateway forwards or answers the request, 1 no route matches, 2 the request is
malformed or exceeds a limit, 78 invalid configuration.

Examples:
  tidegate explain https://example.com/api/users?page=2
  tidegate explain ws://localhost:3000/api/notifications/ws --header 'Origin: http://localhost:5173'
  tidegate explain http://localhost/api --method POST --json | jq .route
  tidegate explain http://localhost/api --client 192.0.2.7
  tidegate explain http://localhost/api --running      ask the running gateway";

#[derive(Args)]
pub(super) struct Explain {
    /// URL of the request: http, https, ws or wss.
    url: String,
    /// Request method.
    #[arg(short, long, default_value = "GET")]
    method: String,
    /// Request header, as `Name: value`; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    headers: Vec<String>,
    /// IP address that connects to the gateway. For a trusted proxy, the client's address is read from the
    /// request headers.
    #[arg(long, value_name = "ADDRESS")]
    client: Option<IpAddr>,
    /// Use the configuration of the running gateway instead of the file.
    #[arg(long)]
    running: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: AdminEndpoint,
}

impl Explain {
    pub(super) fn run(&self, program: &Program<'_>) -> Result<(), ExitCode> {
        let asked =
            RequestToExplain::new(&self.url, &self.method, &self.headers).map_err(|reason| {
                eprintln!("error: {reason}");
                ExitCode::from(EXIT_USAGE)
            })?;
        let asked = match self.client {
            Some(client) => asked.from_client(client),
            None => asked,
        };
        if self.running {
            let client = self.client.map(|client| client.to_string());
            let mut parameters = vec![
                ("url", Some(self.url.as_str())),
                ("method", Some(self.method.as_str())),
                ("client", client.as_deref()),
            ];
            parameters.extend(self.headers.iter().map(|field| ("header", Some(field.as_str()))));
            let target = admin::target(paths::EXPLAIN, &parameters);
            let answer = self.endpoint.request_json("GET", &target, "")?;
            match (self.json, answer["text"].as_str()) {
                (false, Some(text)) => print!("{text}"),
                _ => println!("{}", answer["explanation"]),
            }
            return match answer["explanation"]["verdict"].as_str() {
                Some("no_route") => Err(ExitCode::from(EXIT_FAILURE)),
                Some("refused") => Err(ExitCode::from(EXIT_USAGE)),
                _ => Ok(()),
            };
        }
        let gateway = program.gateway(Config::from_file(self.endpoint.file.find_config()?));
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| {
            eprintln!("error: {error}");
            ExitCode::from(EXIT_FAILURE)
        })?;
        let explainer = gateway.explainer().map_err(super::check::report_problems)?;
        let explanation = runtime.block_on(explainer.explain(&asked));
        match self.json {
            true => println!("{}", serde_json::to_string(&explanation).unwrap_or_default()),
            false => print!("{explanation}"),
        }
        match explanation.decision {
            Decision::NoRoute => Err(ExitCode::from(EXIT_FAILURE)),
            Decision::Refused { .. } => Err(ExitCode::from(EXIT_USAGE)),
            _ => Ok(()),
        }
    }
}
