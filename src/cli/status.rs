//! `tidegate status`: prints what is in force in a running gateway. Knows it only from the admin endpoint.

use super::admin::AdminEndpoint;
use super::history::joined_keys;
use crate::admin::paths;
use clap::Args;
use serde_json::Value;
use std::process::ExitCode;
use std::time::Duration;

pub(super) const AFTER_HELP: &str = "\
Asks the admin endpoint of a running gateway for its listener addresses, its configuration
version, its connections, requests and sessions, and settings that take effect only after a
restart.

Examples:
  tidegate status
  tidegate status --config conf/tidegate.yaml --json";

#[derive(Args)]
pub(super) struct Status {
    #[command(flatten)]
    endpoint: AdminEndpoint,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn run(&self) -> Result<(), ExitCode> {
        let status = self.endpoint.request_json("GET", paths::STATUS, "")?;
        match self.json {
            true => println!("{status}"),
            false => print!("{}", text(&status)),
        }
        Ok(())
    }
}

fn text(status: &Value) -> String {
    let is = |key: &str| status[key] == true;
    let state = match (is("ready"), is("draining")) {
        (false, _) => "stopping",
        (true, true) => "draining",
        (true, false) => "ready",
    };
    let none = Vec::new();
    let listed = |key: &str| status[key].as_array().unwrap_or(&none);
    let listeners: Vec<_> = listed("listeners").iter().filter_map(Value::as_str).collect();
    let up = Duration::from_secs(status["uptime_ms"].as_u64().unwrap_or(0) / 1000);
    let mut text = format!(
        "tidegate {}, {state}, up for {}\nlistening on {}\nversion {} of the configuration\n{} connections, \
         {} requests in flight, {} sessions\n",
        status["software"].as_str().unwrap_or("?"),
        humantime::format_duration(up),
        listeners.join(", "),
        status["version"],
        status["connections"],
        status["requests_in_flight"],
        status["sessions"],
    );
    let restart = listed("restart_needed");
    if !restart.is_empty() {
        text.push_str(&format!("{} takes effect after a restart\n", joined_keys(restart)));
    }
    for panics in listed("panics") {
        let now = match (panics["running"] == true, panics["stopped"] == true) {
            (true, _) => "runs again",
            (_, true) => "is no longer needed",
            _ => "does not run",
        };
        text.push_str(&format!(
            "the background task `{}` has panicked {} times and {now}: {}\n",
            panics["task"].as_str().unwrap_or_default(),
            panics["count"],
            panics["reason"].as_str().unwrap_or_default().escape_debug(),
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_names_panicked_tasks() {
        let status = serde_json::json!({
            "panics": [
                {"task": "configuration", "count": 2, "running": false, "reason": "no\u{1b}where"},
                {"task": "memory", "count": 1, "running": true, "reason": "over"},
                {"task": "probe", "count": 3, "running": false, "stopped": true, "reason": "x"},
            ],
        });
        let text = text(&status);
        let lines = "the background task `configuration` has panicked 2 times and does not run: no\\u{1b}where\n\
                     the background task `memory` has panicked 1 times and runs again: over\n\
                     the background task `probe` has panicked 3 times and is no longer needed: x\n";
        assert!(text.ends_with(lines), "{text}");
    }

    #[test]
    fn status_names_settings_that_need_a_restart() {
        let status = serde_json::json!({
            "software": "1.2.3", "ready": true, "draining": false, "uptime_ms": 61_000,
            "listeners": ["127.0.0.1:3000", "unix:/run/http.sock"], "version": 7, "connections": 3,
            "requests_in_flight": 2, "sessions": 1, "restart_needed": ["threads", "listeners[1].mode"],
        });
        assert_eq!(
            text(&status),
            "tidegate 1.2.3, ready, up for 1m 1s\n\
             listening on 127.0.0.1:3000, unix:/run/http.sock\n\
             version 7 of the configuration\n\
             3 connections, 2 requests in flight, 1 sessions\n\
             `threads`, `listeners[1].mode` takes effect after a restart\n"
        );
    }
}
