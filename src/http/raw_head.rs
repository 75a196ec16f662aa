//! The head of a request before Pingora's parser has it: where it ends, and what is wrong with it.

use super::host;
use super::path::is_to_be_encoded;
use bytes::BytesMut;
use http::StatusCode;
use std::mem::MaybeUninit;

/// The most bytes of a head; Pingora takes no more.
pub const MAX_HEAD: usize = 1 << 20;

/// Up to so many bytes, what is no head is told from one that is not whole.
const MAX_EARLY: usize = 16 * 1024;

/// The most fields of a head that are looked at; Pingora takes no more.
const MAX_FIELDS: usize = 256;

/// How a connection over HTTP/2 begins (RFC 9113, section 3.4).
pub const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What it is answered with.
    pub status: StatusCode,
    /// In words for the client's developer.
    pub reason: &'static str,
}

impl Fault {
    /// A 400 for this reason.
    pub const fn bad(reason: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, reason }
    }

    const fn too_large(reason: &'static str) -> Self {
        Self { status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, reason }
    }
}

/// What is said where nothing more is known.
pub const MALFORMED: Fault = Fault::bad("the request is malformed");

/// What is said of a head without an end.
pub const TOO_LARGE: Fault = Fault::too_large("the request's head is too large");

/// What is said to a client that ends its side within a head.
pub const CUT_OFF: Fault = Fault::bad("the connection ended within the request's head");

/// Whether a head is whole, or the beginning of HTTP/2 is, where that may come.
pub fn is_complete(head: &[u8], may_be_h2: bool) -> bool {
    if may_be_h2 && H2_PREFACE.starts_with(head) {
        return head.len() == H2_PREFACE.len();
    }
    (may_be_h2 && head.starts_with(H2_PREFACE)) || is_whole(head)
}

/// Whether nothing is missing of a head, were it only because it is none.
pub fn is_whole(head: &[u8]) -> bool {
    head.ends_with(b"\r\n\r\n")
        || parse(head, |parsed, _| !matches!(parsed, Ok(httparse::Status::Partial)))
}

/// Whether a head is whole that was not before its last bytes came, so many of them.
pub fn became_whole(head: &[u8], new: usize) -> bool {
    let tail = head.get(head.len().saturating_sub(new + 3)..).unwrap_or_default();
    let may_end =
        || tail.windows(2).any(|it| it == b"\n\n") || tail.windows(3).any(|it| it == b"\n\r\n");
    (head.len() <= MAX_EARLY || may_end()) && is_whole(head)
}

/// Whether this is the whole head of a request, where it may also be the rest of one.
pub fn is_request(head: &[u8]) -> bool {
    let mut prepared = BytesMut::from(head);
    prepare(&mut prepared).is_ok()
        && parse(&prepared, |parsed, _| matches!(parsed, Ok(httparse::Status::Complete(_))))
}

/// How long the head is that these bytes begin with, and the body by its Content-Length.
pub fn extent(bytes: &[u8]) -> Option<(usize, u64)> {
    parse(bytes, |parsed, request| {
        let Ok(httparse::Status::Complete(length)) = parsed else { return None };
        let mut fields = request.headers.iter();
        let body = fields.find(|field| field.name.eq_ignore_ascii_case("content-length"));
        let body =
            body.and_then(|field| std::str::from_utf8(field.value).ok()?.trim().parse().ok());
        Some((length, body.unwrap_or_default()))
    })
}

fn parse<T>(
    head: &[u8],
    judge: impl FnOnce(httparse::Result<usize>, &httparse::Request<'_, '_>) -> T,
) -> T {
    let mut space = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_request_with_uninit_headers(
        &mut request,
        head,
        &mut space,
    );
    judge(parsed, &request)
}

/// The request line (RFC 9112, section 3) without its end, and where it begins.
fn request_line(head: &[u8]) -> Option<(usize, &[u8])> {
    // Section 2.2 lets empty lines stand before it.
    let start = head.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let rest = head.get(start..)?;
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let line = rest.get(..end)?;
    Some((start, line.strip_suffix(b"\r").unwrap_or(line)))
}

