//! The head of an HTTP/1 message (RFC 9112, sections 2.2 and 3; RFC 9110, section 7.6.1).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use std::fmt;

/// Why a head is refused though it could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadError {
    /// A line ends without a carriage return: another reader may see no end there.
    BareLineFeed,
    /// The target has a fragment, which is the client's own business.
    Fragment,
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BareLineFeed => "a line of the request ends with a bare line feed",
            Self::Fragment => "the request's target has a fragment",
        })
    }
}

/// Checks what a lenient parser lets through; `raw` ends with the empty line.
pub fn check(raw: &[u8]) -> Result<(), HeadError> {
    // Without an early end, so that the compiler looks at many bytes at a time.
    let (_, has_bare_feed) = raw.iter().fold((0, false), |(before, found), &byte| {
        (byte, found | ((byte == b'\n') & (before != b'\r')))
    });
    if has_bare_feed {
        return Err(HeadError::BareLineFeed);
    }
    let mut line = raw.trim_ascii_start().iter().take_while(|byte| **byte != b'\r');
    if line.any(|byte| *byte == b'#') { Err(HeadError::Fragment) } else { Ok(()) }
}

/// Whether a value begins or ends with white space, which is no part of it (RFC 9110, section 5.5).
pub fn is_padded(value: &HeaderValue) -> bool {
    matches!(value.as_bytes(), [b' ' | b'\t', ..] | [.., b' ' | b'\t'])
}

/// A value without the white space around it.
pub fn trimmed(value: &HeaderValue) -> HeaderValue {
    // A part of a value is one.
    HeaderValue::from_bytes(value.as_bytes().trim_ascii()).unwrap_or(HeaderValue::from_static(""))
}

/// Whether a header is of one connection alone whatever `Connection` says (RFC 9110, section 7.6.1).
pub fn is_of_connection(name: &str) -> bool {
    let known = ["connection", "upgrade", "keep-alive", "proxy-connection", "te", "http2-settings"];
    known.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// The fields that `Connection` says are of this connection alone, but those that frame the message,
/// and those that are so anyway.
pub fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|name| !is_of_connection(name))
        .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
        .filter(|name| *name != header::TRANSFER_ENCODING && *name != header::CONTENT_LENGTH)
        .collect()
}

/// Whether a head has the field `Content-Length`, whatever a parser has made of it.
pub fn has_length(raw: &[u8]) -> bool {
    const FIELD: &[u8] = b"\ncontent-length:";
    raw.windows(FIELD.len()).any(|window| window.eq_ignore_ascii_case(FIELD))
}

/// Whether a target is in origin-form, or in absolute-form with a scheme that is served
/// (RFC 9112, section 3.2).
pub fn is_target(target: &[u8]) -> bool {
    let has_scheme = |scheme: &[u8]| {
        target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    target.starts_with(b"/") || has_scheme(b"http://") || has_scheme(b"https://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9112_2_2_a_line_ends_with_both() {
        assert_eq!(check(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(()));
        assert_eq!(check(b"\r\nGET / HTTP/1.1\r\nX: #\r\n\r\n"), Ok(()));
        for raw in [
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert_eq!(check(raw.as_bytes()), Err(HeadError::BareLineFeed), "{raw:?}");
        }
    }

    #[test]
    fn rfc9112_6_1_a_length_is_found_however_it_is_written() {
        assert!(has_length(b"GET / HTTP/1.1\r\nCONTENT-length: x\r\n\r\n"));
        assert!(!has_length(b"GET / HTTP/1.1\r\nX-Content-Length: 5\r\n\r\n"));
    }

    #[test]
    fn rfc9112_3_2_a_target_is_a_path_or_a_url() {
        for target in ["/", "/a", "//a", "http://a/b", "HTTPS://a"] {
            assert!(is_target(target.as_bytes()), "{target}");
        }
        for other in ["", "a", "a:80", "*", "@a/b", "ftp://a/", "http:/a"] {
            assert!(!is_target(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn rfc9112_3_2_a_target_has_no_fragment() {
        assert_eq!(check(b"GET /a#b HTTP/1.1\r\n\r\n"), Err(HeadError::Fragment));
    }
}
