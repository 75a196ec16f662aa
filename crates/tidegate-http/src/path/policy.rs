//! Which spellings of a path a route forwards, and why a path is refused. Reads no path.

use crate::stable_hash::{StableHash, StableHasher};
use std::fmt;

/// Why a path is not forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathError {
    /// It does not begin with `/`.
    NotAbsolute,
    /// A `%` without two hexadecimal digits behind it (RFC 3986, section 2.1).
    BadEscape,
    /// `%2F`, `%5C` or a raw backslash: servers disagree on what they mean.
    Ambiguous,
    /// NUL or another control character, raw or encoded.
    Control,
    /// A dot segment hidden behind path parameters, such as `/..;/`.
    HiddenDotSegment,
    /// An empty segment hidden behind path parameters, such as `/;a/b`.
    HiddenEmptySegment,
    /// It is not UTF-8.
    NotUtf8,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "the path does not begin with `/`",
            Self::BadEscape => "a `%` in the path is not followed by two hexadecimal digits",
            Self::Ambiguous => "the path contains an encoded slash (`%2F`) or a backslash",
            Self::Control => "the path contains a control character",
            Self::HiddenDotSegment => {
                "the path contains a dot segment with parameters, such as `/..;/`"
            }
            Self::HiddenEmptySegment => {
                "the path contains an empty segment with parameters, such as `/;a/`"
            }
            Self::NotUtf8 => "the path is not valid UTF-8",
        })
    }
}

impl PathError {
    /// The setting of a route that lets such a path pass, if there is one.
    pub fn setting(self) -> Option<&'static str> {
        match self {
            Self::Ambiguous => Some("path: {encoded_slash: keep}"),
            Self::HiddenDotSegment => Some("path: {dot_segments: keep}"),
            Self::HiddenEmptySegment => Some("path: {duplicate_slashes: keep}"),
            Self::NotAbsolute | Self::BadEscape | Self::Control | Self::NotUtf8 => None,
        }
    }
}

/// What becomes of `%2F`, `%5C` and `\` in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EncodedSlash {
    /// The request is answered 400.
    Reject,
    /// It is passed on as it came.
    Keep,
    /// It becomes `/`.
    Decode,
}

impl StableHash for EncodedSlash {
    fn feed(&self, hasher: &mut StableHasher) {
        match self {
            Self::Reject => hasher.number(0),
            Self::Keep => hasher.number(1),
            Self::Decode => hasher.number(2),
        }
    }
}

/// What of a path's spelling is passed on. Routing uses the normal form, whatever this says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PathPolicy {
    /// Encoded slashes and backslashes.
    pub encoded_slash: EncodedSlash,
    /// Whether `//` is passed on; else it becomes `/`.
    pub keeps_duplicate_slashes: bool,
    /// Whether `.` and `..` are passed on; else they are resolved.
    pub keeps_dot_segments: bool,
}

crate::stable_hash!(PathPolicy { encoded_slash, keeps_duplicate_slashes, keeps_dot_segments });

impl PathPolicy {
    /// Only normal paths are passed on.
    pub const NORMAL: Self = Self {
        encoded_slash: EncodedSlash::Reject,
        keeps_duplicate_slashes: false,
        keeps_dot_segments: false,
    };

    /// Paths are passed on byte for byte.
    pub const RAW: Self = Self {
        encoded_slash: EncodedSlash::Keep,
        keeps_duplicate_slashes: true,
        keeps_dot_segments: true,
    };
}

impl fmt::Display for PathPolicy {
    /// As a configuration has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NORMAL => return f.write_str("normal"),
            Self::RAW => return f.write_str("raw"),
            _ => {}
        }
        let slash = match self.encoded_slash {
            EncodedSlash::Reject => "reject",
            EncodedSlash::Keep => "keep",
            EncodedSlash::Decode => "decode",
        };
        let duplicates = if self.keeps_duplicate_slashes { "keep" } else { "merge" };
        let dots = if self.keeps_dot_segments { "keep" } else { "resolve" };
        write!(f, "encoded_slash {slash}, duplicate_slashes {duplicates}, dot_segments {dots}")
    }
}
