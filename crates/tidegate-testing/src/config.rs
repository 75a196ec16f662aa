//! Builds the configuration of a gateway under test, as text. It does not know whether the gateway accepts it.

use super::{Gateway, Upstream};
use std::fmt::{Display, Write};

/// A configuration in the making.
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

    /// Everything goes to one upstream, by a route named `all`.
    pub fn to(upstream: &Upstream) -> Self {
        Self::to_address(upstream.address())
    }

    /// The same, for an upstream that is not there.
    pub fn to_address(address: impl Display) -> Self {
        Self::new().upstream("service", &[address]).route("all", "path_prefix: /", "service")
    }

    /// Adds an upstream with these endpoints, each as `host:port`.
    pub fn upstream(mut self, name: &str, endpoints: &[impl Display]) -> Self {
        let list: Vec<_> = endpoints.iter().map(|endpoint| format!("\"{endpoint}\"")).collect();
        self.upstreams.push(format!("  {name}:\n    endpoints: [{}]\n", list.join(", ")));
        self
    }

    /// Something else in the text of the last upstream.
    pub fn replacing(mut self, this: &str, by: &str) -> Self {
        if let Some(upstream) = self.upstreams.last_mut() {
            *upstream = upstream.replace(this, by);
        }
        self
    }

    /// A further line of the last upstream.
    pub fn speaking(mut self, line: &str) -> Self {
        if let Some(upstream) = self.upstreams.last_mut() {
            let _ = writeln!(upstream, "    {line}");
        }
        self
    }

    /// An upstream whose endpoints have weights.
    pub fn weighted(mut self, name: &str, endpoints: &[(&Upstream, u32)]) -> Self {
        let mut text = format!("  {name}:\n    endpoints:\n");
        for (upstream, weight) in endpoints {
            let address = upstream.address();
            let _ = writeln!(text, "      - {{address: \"{address}\", weight: {weight}}}");
        }
        self.upstreams.push(text);
        self
    }

    /// A route; `matches` is what stands between the braces of `match: {…}`.
    pub fn route(mut self, name: &str, matches: &str, upstream: &str) -> Self {
        self.routes.push(format!(
            "  - name: {name}\n    match: {{{matches}}}\n    upstream: {upstream}\n"
        ));
        self
    }

    /// A route that leads to no upstream: `answer` is the line that says what it does.
    pub fn answer(mut self, name: &str, matches: &str, answer: &str) -> Self {
        self.routes.push(format!("  - name: {name}\n    match: {{{matches}}}\n    {answer}\n"));
        self
    }

    /// A further line of the last route.
    pub fn with(mut self, line: &str) -> Self {
        if let Some(route) = self.routes.last_mut() {
            let _ = writeln!(route, "    {line}");
        }
        self
    }

    /// A further line of the listener.
    pub fn listening(mut self, line: &str) -> Self {
        self.listener.push(format!("    {line}\n"));
        self
    }

    /// A section at the top.
    pub fn top(mut self, section: &str) -> Self {
        self.top.push(format!("{section}\n"));
        self
    }

    /// The section `cors` with these origins.
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

    /// A gateway that runs it.
    pub async fn start(&self) -> Gateway {
        Gateway::start(self).await
    }
}
