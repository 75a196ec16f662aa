use super::union::short_or_long;
use super::{ByteSize, Spanned, Switch};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `on`, `off`, or what is compressed and how.
#[derive(Debug, Clone)]
pub enum CompressionSetting {
    /// `on` compresses with the defaults.
    Switch(Switch),
    /// What is compressed and how.
    Settings(Compression),
}

/// Responses are compressed for clients that accept it (`Accept-Encoding`, RFC 9110, section
/// 12.5.3). Never compressed are server-sent events, what is encoded already, partial content and
/// `Cache-Control: no-transform`. Where a page holds a secret (such as a token against CSRF) and
/// repeats what a request said, an attacker may guess the secret by the size of what is
/// compressed (BREACH): leave compression off there.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Compression {
    /// The codings, the one liked best first: it is taken when a client likes several alike.
    pub algorithms: Option<Spanned<Vec<Coding>>>,
    /// Bytes below which a response is left as it is; one that does not say its length is
    /// compressed.
    pub min_size: Option<ByteSize>,
    /// Media types that are compressed: `text/html`, `text/*`, or `*/*+json` for all that end so.
    pub types: Option<Vec<Spanned<String>>>,
    /// How hard each coding tries; more takes more time.
    pub levels: Levels,
}

/// How hard each coding tries.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Levels {
    /// `1` to `9`.
    #[schemars(range(min = 1, max = 9))]
    pub gzip: Option<u32>,
    /// `0` to `11`.
    #[schemars(range(min = 0, max = 11))]
    pub br: Option<u32>,
    /// `1` to `19`.
    #[schemars(range(min = 1, max = 19))]
    pub zstd: Option<u32>,
}

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Coding {
    /// RFC 9110, section 8.4.1.3.
    Gzip,
    /// Brotli (RFC 7932).
    Br,
    /// Zstandard (RFC 8878).
    Zstd,
}

short_or_long!(CompressionSetting: Switch(Switch) | Settings(Compression));
