//! Where a request's body ends (RFC 9112, section 6): one answer, or none is taken.

use http::{HeaderMap, header};
use std::fmt;

/// Why a body's end is in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FramingError {
    /// `Content-Length` is doubled, a list, or no number.
    Length,
    /// `Transfer-Encoding` is doubled, or something beside `chunked`.
    Coding,
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "Content-Length must be given once, as a number",
            Self::Coding => "the only Transfer-Encoding that is understood is chunked, once",
        })
    }
}

/// Checks that both fields say no more than one thing. RFC 9110, section 8.6, would have equal
/// lengths merged; what the upstream makes of them nobody knows.
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

/// Digits, and not so many that a number of 64 bits has no room for them.
fn is_number(written: &[u8]) -> bool {
    (1..=20).contains(&written.len())
        && written.iter().all(u8::is_ascii_digit)
        && std::str::from_utf8(written).is_ok_and(|digits| digits.parse::<u64>().is_ok())
}

/// Whether the request says that a body comes with it.
pub fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers
            .get(header::CONTENT_LENGTH)
            .is_some_and(|length| length.as_bytes().iter().any(|byte| *byte != b'0'))
}

/// Whether the client waits for something else than `100 Continue` (RFC 9110, section 10.1.1).
/// Servers that disagree on it disagree on whether a body comes.
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
/// RFC 9112, section 9.6: `close`, in whichever field; Pingora looks at the first alone. And
/// chunks: Pingora's reader takes some that are malformed (docs/hardening.md), so what follows
/// them may have been meant as a part of the body.
pub fn is_last(headers: &HeaderMap) -> bool {
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

    fn lengths(values: &[&'static str]) -> Result<(), FramingError> {
        let fields: Vec<_> = values.iter().map(|value| ("content-length", *value)).collect();
        check(&headers(&fields))
    }

    fn codings(values: &[&'static str]) -> Result<(), FramingError> {
        let fields: Vec<_> = values.iter().map(|value| ("transfer-encoding", *value)).collect();
        check(&headers(&fields))
    }

    #[test]
    fn rfc9112_6_3_a_body_has_one_end() {
        assert_eq!(lengths(&[]), Ok(()));
        assert_eq!(lengths(&["5"]), Ok(()));
        assert_eq!(lengths(&["005"]), Ok(()));
        assert_eq!(lengths(&["18446744073709551615"]), Ok(()));
        assert_eq!(lengths(&["18446744073709551616"]), Err(FramingError::Length));
        for bad in [&["5", "5"][..], &["5, 5"], &["+5"], &[""], &["000000000000000000005"]] {
            assert_eq!(lengths(bad), Err(FramingError::Length), "{bad:?}");
        }
        assert_eq!(codings(&["chunked"]), Ok(()));
        assert_eq!(codings(&["Chunked"]), Ok(()));
        for bad in [&["chunked", "chunked"][..], &["gzip, chunked"], &["identity"], &[""]] {
            assert_eq!(codings(bad), Err(FramingError::Coding), "{bad:?}");
        }
    }

    #[test]
    fn rfc9110_10_1_1_there_is_one_expectation() {
        assert!(!expects_the_unknown(&headers(&[])));
        assert!(!expects_the_unknown(&headers(&[("expect", "100-Continue")])));
        assert!(expects_the_unknown(&headers(&[("expect", "")])));
        assert!(expects_the_unknown(&headers(&[("expect", "x 100-continue")])));
        assert!(expects_the_unknown(&headers(&[("expect", "100-continue"), ("expect", "a")])));
    }

    #[test]
    fn rfc9112_9_6_close_may_stand_anywhere() {
        assert!(!is_last(&headers(&[("connection", "keep-alive"), ("connection", "x-a")])));
        assert!(is_last(&headers(&[("connection", "keep-alive"), ("connection", "x-a, Close ")])));
        assert!(is_last(&headers(&[("transfer-encoding", "chunked")])));
    }

    #[test]
    fn a_length_of_nothing_is_no_body() {
        assert!(!has_body(&headers(&[])));
        assert!(!has_body(&headers(&[("content-length", "00")])));
        assert!(has_body(&headers(&[("content-length", "10")])));
        assert!(has_body(&headers(&[("transfer-encoding", "chunked")])));
    }
}
