use super::{ByteSize, Duration};
use schemars::JsonSchema;
use serde::Deserialize;

/// Bounds on what a client may send.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of all header fields of a request together; more is answered 431.
    /// Default: `64KiB`.
    pub header_size: Option<ByteSize>,
    /// Header fields of a request; more are answered 431. Default: `100`.
    #[schemars(range(min = 1, max = 256))]
    pub header_count: Option<usize>,
    /// Bytes of path and query; more are answered 414. Default: `16KiB`.
    pub uri_size: Option<ByteSize>,
    /// Bytes of a request's body; more are answered 413. A route may set its own.
    /// Default: no limit, for bodies are streamed.
    pub body_size: Option<ByteSize>,
    /// How long the head of a connection's first request may take from its first byte on; longer
    /// is answered 408. It bounds HTTP/1. Default: `30s`.
    pub header_timeout: Option<Duration>,
    /// How long a connection may lie idle before a request, in whole seconds. It bounds HTTP/1.
    /// Default: `60s`.
    pub idle_timeout: Option<Duration>,
}
