//! Decides which responses are compressed, and how. It must not know who sends them.
//!
//! Pingora's own module is not used: it ignores quality values, compresses server-sent events and partial content,
//! delays what an upstream streams, and leaves a Brotli stream unfinished.

mod brotli_segment;
mod encoder;

pub(crate) use encoder::Encoder;

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName};
use pingora::http::ResponseHeader;
use tidegate_http::accept::EVENT_STREAM;
use tidegate_http::encoding::Coding;
use tidegate_http::header_name;
use tidegate_http::stable_hash;
use tidegate_http::stable_hash::{StableHash, StableHasher};

/// Which responses of a route are compressed, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Compression {
    /// In order of preference, for clients that accept several equally.
    pub codings: Vec<Coding>,
    /// Minimum size of a body, in bytes; smaller ones are not compressed.
    pub min_size: u64,
    /// The media types that are compressed.
    pub types: Vec<MediaRange>,
    /// How hard each coding tries.
    pub levels: Levels,
}

stable_hash!(Compression { codings, min_size, types, levels });

/// How hard each coding tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Levels {
    /// 1 to 9.
    pub gzip: u32,
    /// 0 to 11.
    pub brotli: u32,
    /// 1 to 19.
    pub zstd: i32,
}

stable_hash!(Levels { gzip, brotli, zstd });

/// One media type, or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MediaRange {
    /// `type/subtype`.
    Exact(String),
    /// `type/*`, kept with its slash.
    MainType(String),
    /// `*/*+suffix`, kept with its plus (RFC 6838, section 4.2.8).
    Suffix(String),
}

impl StableHash for MediaRange {
    fn feed(&self, hasher: &mut StableHasher) {
        match self {
            Self::Exact(range) => (0_u8, range).feed(hasher),
            Self::MainType(range) => (1_u8, range).feed(hasher),
            Self::Suffix(range) => (2_u8, range).feed(hasher),
        }
    }
}

impl MediaRange {
    /// `None` when it is none.
    pub(crate) fn parse(written: &str) -> Option<Self> {
        let written = written.to_ascii_lowercase();
        if let Some(suffix) = written.strip_prefix("*/*") {
            return is_token(suffix.strip_prefix('+')?).then(|| Self::Suffix(suffix.to_owned()));
        }
        let (main, sub) = written.split_once('/')?;
        match sub {
            "*" if is_token(main) => Some(Self::MainType(format!("{main}/"))),
            _ if is_token(main) && is_token(sub) => Some(Self::Exact(written)),
            _ => None,
        }
    }

    fn matches(&self, media_type: &str) -> bool {
        match self {
            Self::Exact(exact) => media_type == exact,
            Self::MainType(main) => media_type.starts_with(main.as_str()),
            Self::Suffix(suffix) => media_type.ends_with(suffix.as_str()),
        }
    }
}

fn is_token(text: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token)
}

impl Compression {
    /// Whether this response is compressed for clients that accept it.
    pub(crate) fn compresses(&self, response: &ResponseHeader) -> bool {
        let headers = &response.headers;
        let is_whole = !matches!(
            response.status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
        ) && !headers.contains_key(header::CONTENT_RANGE);
        let is_long = length(headers).is_none_or(|length| length >= self.min_size);
        is_whole
            && is_long
            && !headers.contains_key(header::CONTENT_ENCODING)
            && !forbids_transformation(headers)
            && self.takes_type(headers)
    }

    fn takes_type(&self, headers: &HeaderMap) -> bool {
        let written = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let Some(written) = written else { return false };
        let media_type = written.split(';').next().unwrap_or_default().trim();
        // Lower case in most cases, so that nothing is copied.
        let lower;
        let media_type = if media_type.bytes().any(|byte| byte.is_ascii_uppercase()) {
            lower = media_type.to_ascii_lowercase();
            &lower
        } else {
            media_type
        };
        // Events are small, must not wait for one another, and come for hours.
        media_type != EVENT_STREAM && self.types.iter().any(|one| one.matches(media_type))
    }
}

/// Headers with digests of the uncompressed bytes, which no longer match after compression (RFC 9530, sections 2
/// and 3; RFC 3230; RFC 1864).
pub(crate) const DIGEST_HEADERS: [HeaderName; 4] = [
    header_name::CONTENT_DIGEST,
    header_name::REPR_DIGEST,
    header_name::DIGEST,
    header_name::CONTENT_MD5,
];

/// The body's length, if it is known.
pub(crate) fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// Whether `Cache-Control` has `no-transform` (RFC 9111, section 5.2.2.6).
fn forbids_transformation(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(header::CACHE_CONTROL).iter();
    // What it is said with, and what is said beside it, takes nothing from it (RFC 9110, section 7.7).
    fields.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).any(|directive| {
        let name = directive.split(|byte| *byte == b'=').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(b"no-transform")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compression() -> Compression {
        let types = ["text/*", "application/json", "*/*+json"];
        Compression {
            codings: vec![Coding::Gzip],
            min_size: 100,
            types: types.iter().filter_map(|one| MediaRange::parse(one)).collect(),
            levels: Levels { gzip: 5, brotli: 4, zstd: 3 },
        }
    }

    fn compresses_response(status: u16, fields: &[(&'static str, &'static str)]) -> bool {
        let mut head = ResponseHeader::build(status, None).expect("a response");
        for (name, value) in fields {
            head.append_header(*name, *value).expect("a field");
        }
        compression().compresses(&head)
    }

    #[test]
    fn long_text_responses_are_compressed() {
        let html = ("Content-Type", "text/html; charset=utf-8");
        assert!(compresses_response(200, &[html]));
        assert!(compresses_response(404, &[html, ("Content-Length", "100")]));
        assert!(!compresses_response(200, &[html, ("Content-Length", "99")]));
        assert!(compresses_response(200, &[("Content-Type", "Application/JSON")]));
        assert!(compresses_response(200, &[("Content-Type", "application/problem+json")]));
        for other in ["image/png", "text", "", "application/jsonx", "multipart/form-data"] {
            assert!(!compresses_response(200, &[("Content-Type", other)]), "{other}");
        }
        assert!(!compresses_response(200, &[]));
    }

    #[test]
    fn partial_encoded_and_streamed_responses_are_not_compressed() {
        let html = ("Content-Type", "text/html");
        for status in [204, 205, 206, 304] {
            assert!(!compresses_response(status, &[html]), "{status}");
        }
        for field in [
            ("Content-Encoding", "identity"),
            ("Cache-Control", "max-age=1, No-Transform"),
            ("Cache-Control", "no-transform=\"x\""),
            ("Content-Range", "bytes 0-1/2"),
            ("Content-Type", "text/event-stream"),
        ] {
            assert!(!compresses_response(200, &[field, html]), "{field:?}");
        }
    }
}
