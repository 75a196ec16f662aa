//! `tidegate doctor`: arguments and output of the diagnosis. It opens no socket; `tidegate-doctor` does.

use super::{
    ConfigFile, DEFAULT_CONFIG_PATHS, EXIT_BAD_CONFIGURATION, EXIT_FAILURE, EXIT_USAGE, Program,
};
use crate::Config;
use crate::doctor::{ConfigMap, trust_any_certificate};
use clap::Args;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tidegate_doctor::{ClientTls, Configuration, Examination, Target};
use tidegate_http::header_name::lower;

pub(super) const AFTER_HELP: &str = "\
Checks each step to the URL: DNS, TCP, TLS, HTTP, the WebSocket handshake through the gateway and
directly with the upstream, Origin and CORS, ping, and an idle connection. Reports what is wrong,
the likely reason, and what to change, with the line of the configuration. Without a
configuration file it checks only the URL. It sends only GET, OPTIONS and HEAD requests, and
hides secret values in URLs. docs/doctor.md lists every problem that it can find.

Exit status: 0 no problem, 1 a problem, 2 invalid command line, 78 invalid configuration.

Examples:
  tidegate doctor 'ws://localhost:3000/api/notifications/ws?userId=x'
  tidegate doctor ws://localhost:3000/ws --origin https://app.example.com --protocol chat
  tidegate doctor wss://edge.example.com/ws --upstream 10.0.0.1:8080 --idle 2m
  tidegate doctor http://localhost:3000/api --header 'Authorization: Bearer …' --json";

#[derive(Args)]
pub(super) struct Doctor {
    /// URL to check: ws, wss, http or https.
    #[arg(value_parser = Target::parse)]
    url: Target,
    #[command(flatten)]
    file: ConfigFile,
    /// Endpoint to check directly, without the gateway [default: the endpoints of the route that matches the URL].
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    upstream: Option<(String, u16)>,
    /// Origin of the web page that connects, such as `https://app.example.com`.
    #[arg(long, value_name = "ORIGIN", value_parser = text)]
    origin: Option<String>,
    /// WebSocket subprotocol to offer; may be repeated.
    #[arg(long = "protocol", value_name = "NAME", value_parser = parse_token)]
    protocols: Vec<String>,
    /// Request header to send, as `Name: value`; may be repeated.
    #[arg(long = "header", value_name = "FIELD", value_parser = field)]
    fields: Vec<(String, String)>,
    /// Time to keep the WebSocket connection idle; 0 skips this step.
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = duration)]
    idle: Duration,
    /// Maximum time of each step.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    timeout: Duration,
    /// PEM file of certificate authorities to trust in addition to the system's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Accept any TLS certificate of the URL's server.
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) fn run(self, program: &Program<'_>) -> Result<(), ExitCode> {
        let any_certificate = trust_any_certificate().map_err(|reason| {
            eprintln!("error: {reason}");
            ExitCode::from(EXIT_FAILURE)
        })?;
        let trust = match self.url.is_tls {
            true if self.insecure => Some(any_certificate.clone()),
            true => Some(ClientTls::system_roots(self.ca.as_deref()).map_err(|reason| {
                eprintln!("error: --ca: {reason}");
                ExitCode::from(EXIT_USAGE)
            })?),
            false => None,
        };
        let configuration = self.configuration(program)?;
        let examination = Examination {
            target: self.url,
            configuration,
            upstream: self.upstream,
            origin: self.origin,
            protocols: self.protocols,
            headers: self.fields,
            idle: self.idle,
            step_timeout: self.timeout,
            trust,
            any_certificate,
        };
        let runtime = tokio::runtime::Runtime::new().map_err(|error| {
            eprintln!("error: {error}");
            ExitCode::from(EXIT_FAILURE)
        })?;
        let report = runtime.block_on(examination.run());
        // A name that is still being looked up is waited for no longer.
        runtime.shutdown_background();
        let text = match self.json {
            true => format!("{:#}\n", report.json()),
            false => report.to_string(),
        };
        // A closed pipe (`| head`) is no failure.
        let _ = std::io::stdout().write_all(text.as_bytes());
        if report.is_healthy() { Ok(()) } else { Err(ExitCode::from(EXIT_FAILURE)) }
    }

    /// The configuration that is named, or lies where one is looked for; none is no error.
    fn configuration(
        &self,
        program: &Program<'_>,
    ) -> Result<Option<Box<dyn Configuration>>, ExitCode> {
        let is_there = DEFAULT_CONFIG_PATHS.iter().any(|path| Path::new(path).exists());
        if self.file.config.is_none() && !is_there {
            return Ok(None);
        }
        let gateway = program.gateway(Config::from_file(self.file.find_config()?));
        let map = ConfigMap::new(gateway).map_err(|problems| {
            eprintln!("{problems}");
            ExitCode::from(EXIT_BAD_CONFIGURATION)
        })?;
        Ok(Some(Box::new(map)))
    }
}

fn address(written: &str) -> Result<(String, u16), String> {
    let form = || "not `host:port`; write it like `127.0.0.1:4009`".to_owned();
    let (host, port) = written.rsplit_once(':').ok_or_else(form)?;
    let port = port.parse().ok().filter(|&port| port > 0).ok_or_else(form)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_host = !host.is_empty() && !host.contains(['/', '@', ' ']);
    if is_host { Ok((host.to_owned(), port)) } else { Err(form()) }
}

/// `0` is a duration here as well.
fn duration(written: &str) -> Result<Duration, String> {
    if written == "0" {
        return Ok(Duration::ZERO);
    }
    let longest = Duration::from_secs(24 * 60 * 60);
    let parsed = humantime::parse_duration(written).ok().filter(|&parsed| parsed <= longest);
    parsed.ok_or_else(|| "not a duration of at most one day; write it like `3s` or `2m`".to_owned())
}

/// What may stand in a header's value.
fn text(written: &str) -> Result<String, String> {
    match written.chars().any(char::is_control) || written.is_empty() {
        true => Err("the value must not be empty or contain control characters".to_owned()),
        false => Ok(written.to_owned()),
    }
}

fn parse_token(written: &str) -> Result<String, String> {
    // What RFC 9110, section 5.6.2, calls a token.
    let is_token = !written.is_empty()
        && written.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    if is_token {
        Ok(written.to_owned())
    } else {
        Err("the name must be one word, without spaces or \
         special characters"
            .to_owned())
    }
}

/// Headers that the doctor sets itself.
const OWN_HEADERS: [&str; 6] = [
    lower::HOST,
    lower::CONNECTION,
    lower::UPGRADE,
    lower::ORIGIN,
    lower::CONTENT_LENGTH,
    lower::TRANSFER_ENCODING,
];

fn field(written: &str) -> Result<(String, String), String> {
    let (name, value) = written.split_once(':').ok_or(
        "expected a header, written like `Name: \
         value`"
            .to_owned(),
    )?;
    if OWN_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        return Err(format!("`{name}` cannot be set; the doctor sets this header itself"));
    }
    Ok((parse_token(name)?, text(value.trim())?))
}
