//! Names what is wrong with a head that is rejected. Repairs nothing.

use super::{HEAD_MALFORMED, HEAD_TOO_LARGE, HeadError, MANY_HOSTS, parse, request_line};
use crate::framing::BAD_LENGTH;
use crate::header_name::lower;

/// Maximum size of a header's name, in bytes; the type that Pingora uses has room for no more.
const MAX_NAME_BYTES: usize = 65_535;

/// Why Pingora's parser rejects a head, as far as can be determined.
pub fn fault(head: &[u8]) -> Option<HeadError> {
    parse(head, |parsed, request| match parsed {
        Ok(httparse::Status::Complete(_)) => header_error(request),
        Ok(httparse::Status::Partial) => Some(HEAD_TOO_LARGE),
        Err(error) => Some(named(error)),
    })
}

/// The syntax error in the received part of a head, if there is one.
pub(super) fn syntax_error(head: &[u8]) -> Option<HeadError> {
    parse(head, |parsed, _| parsed.err().map(named))
}

fn named(error: httparse::Error) -> HeadError {
    HeadError::bad_request(match error {
        httparse::Error::TooManyHeaders => {
            return HeadError::too_large("the request has too many headers");
        }
        httparse::Error::Version => "the HTTP version of the request is not HTTP/1.0 or HTTP/1.1",
        httparse::Error::HeaderName => "a header name contains an invalid character",
        httparse::Error::HeaderValue => "a header value contains a control character",
        httparse::Error::NewLine => "a line of the request does not end with CRLF",
        httparse::Error::Token => "the request line contains an invalid character",
        httparse::Error::Status => HEAD_MALFORMED.reason,
    })
}

/// An ambiguity in a complete head that Pingora's parser accepts, although other servers could read two requests.
pub(super) fn ambiguity(head: &[u8]) -> Option<HeadError> {
    if let Some(fault) = syntax_error(head) {
        return Some(fault);
    }
    let has_bare_feed =
        head.split(|byte| *byte == b'\n').rev().skip(1).any(|line| !line.ends_with(b"\r"));
    if has_bare_feed {
        return Some(HeadError::bad_request("a line of the request ends with LF instead of CRLF"));
    }
    if request_line(head).is_some_and(|(_, line)| line.contains(&b'#')) {
        return Some(HeadError::bad_request("the request target contains a fragment (`#`)"));
    }
    parse(head, |_, request| {
        let all = |name: &'static str| {
            let same = request.headers.iter().filter(move |it| it.name.eq_ignore_ascii_case(name));
            same.map(|field| field.value)
        };
        let is_number = |value: &[u8]| {
            let digits = value.trim_ascii();
            digits.iter().all(u8::is_ascii_digit)
                && std::str::from_utf8(digits).is_ok_and(|digits| digits.parse::<u64>().is_ok())
        };
        let mut lengths = all(lower::CONTENT_LENGTH);
        match (lengths.next(), lengths.next()) {
            (None, _) => None,
            // RFC 9112, section 6.1, lets a server refuse both.
            (Some(_), _) if all(lower::TRANSFER_ENCODING).next().is_some() => {
                Some("the request has both Content-Length and Transfer-Encoding")
            }
            (Some(only), None) if is_number(only) => None,
            // RFC 9110, section 8.6, would have equal lengths merged; what the upstream makes of them nobody knows.
            _ => Some(BAD_LENGTH),
        }
    })
    .map(HeadError::bad_request)
}

/// The fault for which Pingora rejects the headers of a head.
fn header_error(request: &httparse::Request<'_, '_>) -> Option<HeadError> {
    let all = |name: &'static str| {
        let same = request.headers.iter().filter(move |it| it.name.eq_ignore_ascii_case(name));
        same.map(|field| field.value)
    };
    let target = request.path.unwrap_or_default();
    let last_coding = all(lower::TRANSFER_ENCODING).next_back();
    let is_chunked = |value: &[u8]| {
        let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
        last.trim_ascii().eq_ignore_ascii_case(b"chunked")
    };
    let has_at = |value: &[u8]| value.contains(&b'@');
    let reason = match last_coding {
        _ if request.headers.iter().any(|field| field.name.len() > MAX_NAME_BYTES) => {
            return Some(HeadError::too_large("a header name is too long"));
        }
        _ if all(lower::HOST).count() > 1 => MANY_HOSTS,
        _ if all(lower::HOST).any(has_at) => {
            "the Host header contains a user name (`user@`), which is not allowed"
        }
        _ if !target.starts_with('/') && target.contains("://") && has_at(target.as_bytes()) => {
            "the request target contains a user name (`user@`), which is not allowed"
        }
        _ if !target.starts_with('/') && target.contains(':') => {
            "the request target and the Host header name different hosts"
        }
        Some(_) if request.version == Some(0) => {
            "an HTTP/1.0 request must not have a Transfer-Encoding header"
        }
        Some(coding) if !is_chunked(coding) => {
            "chunked is not the last coding of Transfer-Encoding"
        }
        None if all(lower::CONTENT_LENGTH).next().is_some() => BAD_LENGTH,
        _ => return None,
    };
    Some(HeadError::bad_request(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_head_gets_its_reason() {
        let why = |head: &str| fault(head.as_bytes()).map_or("", |fault| fault.reason);
        assert_eq!(why("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "");
        for (fields, expected) in [
            ("Ho st: a", "a header name contains an invalid character"),
            ("X: a\u{1}", "a header value contains a control character"),
            ("Host: a\r\nHost: a", "the request has more than one Host header"),
            ("Host: u@a", "the Host header contains a user name (`user@`), which is not allowed"),
            (
                "Content-Length: 1\r\nContent-Length: 2",
                "Content-Length must be given once, as a number",
            ),
            ("Transfer-Encoding: gzip", "chunked is not the last coding of Transfer-Encoding"),
        ] {
            assert_eq!(why(&format!("GET / HTTP/1.1\r\n{fields}\r\n\r\n")), expected);
        }
        assert_eq!(
            why("GET / HTTP/3.0\r\n\r\n"),
            "the HTTP version of the request is not HTTP/1.0 or HTTP/1.1"
        );
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(300));
        let many = fault(many.as_bytes()).map(|fault| fault.status.as_u16());
        assert_eq!(many, Some(431));
    }

    #[test]
    fn rfc9112_2_2_and_6_3_ambiguous_head_is_refused() {
        let why = |head: &str| ambiguity(head.as_bytes()).map_or("", |fault| fault.reason);
        assert_eq!(why("GET / HTTP/1.1\r\nX: #\r\nX-Content-Length: 1, 2\r\n\r\n"), "");
        assert_eq!(
            why("GET /a#b HTTP/1.1\r\n\r\n"),
            "the request target contains a fragment (`#`)"
        );
        for head in [
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
        ] {
            assert_eq!(why(head), "a line of the request ends with LF instead of CRLF", "{head:?}");
        }
        let both = "POST / HTTP/1.1\r\nTransfer-encoding: chunked\r\nCONTENT-length: 5\r\n\r\n";
        assert_eq!(why(both), "the request has both Content-Length and Transfer-Encoding");
        for fields in
            ["Content-Length: 1, 1", "Content-Length: 1\r\nContent-Length: 1", "Content-Length:"]
        {
            let head = format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n");
            assert_eq!(why(&head), "Content-Length must be given once, as a number", "{head:?}");
        }
    }
}
