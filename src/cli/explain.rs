use super::admin::{self, Endpoint};
use super::{FAILURE, USAGE};
use clap::Args;
use std::process::ExitCode;
use tidegate::{Asked, Config};

pub const AFTER_HELP: &str = "\
The gateway's own table and filters are asked; nothing is sent. Exit status: 0 when the request is
forwarded or answered by a route, 1 when no route takes it, 2 when it is malformed, 78 when the
configuration is wrong.

Examples:
  tidegate explain https://example.com/api/users?page=2
  tidegate explain ws://localhost:3000/api/notifications/ws --header 'Origin: http://localhost:5173'
  tidegate explain http://localhost/api --method POST --json | jq .route
  tidegate explain http://localhost/api --running      what the gateway that runs would do";

#[derive(Args)]
pub struct Explain {
    /// The URL: http, https, ws or wss.
    url: String,
    /// The method.
    #[arg(short, long, default_value = "GET")]
    method: String,
    /// A header field, `name: value`; may be given more than once.
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    headers: Vec<String>,
    /// Ask the gateway that runs, not the file.
    #[arg(long)]
    running: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: Endpoint,
}

impl Explain {
    pub fn run(&self) -> Result<(), ExitCode> {
        let asked = Asked::new(&self.url, &self.method, &self.headers).map_err(|reason| {
            eprintln!("error: {reason}");
            ExitCode::from(USAGE)
        })?;
        if self.running {
            let mut parameters =
                vec![("url", Some(self.url.as_str())), ("method", Some(self.method.as_str()))];
            parameters.extend(self.headers.iter().map(|field| ("header", Some(field.as_str()))));
            let target = admin::target("/explain", &parameters);
            let answer = self.endpoint.ask("GET", &target, "")?;
            match (self.json, answer["text"].as_str()) {
                (false, Some(text)) => print!("{text}"),
                _ => println!("{}", answer["explanation"]),
            }
            return found(answer["explanation"]["verdict"] != "no_route");
        }
        let config = Config::from_file(self.endpoint.file.find()?);
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| {
            eprintln!("error: {error}");
            ExitCode::from(FAILURE)
        })?;
        let explainer = config.explainer().map_err(super::check::wrong)?;
        let explanation = runtime.block_on(explainer.explain(&asked));
        match self.json {
            true => println!("{}", serde_json::to_string(&explanation).unwrap_or_default()),
            false => print!("{explanation}"),
        }
        found(explanation.status() != Some(404) || explanation.route().is_some())
    }
}

fn found(is_found: bool) -> Result<(), ExitCode> {
    if is_found { Ok(()) } else { Err(ExitCode::from(FAILURE)) }
}
