use super::ByteSize;
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
}
