//! Where a request's body ends (RFC 9112, section 6): one unambiguous answer, or an error. Reads no body.

use http::{HeaderMap, header};
use std::fmt;

/// The message for a `Content-Length` that is repeated, a list, or no number.
pub(crate) const BAD_LENGTH: &str = "Content-Length must be given once, as a number";

/// Why the end of a body is ambiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FramingError {
    /// `Content-Length` is repeated, a list, or no number.
    Length,
    /// `Transfer-Encoding` is repeated, or is not exactly `chunked`.
    Coding,
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => BAD_LENGTH,
            Self::Coding => "Transfer-Encoding must be chunked, given once",
        })
    }
}

/// Checks that both headers are unambiguous. RFC 9110, section 8.6, allows merging equal lengths, but upstreams treat
/// them differently.
pub fn check(headers: &HeaderMap) -> Result<(), FramingError> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => {}
        (Some(length), None) if is_number(length.as_bytes()) => {}
        _ => return Err(FramingError::Length),
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(FramingError::Coding),
    }
}

/// Whether the text is digits that fit into 64 bits.
fn is_number(written: &[u8]) -> bool {
    number(written).is_some()
}

fn number(written: &[u8]) -> Option<u64> {
    let is_digits = (1..=20).contains(&written.len()) && written.iter().all(u8::is_ascii_digit);
    is_digits.then(|| std::str::from_utf8(written).ok()?.parse().ok()).flatten()
}

/// Whether `Transfer-Encoding` is exactly one `chunked`.
pub fn is_chunked_once(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (Some(coding), None) => coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

/// The `Content-Length` of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseLength {
    /// The header is missing.
    None,
    /// One number, written once and without leading zeros.
    Canonical,
    /// One number, written in another way.
    Known(u64),
    /// Several numbers, or no number.
    Unclear,
}

/// Reads a response's `Content-Length`. RFC 9110, section 8.6, lets a recipient take equal values for one, which it
/// must then send on once.
pub fn response_length(headers: &HeaderMap) -> ResponseLength {
    let mut fields = headers.get_all(header::CONTENT_LENGTH).iter();
    match (fields.next(), fields.next()) {
        (None, _) => return ResponseLength::None,
        (Some(only), None) if is_canonical_number(only.as_bytes()) => {
            return ResponseLength::Canonical;
        }
        _ => {}
    }
    let fields = headers.get_all(header::CONTENT_LENGTH).iter();
    let mut length = None;
    for value in fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b',')) {
        let Some(number) = number(value.trim_ascii()) else { return ResponseLength::Unclear };
        if length.is_some_and(|length| length != number) {
            return ResponseLength::Unclear;
        }
        length = Some(number);
    }
    length.map_or(ResponseLength::Unclear, ResponseLength::Known)
}

/// Whether the text is digits without leading zeros that certainly fit into 64 bits.
fn is_canonical_number(written: &[u8]) -> bool {
    (1..=19).contains(&written.len())
        && written.iter().all(u8::is_ascii_digit)
        && (written.len() == 1 || !written.starts_with(b"0"))
}

/// Whether the request announces a body.
pub fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers
            .get(header::CONTENT_LENGTH)
            .is_some_and(|length| length.as_bytes().iter().any(|byte| *byte != b'0'))
}

/// Whether the client expects something other than `100 Continue` (RFC 9110, section 10.1.1).
/// Servers that disagree about it disagree about whether a body follows.
pub fn expects_the_unknown(headers: &HeaderMap) -> bool {
    let mut expectations = headers.get_all(header::EXPECT).iter();
    match (expectations.next(), expectations.next()) {
        (None, _) => false,
        (Some(one), None) => !one.as_bytes().eq_ignore_ascii_case(b"100-continue"),
        _ => true,
    }
}

