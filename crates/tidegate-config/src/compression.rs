//! The section `compression`, as written. It knows nothing of the encoders.

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

/// Compresses responses for clients that accept it (`Accept-Encoding`, RFC 9110, section 12.5.3).
/// Server-sent events, responses that are already encoded, partial content and `Cache-Control:
/// no-transform` are never compressed. If a page contains a secret (such as a CSRF token) and
/// repeats input of the request, an attacker may guess the secret from the compressed size
/// (BREACH): leave compression off there.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Compression {
    /// Codings in order of preference: the first one is used if a client prefers several equally.
    pub algorithms: Option<Spanned<Vec<Coding>>>,
    /// Minimum size of a response; a response without a length is always compressed.
    pub min_size: Option<ByteSize>,
    /// Media types to compress: `text/html`, `text/*`, or `*/*+json` for all types with this
    /// ending.
    pub types: Option<Vec<Spanned<String>>>,
    /// Compression level of each coding; a higher level takes more time.
    pub levels: Levels,
}

/// Compression level of each coding.
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
