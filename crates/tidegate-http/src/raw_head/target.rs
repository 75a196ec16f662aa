//! Request targets that Pingora would misread: characters that must be percent-encoded, and absolute targets, whose
//! host replaces `Host`. Knows no route.

use super::{HEAD_MALFORMED, HeadError, MAX_TARGET_BYTES, TARGET_TOO_LONG, parse, request_line};
use crate::header_name::lower;
use crate::host;
use crate::path::is_to_be_encoded;
use crate::url;
use bytes::BytesMut;

/// The characters of a request line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TargetCharacters {
    Plain,
    /// Some must be percent-encoded.
    ToBeEncoded,
}

/// Checks that a complete request line is valid (RFC 9112, section 3).
///
/// Pingora would repair a line with spaces and control characters, which section 3.2 forbids, and reject some harmless
/// ones.
pub(super) fn check_line(line: &[u8]) -> Result<TargetCharacters, HeadError> {
    let characters = check_characters(line)?;
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(_), Some(target), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(HeadError::bad_request(
            "the request line must consist of method, target and version, separated by one space each",
        ));
    };
    if target.len() > MAX_TARGET_BYTES { Err(TARGET_TOO_LONG) } else { Ok(characters) }
}

/// Checks the received part of a request line.
pub(super) fn check_characters(line: &[u8]) -> Result<TargetCharacters, HeadError> {
    let (mut characters, mut is_query) = (TargetCharacters::Plain, false);
    for &byte in line {
        if byte.is_ascii_control() {
            return Err(HeadError::bad_request("the request line contains a control character"));
        }
        is_query |= byte == b'?';
        if is_to_be_encoded(byte, is_query) {
            characters = TargetCharacters::ToBeEncoded;
        }
    }
    Ok(characters)
}

/// Gives the host of an absolute target the spelling of `Host`, if both are equivalent: case, the default port and a final
/// dot make no difference (RFC 9110, section 4.2.3), but Pingora compares bytes.
fn align_target_host(head: &mut BytesMut) {
    let Some((start, line)) = request_line(head) else { return };
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target)) = (parts.next(), parts.next()) else { return };
    if target.starts_with(b"/") {
        return;
    }
    let Ok(target) = std::str::from_utf8(target) else { return };
    let Some((scheme, rest)) = target.split_once("://") else { return };
    let Some(default_port) = url::default_port_suffix(scheme) else { return };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let normal = |written: &str| {
        let canonical = host::canonical(written)?;
        let host = canonical.strip_suffix(default_port).unwrap_or(&canonical);
        Some(host.to_ascii_lowercase())
    };
    let host = parse(head, |_, request| {
        let mut hosts =
            request.headers.iter().filter(|it| it.name.eq_ignore_ascii_case(lower::HOST));
        match (hosts.next(), hosts.next()) {
            (Some(only), None) => std::str::from_utf8(only.value).ok().map(str::to_owned),
            _ => None,
        }
    });
    let is_same = |host: &String| {
        host != authority && normal(host).is_some_and(|it| normal(authority) == Some(it))
    };
    let Some(host) = host.filter(is_same) else { return };
    let begin = start + method.len() + 1 + scheme.len() + 3;
    let end = begin + authority.len();
    let mut spelt = BytesMut::with_capacity(head.len() + host.len());
    spelt.extend_from_slice(head.get(..begin).unwrap_or_default());
    spelt.extend_from_slice(host.as_bytes());
    spelt.extend_from_slice(head.get(end..).unwrap_or_default());
    *head = spelt;
}

/// Percent-encodes characters of the target where that is unambiguous; rejects an invalid request line.
pub(super) fn prepare(head: &mut BytesMut) -> Result<(), HeadError> {
    encode_target(head)?;
    name_host(head);
    align_target_host(head);
    Ok(())
}