/// Whether no request may follow on the connection.
///
/// That is the case after `close` in any `Connection` header (RFC 9112, section 9.6; Pingora reads only the first), and
/// after a chunked body: Pingora accepts some malformed chunks (docs/hardening.md), so the bytes after them may have been
/// meant as a part of the body.
pub fn closes_connection(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers
            .get_all(header::CONNECTION)
            .iter()
            .skip(1)
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    fn check_content_lengths(values: &[&'static str]) -> Result<(), FramingError> {
        let fields: Vec<_> = values.iter().map(|value| ("content-length", *value)).collect();
        check(&headers(&fields))
    }

    fn check_transfer_encodings(values: &[&'static str]) -> Result<(), FramingError> {
        let fields: Vec<_> = values.iter().map(|value| ("transfer-encoding", *value)).collect();
        check(&headers(&fields))
    }

    #[test]
    fn rfc9112_6_3_ambiguous_request_framing_is_refused() {
        assert_eq!(check_content_lengths(&[]), Ok(()));
        assert_eq!(check_content_lengths(&["5"]), Ok(()));
        assert_eq!(check_content_lengths(&["005"]), Ok(()));
        assert_eq!(check_content_lengths(&["18446744073709551615"]), Ok(()));
        assert_eq!(check_content_lengths(&["18446744073709551616"]), Err(FramingError::Length));
        for bad in [&["5", "5"][..], &["5, 5"], &["+5"], &[""], &["000000000000000000005"]] {
            assert_eq!(check_content_lengths(bad), Err(FramingError::Length), "{bad:?}");
        }
        assert_eq!(check_transfer_encodings(&["chunked"]), Ok(()));
        assert_eq!(check_transfer_encodings(&["Chunked"]), Ok(()));
        for bad in [&["chunked", "chunked"][..], &["gzip, chunked"], &["identity"], &[""]] {
            assert_eq!(check_transfer_encodings(bad), Err(FramingError::Coding), "{bad:?}");
        }
    }

    #[test]
    fn rfc9110_8_6_equal_response_lengths_are_merged() {
        let read = |values: &[&'static str]| {
            let fields: Vec<_> = values.iter().map(|value| ("content-length", *value)).collect();
            response_length(&headers(&fields))
        };
        assert_eq!(read(&[]), ResponseLength::None);
        for plain in ["0", "5", "1234567890123456789"] {
            assert_eq!(read(&[plain]), ResponseLength::Canonical, "{plain}");
        }
        for merged in [&["5", "5"][..], &["5, 5"], &["5,5", "005"], &["005"]] {
            assert_eq!(read(merged), ResponseLength::Known(5), "{merged:?}");
        }
        assert_eq!(read(&["18446744073709551615"]), ResponseLength::Known(u64::MAX));
        for bad in [&["5", "6"][..], &["5, 6"], &["5,"], &[""], &["+5"], &["5", ""], &["-1"]] {
            assert_eq!(read(bad), ResponseLength::Unclear, "{bad:?}");
        }
        assert_eq!(read(&["18446744073709551616"]), ResponseLength::Unclear);
    }

    #[test]
    fn rfc9112_6_1_response_is_chunked_only_by_one_chunked_coding() {
        let chunked = |values: &[&'static str]| {
            let fields: Vec<_> = values.iter().map(|it| ("transfer-encoding", *it)).collect();
            is_chunked_once(&headers(&fields))
        };
        assert!(chunked(&["chunked"]) && chunked(&["Chunked"]));
        for bad in [&["chunked", "chunked"][..], &["chunked, chunked"], &["identity"], &[""]] {
            assert!(!chunked(bad), "{bad:?}");
        }
    }

    #[test]
    fn rfc9110_10_1_1_only_100_continue_is_a_known_expectation() {
        assert!(!expects_the_unknown(&headers(&[])));
        assert!(!expects_the_unknown(&headers(&[("expect", "100-Continue")])));
        assert!(expects_the_unknown(&headers(&[("expect", "")])));
        assert!(expects_the_unknown(&headers(&[("expect", "x 100-continue")])));
        assert!(expects_the_unknown(&headers(&[("expect", "100-continue"), ("expect", "a")])));
    }

    #[test]
    fn rfc9112_9_6_close_is_found_anywhere_in_connection() {
        assert!(!closes_connection(&headers(&[
            ("connection", "keep-alive"),
            ("connection", "x-a")
        ])));
        assert!(closes_connection(&headers(&[
            ("connection", "keep-alive"),
            ("connection", "x-a, Close ")
        ])));
        assert!(closes_connection(&headers(&[("transfer-encoding", "chunked")])));
    }

    #[test]
    fn content_length_of_zero_is_no_body() {
        assert!(!has_body(&headers(&[])));
        assert!(!has_body(&headers(&[("content-length", "00")])));
        assert!(has_body(&headers(&[("content-length", "10")])));
        assert!(has_body(&headers(&[("transfer-encoding", "chunked")])));
    }
}
