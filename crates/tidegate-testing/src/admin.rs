//! A client of a gateway's admin endpoint. It does not know what a test checks.

use super::cli::{Cli, cli};
use super::metrics::Metrics;
use super::ports::free_port;
use reqwest::{Method, Response};
use serde_json::Value;
use std::path::Path;

/// The token of the admin endpoint, needed for changes.
pub const TOKEN: &str = "0123456789abcdef-token";

/// The admin endpoint of a gateway under test.
pub struct Admin(u16);

impl Default for Admin {
    fn default() -> Self {
        Self::new()
    }
}

impl Admin {
    /// An admin endpoint on a free port.
    pub fn new() -> Self {
        Self(free_port())
    }

    /// The section of the configuration.
    pub fn section(&self) -> String {
        format!("admin: {{address: \"{}\", token: {TOKEN}}}", self.address())
    }

    /// Its address, as `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.0)
    }

    /// Sends a GET and returns the JSON body.
    pub async fn get(&self, target: &str) -> Value {
        let response = self.send(Method::GET, target, None).await;
        assert_eq!(response.status(), 200, "{target}");
        response.json().await.expect("JSON")
    }

    /// Scrapes the metrics.
    pub async fn metrics(&self) -> Metrics {
        let response = self.send(Method::GET, "/metrics", None).await;
        Metrics::parse(&response.text().await.expect("text"))
    }

    /// Sends a request, with a token or without.
    pub async fn send(&self, method: Method, target: &str, token: Option<&str>) -> Response {
        let url = format!("http://{}{target}", self.address());
        let request = reqwest::Client::new().request(method, url);
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.expect("an answer")
    }

    /// Runs `tidegate` against it.
    pub async fn cli(&self, folder: &Path, arguments: &[&str]) -> Cli {
        let address = self.address();
        let environment = [("TIDEGATE_ADMIN", &*address), ("TIDEGATE_ADMIN_TOKEN", TOKEN)];
        cli(folder, arguments, &environment).await
    }
}
