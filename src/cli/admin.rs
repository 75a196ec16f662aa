//! A client of a running gateway's admin endpoint, and how a command finds its address. Knows nothing of what the
//! commands ask.

use super::{ConfigFile, DEFAULT_CONFIG_PATHS, EXIT_BAD_CONFIGURATION, EXIT_FAILURE};
use crate::Config;
use crate::config::Address;
use clap::Args;
use serde_json::Value;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The options that select a running gateway.
#[derive(Args)]
pub(super) struct AdminEndpoint {
    /// Address of the running gateway's admin endpoint [default: `admin.address` of the configuration].
    #[arg(long, value_name = "ADDRESS", env = "TIDEGATE_ADMIN")]
    pub admin: Option<Address>,
    /// Token of the admin endpoint, required to change anything [default: `admin.token` of the configuration].
    #[arg(long, value_name = "TOKEN", env = "TIDEGATE_ADMIN_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    #[command(flatten)]
    pub file: ConfigFile,
}

impl AdminEndpoint {
    /// Finds the running gateway: by its admin address, or by its configuration file.
    pub(super) fn find_gateway(&self) -> Result<AdminClient, ExitCode> {
        if let Some(address) = &self.admin {
            return Ok(AdminClient {
                token: self.token.clone(),
                ..AdminClient::for_address(address)
            });
        }
        let is_there = DEFAULT_CONFIG_PATHS.iter().any(|path| PathBuf::from(path).exists());
        if self.file.config.is_none() && !is_there {
            eprintln!(
                "error: no running gateway is specified; name its admin address with --admin, or its \
                 configuration file with --config"
            );
            return Err(ExitCode::from(EXIT_FAILURE));
        }
        let path = self.file.find_config()?;
        let config = Config::of_running(&path);
        // The gateway itself knows best: the file may be broken by now, or gone, or name an address that
        // takes effect only after a restart.
        if let Some((address, token)) = config.ask_running().and_then(|running| running.admin) {
            return Ok(AdminClient {
                token: self.token.clone().or(token),
                ..AdminClient::for_address(&address)
            });
        }
        let found = config.running_admin().map_err(|problems| {
            eprintln!("{problems}\nhint: name the gateway's admin address with --admin");
            ExitCode::from(EXIT_BAD_CONFIGURATION)
        })?;
        let (address, token) = found.ok_or_else(|| {
            if std::fs::read_to_string(&path).is_ok_and(|text| text.trim().is_empty()) {
                eprintln!(
                    "error: the configuration file {} is empty; name the gateway's admin address with --admin",
                    path.display()
                );
                return ExitCode::from(EXIT_FAILURE);
            }
            eprintln!(
                "error: the configuration {} has no admin endpoint; add `admin: {{address: \
                 127.0.0.1:9901}}` and restart the gateway, or name the address of its admin endpoint with --admin",
                path.display()
            );
            ExitCode::from(EXIT_FAILURE)
        })?;
        Ok(AdminClient { address, token: self.token.clone().or(token), is_by_file: true })
    }

    /// Sends a request, and prints what went wrong.
    pub(super) fn request_json(
        &self,
        method: &str,
        target: &str,
        body: &str,
    ) -> Result<Value, ExitCode> {
        self.find_gateway()?.request_or_report(method, target, body)
    }
}

/// A client of a running gateway.
pub(super) struct AdminClient {
    address: Address,
    token: Option<String>,
    /// Whether only the file names the address.
    is_by_file: bool,
}

impl AdminClient {
    /// The one that answers there, which is only asked.
    pub(super) fn for_address(address: &Address) -> Self {
        Self { address: address.clone(), token: None, is_by_file: false }
    }

    /// Sends a request, and prints what went wrong.
    pub(super) fn request_or_report(
        &self,
        method: &str,
        target: &str,
        body: &str,
    ) -> Result<Value, ExitCode> {
        self.send(method, target, body).map_err(|failure| {
            eprintln!("error: {failure}");
            if self.is_by_file && matches!(failure, AdminFailure::Unreachable(..)) {
                eprintln!(
                    "hint: a changed `admin.address` takes effect after a restart; until then, name the \
                     old address with --admin"
                );
            }
            ExitCode::from(EXIT_FAILURE)
        })
    }

    fn send(&self, method: &str, target: &str, body: &str) -> Result<Value, AdminFailure> {
        let Self { address, token, .. } = self;
        let token = token.as_ref().map(|token| format!("Authorization: Bearer {token}\r\n"));
        exchange(address, method, target, &token.unwrap_or_default(), body)
    }
}

/// Why a request to the admin endpoint failed.
enum AdminFailure {
    Unreachable(Address, io::Error),
    NoGateway(Address),
    Refused(String),
}

impl fmt::Display for AdminFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(address, error) => {
                write!(f, "cannot connect to a gateway's admin endpoint at {address}: {error}")
            }
            Self::NoGateway(address) => {
                write!(
                    f,
                    "the response from {address} is not that of a gateway's admin endpoint; check \
                     the address"
                )
            }
            Self::Refused(reason) => f.write_str(reason),
        }
    }
}

fn exchange(
    address: &Address,
    method: &str,
    target: &str,
    fields: &str,
    body: &str,
) -> Result<Value, AdminFailure> {
    let unreachable = |error| AdminFailure::Unreachable(address.clone(), error);
    let mut stream = connect(address, REQUEST_TIMEOUT).map_err(unreachable)?;
    let host = address.ip().map_or("localhost".to_owned(), |_| address.to_string());
    let length = body.len();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).map_err(unreachable)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(unreachable)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let value: Value =
        serde_json::from_str(body).map_err(|_| AdminFailure::NoGateway(address.clone()))?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(value),
        _ => {
            let reason = value["error"]
                .as_str()
                .unwrap_or("the gateway refused the request without a reason");
            Err(AdminFailure::Refused(reason.to_owned()))
        }
    }
}

/// Connects; reads and writes then time out after this time.
pub(super) fn connect(address: &Address, patience: Duration) -> io::Result<Box<dyn ByteStream>> {
    match address {
        Address::Inet(address) => {
            let stream = TcpStream::connect_timeout(address, patience)?;
            stream.set_read_timeout(Some(patience))?;
            Ok(Box::new(stream))
        }
        Address::Unix(path) => {
            let stream = UnixStream::connect(&**path)?;
            stream.set_read_timeout(Some(patience))?;
            Ok(Box::new(stream))
        }
    }
}

/// A TCP or Unix connection.
pub(super) trait ByteStream: Read + Write {}

impl<S: Read + Write> ByteStream for S {}

/// A request target with the parameters that have a value.
pub(super) fn target(path: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    format!("{path}?{}", query.finish())
}
