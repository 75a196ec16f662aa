//! The head of an HTTP/1 message: its size limit, and the headers that `Connection` names (RFC 9112, section 3; RFC
//! 9110, section 7.6.1). Knows nothing of bodies.

use crate::header_name::OF_CONNECTION;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Maximum size of the head of a request or a response, in bytes. Pingora takes no more.
pub const MAX_HEAD_BYTES: usize = 1_000_000;

/// Maximum number of headers of a request or a response. Pingora takes no more.
pub const MAX_HEADER_COUNT: usize = 256;

/// Whether a value begins or ends with white space, which does not belong to it (RFC 9110, section 5.5).
pub fn is_padded(value: &HeaderValue) -> bool {
    matches!(value.as_bytes(), [b' ' | b'\t', ..] | [.., b' ' | b'\t'])
}

/// A value without the white space around it.
pub fn trimmed(value: &HeaderValue) -> HeaderValue {
    // A part of a valid value is valid.
    HeaderValue::from_bytes(value.as_bytes().trim_ascii()).unwrap_or(HeaderValue::from_static(""))
}

/// Whether a header is hop-by-hop whatever `Connection` says (RFC 9110, section 7.6.1).
pub fn is_hop_by_hop(name: &str) -> bool {
    OF_CONNECTION.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// The headers that `Connection` names as hop-by-hop, except those that frame the message and those that are hop-by-hop
/// anyway.
pub fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        // An invalid name does not affect the others.
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| !is_hop_by_hop(name.as_str()))
        .filter(|name| *name != header::TRANSFER_ENCODING && *name != header::CONTENT_LENGTH)
        .collect()
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
    fn rfc9112_3_2_target_is_a_path_or_an_http_url() {
        for target in ["/", "/a", "//a", "http://a/b", "HTTPS://a"] {
            assert!(is_target(target.as_bytes()), "{target}");
        }
        for other in ["", "a", "a:80", "*", "@a/b", "ftp://a/", "http:/a"] {
            assert!(!is_target(other.as_bytes()), "{other}");
        }
    }
}
