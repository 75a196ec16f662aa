//! One pass over the lines of a head: where it ends, which body it announces, and whether it needs a closer check.
//! Rejects nothing.

use super::MAX_TARGET_BYTES;
use memchr::memchr_iter;

/// What one pass over the lines of a head finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadScan {
    /// The length of the head in bytes, with its final empty line.
    pub length: usize,
    /// The body that it announces.
    pub body: AnnouncedBody,
    /// Whether it has an `Upgrade` header.
    pub is_upgrade: bool,
    /// Whether Pingora can have it unchanged; if not, [`validate`](super::validate) rejects or adapts it.
    pub is_plain: bool,
}

/// The body that a head announces (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnnouncedBody {
    /// This many bytes; 0 for no body.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// Scans the head at the beginning of these bytes; `None` if it is incomplete. Empty lines before it must be removed
/// first.
pub fn scan_head(bytes: &[u8]) -> Option<HeadScan> {
    let mut feeds = memchr_iter(b'\n', bytes);
    let line_end = feeds.next()?;
    let line = bytes.get(..line_end)?;
    let mut found = FramingHeaders::default();
    let mut ends_plainly = line.ends_with(b"\r");
    let mut start = line_end + 1;
    for feed in feeds {
        let line = bytes.get(start..feed)?;
        start = feed + 1;
        match line {
            [] | b"\r" => {
                return Some(HeadScan {
                    length: start,
                    body: found.body(),
                    is_upgrade: found.is_upgrade,
                    is_plain: ends_plainly
                        && line == b"\r"
                        && !found.is_unclear()
                        && is_plain(bytes.get(..line_end)?),
                });
            }
            [first, .., last] => {
                ends_plainly &= *last == b'\r';
                if matches!(first | 0x20, b'c' | b't' | b'u') {
                    found.record_line(line);
                }
            }
            [_] => ends_plainly = false,
        }
    }
    None
}

/// Whether these bytes may end a head, if they did not before the last `new` bytes arrived.
pub fn may_end(bytes: &[u8], new: usize) -> bool {
    let tail = bytes.get(bytes.len().saturating_sub(new + 3)..).unwrap_or_default();
    let ends = |line: &[u8]| matches!(line, [b'\n', ..] | [b'\r', b'\n', ..]);
    memchr_iter(b'\n', tail).any(|feed| tail.get(feed + 1..).is_some_and(ends))
}

/// The headers that determine where a request ends, and what may follow it.
#[derive(Debug, Default)]
struct FramingHeaders {
    length: Option<u64>,
    has_unclear_length: bool,
    is_chunked: bool,
    is_upgrade: bool,
}

impl FramingHeaders {
    fn record_line(&mut self, line: &[u8]) {
        if let Some(value) = header_value(line, b"content-length:") {
            let number = number(value);
            self.has_unclear_length |= self.length.is_some() || number.is_none();
            self.length = number;
        } else if header_value(line, b"transfer-encoding:").is_some() {
            self.is_chunked = true;
        } else if header_value(line, b"upgrade:").is_some() {
            self.is_upgrade = true;
        }
    }

    /// Whether the end of the body is ambiguous.
    fn is_unclear(&self) -> bool {
        self.has_unclear_length || (self.is_chunked && self.length.is_some())
    }

    fn body(&self) -> AnnouncedBody {
        match self.is_chunked {
            true => AnnouncedBody::Chunked,
            false => AnnouncedBody::Length(self.length.unwrap_or_default()),
        }
    }
}

/// The value of a header line, if the line begins with this name and a colon.
fn header_value<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let (begin, value) = line.split_at_checked(name.len())?;
    begin.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Whether a request line is a method, a path and a version, without anything that Pingora would change or that no server
/// should accept.
fn is_plain(line: &[u8]) -> bool {
    const VERSION: &[u8] = b" HTTP/1.1\r";
    let Some(rest) = line.strip_suffix(VERSION).or_else(|| line.strip_suffix(b" HTTP/1.0\r"))
    else {
        return false;
    };
    let Some(space) = rest.iter().position(|byte| !byte.is_ascii_alphabetic()) else {
        return false;
    };
    let Some([b' ', target @ ..]) = rest.get(space..) else { return false };
    target.starts_with(b"/") && target.len() <= MAX_TARGET_BYTES && target.iter().all(is_plain_byte)
}

fn is_plain_byte(byte: &u8) -> bool {
    IS_PLAIN_TARGET_BYTE.get(usize::from(*byte)).is_some_and(|it| *it)
}

/// Whether a byte may be in a target without further checks, by the byte's value.
#[expect(clippy::indexing_slicing, reason = "the compiler runs it")]
const IS_PLAIN_TARGET_BYTE: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        plain[byte as usize] = !matches!(byte, b'"' | b'<' | b'>' | b'`' | b'#');
        byte += 1;
    }
    plain
};

#[cfg(test)]
mod tests {
    use super::super::validate;
    use super::*;
    use crate::path::is_to_be_encoded;

    fn found(head: &str) -> Option<(usize, AnnouncedBody, bool, bool)> {
        let HeadScan { length, body, is_upgrade, is_plain } = scan_head(head.as_bytes())?;
        Some((length, body, is_upgrade, is_plain))
    }

    #[test]
    fn rfc9112_6_scan_finds_the_end_and_the_body_of_a_request() {
        use AnnouncedBody::{Chunked, Length};
        for (fields, body, is_upgrade) in [
            ("", Length(0), false),
            ("Host: a\r\nX: y\r\n", Length(0), false),
            ("content-LENGTH:\t17 \r\n", Length(17), false),
            ("Content-Length: 0\r\nUpgrade: websocket\r\n", Length(0), true),
            ("Transfer-Encoding: chunked\r\n", Chunked, false),
            ("Content-Type: 5\r\nTE: x\r\nX-Content-Length: 9\r\n", Length(0), false),
        ] {
            let head = format!("POST / HTTP/1.1\r\n{fields}\r\n");
            let expected = Some((head.len(), body, is_upgrade, true));
            assert_eq!(found(&format!("{head}GET / HTTP/1.1\r\n\r\n")), expected, "{head:?}");
            for length in 0..head.len() {
                assert_eq!(scan_head(&head.as_bytes()[..length]), None, "{head:?} up to {length}");
                assert!(may_end(head.as_bytes(), head.len() - length));
            }
        }
    }

    #[test]
    fn only_plain_heads_skip_the_full_check() {
        for fields in [
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: +1\r\n",
            "Content-Length:\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "X: y\n",
            "\n",
        ] {
            let head = format!("POST / HTTP/1.1\r\n{fields}\r\n");
            assert_eq!(found(&head).map(|found| found.3), Some(false), "{head:?}");
        }
        for byte in 0..=255 {
            let head = [b"GET /", &[byte][..], b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
            let Some(scan) = scan_head(&head) else { panic!("{byte}") };
            let mut judged = bytes::BytesMut::from(head.as_slice());
            let is_good = validate(&mut judged).is_ok() && judged == head;
            assert_eq!(scan.is_plain, is_good && !is_to_be_encoded(byte, false), "{byte}");
        }
    }
}
