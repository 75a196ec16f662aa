use super::{ListenAddress, Spanned};
use schemars::JsonSchema;
use serde::Deserialize;

/// An address to accept connections on.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// IP address and port: `127.0.0.1:3000`, `0.0.0.0:80`, `[::]:80`.
    pub address: Spanned<ListenAddress>,
    /// What is spoken here. Default: `[h1]`. `h2c` is HTTP/2 without TLS, by prior knowledge
    /// (RFC 9113, section 3.3).
    #[serde(default)]
    pub protocols: Vec<Protocol>,
}

/// A protocol of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1 and HTTP/1.0.
    H1,
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
}
