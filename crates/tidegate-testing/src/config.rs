//! Builds the configuration of a gateway under test, as text. It does not know whether the gateway accepts it.

use super::{Gateway, Upstream};
use std::fmt::{Display, Write};
use std::path::Path;

/// Builds a configuration.
#[derive(Clone, Default)]
pub struct Config {
    listener: Vec<String>,
    top: Vec<String>,
    upstreams: Vec<String>,
    routes: Vec<String>,
}

impl Config {
    /// An empty configuration.
    pub fn new() -> Self {
        Self::default()
    }

    /// One upstream for every request, with a route named `all`.
    pub fn to(upstream: &Upstream) -> Self {
        Self::to_address(upstream.address())
    }

    /// One upstream at any address for every request, with a route named `all`.
    pub fn to_address(address: impl Display) -> Self {
        Self::new().upstream("service", &[address]).route("all", "path_prefix: /", "service")
    }

    /// Adds an upstream with these endpoints, each as `host:port`.
    pub fn upstream(mut self, name: &str, endpoints: &[impl Display]) -> Self {
        let list: Vec<_> = endpoints.iter().map(|endpoint| format!("\"{endpoint}\"")).collect();
        self.upstreams.push(format!("  {name}:\n    endpoints: [{}]\n", list.join(", ")));
        self
    }

    /// Replaces a part of the last upstream's text.
    pub fn replacing(mut self, this: &str, by: &str) -> Self {
        if let Some(upstream) = self.upstreams.last_mut() {
            *upstream = upstream.replace(this, by);
        }
        self
    }

    /// Adds a line to the last upstream.
    pub fn speaking(mut self, line: &str) -> Self {
        if let Some(upstream) = self.upstreams.last_mut() {
            let _ = writeln!(upstream, "    {line}");
        }
        self
    }

    /// Adds an upstream whose endpoints have weights.
    pub fn weighted(mut self, name: &str, endpoints: &[(&Upstream, u32)]) -> Self {
        let mut text = format!("  {name}:\n    endpoints:\n");
        for (upstream, weight) in endpoints {
            let address = upstream.address();
            let _ = writeln!(text, "      - {{address: \"{address}\", weight: {weight}}}");
        }
        self.upstreams.push(text);
        self
    }

    /// Adds a route; `matches` is the content of `match: {…}`.
    pub fn route(mut self, name: &str, matches: &str, upstream: &str) -> Self {
        self.routes.push(format!(
            "  - name: {name}\n    match: {{{matches}}}\n    upstream: {upstream}\n"
        ));
        self
    }

    /// Adds a route without an upstream; `answer` is the line with its response.
    pub fn answer(mut self, name: &str, matches: &str, answer: &str) -> Self {
        self.routes.push(format!("  - name: {name}\n    match: {{{matches}}}\n    {answer}\n"));
        self
    }

    /// Adds a line to the last route.
    pub fn with(mut self, line: &str) -> Self {
        if let Some(route) = self.routes.last_mut() {
            let _ = writeln!(route, "    {line}");
        }
        self
    }

    /// Adds a line to the listener.
    pub fn listening(mut self, line: &str) -> Self {
        self.listener.push(format!("    {line}\n"));
        self
    }

    /// Adds a top-level section.
    pub fn top(mut self, section: &str) -> Self {
        self.top.push(format!("{section}\n"));
        self
    }

    /// Adds the section `cors` with these origins.
    pub fn cors(self, origins: &[&str], more: &str) -> Self {
        self.top(&format!("cors: {{allow_origins: {origins:?}{more}}}"))
    }

    /// The file's text, for a gateway on this port.
    pub fn yaml(&self, port: u16) -> String {
        let mut text = format!("listeners:\n  - address: 127.0.0.1:{port}\n");
        text.extend(self.listener.iter().map(String::as_str));
        text.push_str("threads: 2\n");
        text.extend(self.top.iter().map(String::as_str));
        if !self.upstreams.is_empty() {
            text.push_str("upstreams:\n");
            text.extend(self.upstreams.iter().map(String::as_str));
        }
        if !self.routes.is_empty() {
            text.push_str("routes:\n");
            text.extend(self.routes.iter().map(String::as_str));
        }
        text
    }

    /// Starts a gateway with this configuration.
    pub async fn start(&self) -> Gateway {
        Gateway::start(self).await
    }

    /// Starts a program of your own with this configuration, one that calls `tidegate::cli::main_with`:
    /// `env!("CARGO_BIN_EXE_my-gateway")` names it in a test.
    pub async fn start_program(&self, program: impl AsRef<Path>) -> Gateway {
        Gateway::start_program(program, self).await
    }
}
