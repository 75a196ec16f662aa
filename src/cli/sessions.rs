//! `tidegate sessions`: lists the sessions of a running gateway. It knows them only from the admin endpoint.

use super::admin::{self, AdminEndpoint};
use crate::admin::paths;
use crate::telemetry::keys;
use clap::Args;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

pub(super) const AFTER_HELP: &str = "\
Asks the admin endpoint of a running gateway (`admin: {address: 127.0.0.1:9901}`). IN counts
messages and bytes from the client, OUT those to the client. LOGIN is the scheme of `authentication` that verified the
user, EXPIRES the time at which that login expires.

Examples:
  tidegate sessions --config conf/tidegate.yaml
  tidegate sessions --user user-1 --json
  tidegate sessions --route notifications-ws --watch
  tidegate sessions --user user-1 --log-frames text     log the frames of these sessions";

/// How often `--watch` reads the sessions again.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Args)]
pub(super) struct Sessions {
    #[command(flatten)]
    endpoint: AdminEndpoint,
    /// Only sessions of this user.
    #[arg(short, long, value_name = "USER", allow_hyphen_values = true)]
    user: Option<String>,
    /// Only sessions of this route.
    #[arg(short, long, value_name = "ROUTE", allow_hyphen_values = true)]
    route: Option<String>,
    /// Only the session with this ID.
    #[arg(short, long, value_name = "ID", allow_hyphen_values = true)]
    session: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Repeat every second, until interrupted.
    #[arg(short, long)]
    watch: bool,
    /// Set which frames of the sessions appear in the access log, instead of listing the sessions.
    #[arg(long, value_name = "LEVEL", value_parser = ["off", "headers", "text"])]
    log_frames: Option<String>,
}

impl Sessions {
    pub(super) fn run(&self) -> Result<(), ExitCode> {
        let gateway = self.endpoint.find_gateway()?;
        let which = [
            ("user", self.user.as_deref()),
            ("route", self.route.as_deref()),
            ("id", self.session.as_deref()),
        ];
        if let Some(level) = &self.log_frames {
            let parameters = [&which[..], &[("level", Some(level.as_str()))]].concat();
            let target = admin::target(paths::SESSIONS_LOG, &parameters);
            let answer = gateway.request_or_report("POST", &target, "")?;
            println!("set frame logging of {} WebSocket sessions to {level}", answer["changed"]);
            return Ok(());
        }
        let target = admin::target(paths::SESSIONS, &which);
        loop {
            let answer = gateway.request_or_report("GET", &target, "")?;
            let text = if self.json { format!("{answer:#}\n") } else { table(&answer) };
            let clear = if self.watch && !self.json { "\x1b[2J\x1b[H" } else { "" };
            // A closed pipe (`| head`) is no failure.
            let written = write!(std::io::stdout(), "{clear}{text}");
            if !self.watch || written.is_err() {
                return Ok(());
            }
            thread::sleep(REFRESH_INTERVAL);
        }
    }
}

fn table(answer: &Value) -> String {
    let mut text = String::new();
    let sessions = answer["sessions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let word = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let mut rows = vec![
        [
            "SESSION", "USER", "ROUTE", "CLIENT", "UPSTREAM", "AGE", "IDLE", "IN", "OUT", "LOGIN",
            "EXPIRES",
        ]
        .map(str::to_owned),
    ];
    rows.extend(sessions.iter().map(|session| {
        let traffic = |way: &str| {
            format!("{} / {}", session[way]["messages"], bytes_in_words(&session[way]["bytes"]))
        };
        [
            word(&session["id"]),
            word(&session[keys::USER.name()]),
            word(&session[keys::ROUTE.name()]),
            word(&session[keys::CLIENT.name()]),
            word(&session[keys::UPSTREAM_ADDRESS.name()]),
            seconds_in_words(&session["age_ms"]),
            seconds_in_words(&session["idle_ms"]),
            traffic("received"),
            traffic("sent"),
            word(&session[keys::AUTH_SCHEME.name()]),
            word(&session["expires"]),
        ]
    }));
    let widths = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let draining = if answer["draining"] == true { ", draining" } else { "" };
    let _ = writeln!(text, "{} of {} sessions{draining}", sessions.len(), answer["total"]);
    text
}

fn seconds_in_words(millis: &Value) -> String {
    let seconds = Duration::from_secs(millis.as_u64().unwrap_or(0) / 1000);
    humantime::format_duration(seconds).to_string()
}

fn bytes_in_words(count: &Value) -> String {
    bytesize::ByteSize(count.as_u64().unwrap_or(0)).to_string()
}