/// Whether something of a request line is to be encoded; a line that is none is refused.
///
/// Pingora would mend a line with spaces and control characters, which RFC 9112, section 3.2, has refused, and
/// refuse some that are harmless.
fn is_odd(line: &[u8]) -> Result<bool, Fault> {
    let (mut spaces, mut is_odd, mut is_query) = (0, false, false);
    for &byte in line {
        if byte.is_ascii_control() {
            return Err(Fault::bad("the request line has a control character"));
        }
        spaces += usize::from(byte == b' ');
        is_query |= byte == b'?';
        is_odd |= is_to_be_encoded(byte, is_query);
    }
    match spaces {
        2 => Ok(is_odd),
        _ => Err(Fault::bad(
            "the request line must be a method, a target and a version, with one space between them",
        )),
    }
}

/// Whether a head can go to Pingora as it came.
pub fn is_plain(head: &[u8]) -> bool {
    request_line(head).is_some_and(|(_, line)| {
        let mut parts = line.split(|byte| *byte == b' ');
        let is_origin_form = parts.nth(1).is_some_and(|target| target.starts_with(b"/"));
        is_origin_form && is_odd(line) == Ok(false)
    })
}

/// Gives the host of an absolute target the spelling that `Host` has, where both name the same: case, the
/// scheme's own port and a dot at the end make no difference (RFC 9110, section 4.2.3). Pingora compares bytes.
fn spell_host_once(head: &mut BytesMut) {
    let Some((start, line)) = request_line(head) else { return };
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target)) = (parts.next(), parts.next()) else { return };
    if target.starts_with(b"/") {
        return;
    }
    let Ok(target) = std::str::from_utf8(target) else { return };
    let Some((scheme, rest)) = target.split_once("://") else { return };
    let default_port = match () {
        () if scheme.eq_ignore_ascii_case("http") => ":80",
        () if scheme.eq_ignore_ascii_case("https") => ":443",
        () => return,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let normal = |written: &str| {
        let canonical = host::canonical(written)?;
        let host = canonical.strip_suffix(default_port).unwrap_or(&canonical);
        Some(host.to_ascii_lowercase())
    };
    let host = parse(head, |_, request| {
        let mut hosts = request.headers.iter().filter(|it| it.name.eq_ignore_ascii_case("host"));
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

/// Percent-encodes in the target what can't be read in two ways; refuses a request line that is none.
pub fn prepare(head: &mut BytesMut) -> Result<(), Fault> {
    encode_target(head)?;
    name_host(head);
    spell_host_once(head);
    Ok(())
}

/// Adds the `Host` that a request over HTTP/1.0 with an absolute target may lack: the target's authority is the host
/// that it asks for (RFC 9112, section 3.2.2), and Pingora keeps the path alone. HTTP/1.1 requires `Host`.
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
        request.headers.iter().any(|it| it.name.eq_ignore_ascii_case("host"))
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

fn encode_target(head: &mut BytesMut) -> Result<(), Fault> {
    let Some((start, line)) = request_line(head) else { return Err(MALFORMED) };
    if !is_odd(line)? {
        return Ok(());
    }
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let (Some(method), Some(target)) = (parts.next(), parts.next()) else { return Err(MALFORMED) };
    let begin = start + method.len() + 1;
    let mut prepared = BytesMut::with_capacity(head.len() + 3 * target.len());
    prepared.extend_from_slice(head.get(..begin).unwrap_or_default());
    let mut is_query = false;
    for &byte in target {
        is_query |= byte == b'?';
        if is_to_be_encoded(byte, is_query) {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or(b'0');
            prepared.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
        } else {
            prepared.extend_from_slice(&[byte]);
        }
    }
    prepared.extend_from_slice(head.get(begin + target.len()..).unwrap_or_default());
    *head = prepared;
    Ok(())
}

/// Why Pingora's parser refuses a head, as far as can be told.
pub fn fault(head: &[u8]) -> Option<Fault> {
    parse(head, |parsed, request| match parsed {
        Ok(httparse::Status::Complete(_)) => fault_of_fields(request),
        Ok(httparse::Status::Partial) => Some(TOO_LARGE),
        Err(httparse::Error::TooManyHeaders) => {
            Some(Fault::too_large("the request has too many header fields"))
        }
        Err(error) => Some(Fault::bad(match error {
            httparse::Error::Version => "the request's version is not HTTP/1.0 or HTTP/1.1",
            httparse::Error::HeaderName => "a header's name has a character that no name has",
            httparse::Error::HeaderValue => "a header's value has a control character",
            httparse::Error::NewLine => "a line of the request does not end as it must",
            httparse::Error::Token => "the request line has a character that may not stand there",
            _ => MALFORMED.reason,
        })),
    })
}

/// What Pingora asks of a head's fields.
fn fault_of_fields(request: &httparse::Request<'_, '_>) -> Option<Fault> {
    let all = |name: &'static str| {
        let same = request.headers.iter().filter(move |it| it.name.eq_ignore_ascii_case(name));
        same.map(|field| field.value)
    };
    let target = request.path.unwrap_or_default();
    let last_coding = all("transfer-encoding").next_back();
    let is_chunked = |value: &[u8]| {
        let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
        last.trim_ascii().eq_ignore_ascii_case(b"chunked")
    };
    let has_at = |value: &[u8]| value.contains(&b'@');
    let reason = match last_coding {
        _ if all("host").count() > 1 => "there is more than one Host header",
        _ if all("host").any(has_at) => "Host has a user, which no host has",
        _ if !target.starts_with('/') && target.contains("://") && has_at(target.as_bytes()) => {
            "the request's target has a user"
        }
        _ if !target.starts_with('/') && target.contains(':') => {
            "the request's target and its Host header don't name the same host"
        }
        Some(_) if request.version == Some(0) => "HTTP/1.0 knows no Transfer-Encoding",
        Some(coding) if !is_chunked(coding) => "the last Transfer-Encoding is not chunked",
        None if all("content-length").next().is_some() => {
            "Content-Length must be given once, as a number"
        }
        _ => return None,
    };
    Some(Fault::bad(reason))
}

/// The method and the target of a head, as far as they can be read.
pub fn named(head: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, line) = request_line(head)?;
    let mut parts = line.split(|byte| *byte == b' ');
    Some((parts.next()?, parts.next()?))
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
    fn rfc3986_2_what_no_url_has_is_encoded() {
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
    fn rfc9112_3_a_request_line_has_three_parts() {
        for line in ["GET /a b HTTP/1.1", "GET  / HTTP/1.1", "GET /", "", "GET / HTTP/1.1 "] {
            assert!(prepared(format!("{line}\r\n\r\n").as_bytes()).is_err(), "{line}");
        }
        for line in ["GET /\t HTTP/1.1", "GET /\u{1} HTTP/1.1", "GET /\r HTTP/1.1", "\u{16}\u{3}"] {
            let why = prepared(format!("{line}\r\n\r\n").as_bytes());
            assert_eq!(why, Err("the request line has a control character"), "{line}");
        }
    }

    #[test]
    fn rfc9112_3_2_2_an_absolute_target_over_http_1_0_names_the_host() {
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

    #[test]
    fn a_fault_is_named() {
        let why = |head: &str| fault(head.as_bytes()).map_or("", |fault| fault.reason);
        assert_eq!(why("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "");
        for (fields, expected) in [
            ("Ho st: a", "a header's name has a character that no name has"),
            ("X: a\u{1}", "a header's value has a control character"),
            ("Host: a\r\nHost: a", "there is more than one Host header"),
            ("Host: u@a", "Host has a user, which no host has"),
            (
                "Content-Length: 1\r\nContent-Length: 2",
                "Content-Length must be given once, as a number",
            ),
            ("Transfer-Encoding: gzip", "the last Transfer-Encoding is not chunked"),
        ] {
            assert_eq!(why(&format!("GET / HTTP/1.1\r\n{fields}\r\n\r\n")), expected);
        }
        assert_eq!(
            why("GET / HTTP/3.0\r\n\r\n"),
            "the request's version is not HTTP/1.0 or HTTP/1.1"
        );
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(300));
        let many = fault(many.as_bytes()).map(|fault| fault.status.as_u16());
        assert_eq!(many, Some(431));
        assert!(is_whole(b"GET / HTTP/1.1\n\n") && !is_whole(b"GET / HTTP/1.1\r\nHost: a\r\n"));
    }
}