/// Adds the `Host` that an HTTP/1.0 request with an absolute target may lack: the authority of the target is the requested
/// host (RFC 9112, section 3.2.2), and Pingora keeps only the path. HTTP/1.1 requires `Host`.
fn name_host(head: &mut BytesMut) {
    let Some((start, line)) = request_line(head) else { return };
    let mut parts = line.split(|byte| *byte == b' ');
    let target = parts.nth(1).unwrap_or_default();
    if target.starts_with(b"/") || parts.next() != Some(b"HTTP/1.0") {
        return;
    }
    let Some((_, rest)) = std::str::from_utf8(target).ok().and_then(|it| it.split_once("://"))
    else {
        return;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let has_host = parse(head, |_, request| {
        request.headers.iter().any(|it| it.name.eq_ignore_ascii_case(lower::HOST))
    });
    let Some(line_end) = head.iter().skip(start).position(|byte| *byte == b'\n') else { return };
    if has_host || authority.is_empty() {
        return;
    }
    let begin = start + line_end + 1;
    let field = format!("Host: {authority}\r\n");
    let mut named = BytesMut::with_capacity(head.len() + field.len());
    named.extend_from_slice(head.get(..begin).unwrap_or_default());
    named.extend_from_slice(field.as_bytes());
    named.extend_from_slice(head.get(begin..).unwrap_or_default());
    *head = named;
}

fn encode_target(head: &mut BytesMut) -> Result<(), HeadError> {
    let Some((start, line)) = request_line(head) else { return Err(HEAD_MALFORMED) };
    if check_line(line)? == TargetCharacters::Plain {
        return Ok(());
    }
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let (Some(method), Some(target)) = (parts.next(), parts.next()) else {
        return Err(HEAD_MALFORMED);
    };
    let begin = start + method.len() + 1;
    let mut prepared = BytesMut::with_capacity(head.len() + 3 * target.len());
    prepared.extend_from_slice(head.get(..begin).unwrap_or_default());
    let mut is_query = false;
    for &byte in target {
        is_query |= byte == b'?';
        if is_to_be_encoded(byte, is_query) {
            const HEX_DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            let digit = |value: u8| HEX_DIGITS.get(usize::from(value)).copied().unwrap_or(b'0');
            prepared.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
        } else {
            prepared.extend_from_slice(&[byte]);
        }
    }
    if prepared.len() - begin > MAX_TARGET_BYTES {
        return Err(TARGET_TOO_LONG);
    }
    prepared.extend_from_slice(head.get(begin + target.len()..).unwrap_or_default());
    *head = prepared;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(head: &[u8]) -> Result<String, &'static str> {
        let mut head = BytesMut::from(head);
        match prepare(&mut head) {
            Ok(()) => Ok(String::from_utf8_lossy(&head).into_owned()),
            Err(fault) => Err(fault.reason),
        }
    }

    #[test]
    fn rfc3986_2_characters_outside_urls_are_percent_encoded() {
        for (target, expected) in [
            (&b"/"[..], "/"),
            (b"/?q={\"a\":1}", "/?q={%22a%22:1}"),
            (b"/a`b?`", "/a%60b?`"),
            (b"/a<b>", "/a%3Cb%3E"),
            (b"/caf\xe9?q=\xc3\xa9", "/caf%E9?q=%C3%A9"),
            (b"/%22?a|b^c\\d", "/%22?a|b^c\\d"),
        ] {
            for (before, behind) in [("", "\r\n\r\n"), ("\r\n", "\r\nHost: a\"<\r\n\r\nbody<>")] {
                let head = [before.as_bytes(), b"GET ", target, b" HTTP/1.1", behind.as_bytes()];
                let expected = format!("{before}GET {expected} HTTP/1.1{behind}");
                assert_eq!(prepared(&head.concat()), Ok(expected));
            }
        }
    }

    #[test]
    fn rfc9112_3_malformed_request_line_is_refused() {
        for line in ["GET /a b HTTP/1.1", "GET  / HTTP/1.1", "GET /", "", "GET / HTTP/1.1 "] {
            assert!(prepared(format!("{line}\r\n\r\n").as_bytes()).is_err(), "{line}");
        }
        for line in ["GET /\t HTTP/1.1", "GET /\u{1} HTTP/1.1", "GET /\r HTTP/1.1", "\u{16}\u{3}"] {
            let why = prepared(format!("{line}\r\n\r\n").as_bytes());
            assert_eq!(why, Err("the request line contains a control character"), "{line}");
        }
    }

    #[test]
    fn rfc9112_3_2_2_http10_absolute_target_sets_the_missing_host() {
        let absolute = "GET http://a.test:81/x HTTP/1.0\r\n";
        let named = format!("{absolute}Host: a.test:81\r\n\r\n");
        assert_eq!(prepared(format!("{absolute}\r\n").as_bytes()), Ok(named));
        for head in [
            "GET http://a.test/x HTTP/1.1\r\n\r\n",
            "GET http://a.test/x HTTP/1.0\r\nHost: b.test\r\n\r\n",
            "GET /x HTTP/1.0\r\n\r\n",
        ] {
            assert_eq!(prepared(head.as_bytes()), Ok(head.to_owned()));
        }
    }
}
