//! Two readers of requests: one strictly by RFC 9112, and one as lenient as the most lenient server. They share no code
//! with the gateway, so that both cannot have the same fault.

/// The reader that parses the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// RFC 9112 to the letter, but for bytes beyond ASCII in a target: they end nothing.
    Strict,
    /// Bare line feeds, folded lines, spaces about names; chunked before a length.
    ChunkedFirst,
    /// The same, but a length before chunked.
    LengthFirst,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub method: String,
    pub target: String,
    pub version: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let same = self.fields.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.as_str()).collect()
    }
}

/// How a reader parses the bytes of a connection.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub whole: Vec<Request>,
    /// How many bytes the whole ones take.
    pub used: usize,
    /// The head of one that has begun and is not whole.
    pub begun: Option<Request>,
    pub broken: Option<String>,
}

/// Why the bytes do not begin with a request.
enum Stop {
    /// More must come.
    More,
    /// This is no HTTP.
    Broken(String),
}

type Parsed<T> = Result<T, Stop>;

fn broken<T>(why: impl Into<String>) -> Parsed<T> {
    Err(Stop::Broken(why.into()))
}

/// How a head frames its body.
enum Framing {
    Length(usize),
    Chunked,
}

impl Reader {
    pub(crate) fn read(self, bytes: &[u8]) -> Reading {
        let mut reading = Reading::default();
        loop {
            let mut cursor = Cursor { bytes, at: reading.used };
            if self != Self::Strict {
                cursor.skip_empty_lines();
            }
            if cursor.at >= bytes.len() {
                return reading;
            }
            let mut head = match self.head(&mut cursor) {
                Ok(head) => head,
                Err(Stop::More) => return reading,
                Err(Stop::Broken(why)) => {
                    reading.broken = Some(why);
                    return reading;
                }
            };
            let body = self.framing(&head).and_then(|framing| match framing {
                Framing::Length(length) => cursor.take(length).map(<[u8]>::to_vec),
                Framing::Chunked => self.chunks(&mut cursor),
            });
            match body {
                Ok(body) => {
                    head.body = body;
                    reading.whole.push(head);
                    reading.used = cursor.at;
                }
                Err(Stop::More) => {
                    reading.begun = Some(head);
                    return reading;
                }
                Err(Stop::Broken(why)) => {
                    reading.begun = Some(head);
                    reading.broken = Some(why);
                    return reading;
                }
            }
        }
    }

    fn line<'b>(self, cursor: &mut Cursor<'b>) -> Parsed<&'b [u8]> {
        let rest = &cursor.bytes[cursor.at..];
        let end = rest.iter().position(|byte| *byte == b'\n');
        let Some(end) = end else {
            return match rest {
                _ if self != Self::Strict => Err(Stop::More),
                [text @ .., b'\r'] | text if text.iter().all(|byte| is_text(*byte)) => {
                    Err(Stop::More)
                }
                _ => broken("a control character in a line"),
            };
        };
        cursor.at += end + 1;
        let line = &rest[..end];
        if self != Self::Strict {
            return Ok(line.strip_suffix(b"\r").unwrap_or(line));
        }
        match line.strip_suffix(b"\r") {
            Some(line) if line.iter().all(|byte| is_text(*byte)) => Ok(line),
            Some(_) => broken("a control character in a line"),
            None => broken("a bare line feed"),
        }
    }

    fn head(self, cursor: &mut Cursor<'_>) -> Parsed<Request> {
        let line = text(self.line(cursor)?);
        let parts: Vec<&str> = match self {
            Self::Strict => line.split(' ').collect(),
            _ => line.split_whitespace().collect(),
        };
        let (method, target, version) = match (self, parts.as_slice()) {
            (_, [method, target, version]) => (*method, *target, *version),
            (Self::ChunkedFirst | Self::LengthFirst, [method, target, .., version]) => {
                (*method, *target, *version)
            }
            (Self::ChunkedFirst | Self::LengthFirst, [method, target]) => (*method, *target, ""),
            _ => return broken(format!("no request line: {line:?}")),
        };
        if self == Self::Strict {
            let is_target = !target.is_empty() && target.chars().all(|c| c > ' ' && c != '\u{7f}');
            let is_version = ["HTTP/1.0", "HTTP/1.1"].contains(&version);
            if !is_token(method) || !is_target || !is_version {
                return broken(format!("no request line: {line:?}"));
            }
        }
        Ok(Request {
            method: method.to_owned(),
            target: target.to_owned(),
            version: version.to_owned(),
            fields: self.fields(cursor)?,
            body: Vec::new(),
        })
    }

    fn fields(self, cursor: &mut Cursor<'_>) -> Parsed<Vec<(String, String)>> {
        let mut fields: Vec<(String, String)> = Vec::new();
        loop {
            let line = text(self.line(cursor)?);
            if line.is_empty() {
                return Ok(fields);
            }
            let named = line.split_once(':');
            if self == Self::Strict {
                match named {
                    Some((name, value)) if is_token(name) => {
                        let value = value.trim_matches([' ', '\t']);
                        fields.push((name.to_owned(), value.to_owned()));
                    }
                    _ => return broken(format!("no field: {line:?}")),
                }
                continue;
            }
            match (named, fields.last_mut()) {
                (_, Some((_, folded))) if line.starts_with([' ', '\t']) => {
                    folded.push_str(line.trim());
                }
                (Some((name, value)), _) => {
                    fields.push((name.trim().to_owned(), value.trim().to_owned()));
                }
                (None, _) => {}
            }
        }
    }

    fn framing(self, head: &Request) -> Parsed<Framing> {
        let lengths = head.all("content-length");
        let codings = head.all("transfer-encoding");
        if self == Self::Strict {
            if head.version == "HTTP/1.1" && head.all("host").len() != 1 {
                return broken("not one Host");
            }
            return match (lengths.as_slice(), codings.as_slice()) {
                ([], []) => Ok(Framing::Length(0)),
                ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
                ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                    length.parse().map(Framing::Length).or_else(|_| broken("no length"))
                }
                _ => broken(format!("lengths {lengths:?} and codings {codings:?}")),
            };
        }
        let is_chunked =
            codings.iter().any(|coding| coding.to_ascii_lowercase().contains("chunked"));
        let length = lengths.first().map(|length| {
            let digits = length.trim_start_matches(|c: char| !c.is_ascii_digit());
            let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
            digits[..end].parse().unwrap_or(0)
        });
        Ok(match (self, length) {
            (Self::LengthFirst, Some(length)) => Framing::Length(length),
            _ if is_chunked => Framing::Chunked,
            (_, length) => Framing::Length(length.unwrap_or(0)),
        })
    }

    fn chunks(self, cursor: &mut Cursor<'_>) -> Parsed<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = text(self.line(cursor)?);
            let digits = line.bytes().take_while(u8::is_ascii_hexdigit).count();
            let (size, extension) = line.split_at(digits);
            let Ok(size) = usize::from_str_radix(size, 16) else {
                return broken(format!("no chunk size: {line:?}"));
            };
            // What the gateway sends upstream is its own: it has no extensions.
            if self == Self::Strict && !extension.is_empty() {
                return broken(format!("a chunk extension: {line:?}"));
            }
            if size == 0 {
                self.fields(cursor)?;
                return Ok(body);
            }
            body.extend_from_slice(cursor.take(size)?);
            if self == Self::Strict {
                if cursor.take(2)? != b"\r\n" {
                    return broken("no line end behind a chunk");
                }
            } else {
                cursor.skip(b'\r');
                cursor.skip(b'\n');
            }
        }
    }
}

struct Cursor<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Cursor<'b> {
    fn take(&mut self, count: usize) -> Parsed<&'b [u8]> {
        let end = self.at.checked_add(count).ok_or(Stop::More)?;
        let taken = self.bytes.get(self.at..end).ok_or(Stop::More)?;
        self.at = end;
        Ok(taken)
    }

    fn skip(&mut self, byte: u8) {
        if self.bytes.get(self.at) == Some(&byte) {
            self.at += 1;
        }
    }

    fn skip_empty_lines(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b'\r' | b'\n')) {
            self.at += 1;
        }
    }
}

/// Whether the byte is visible text, a tab or beyond ASCII.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

fn is_token(name: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_tchar)
}

/// Each byte as one character, so that nothing is lost.
fn text(line: &[u8]) -> String {
    line.iter().map(|byte| char::from(*byte)).collect()
}

#[test]
fn strict_and_lenient_readers_disagree_as_servers_do() {
    let both = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n\
                0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    assert!(Reader::Strict.read(both.as_bytes()).broken.is_some());
    assert_eq!(Reader::ChunkedFirst.read(both.as_bytes()).whole.len(), 2);
    assert_eq!(Reader::LengthFirst.read(both.as_bytes()).whole.len(), 1);
    for bad in [
        "GET /a HTTP/1.1\nHost: a\n\n",
        "GET /a HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n",
    ] {
        assert!(Reader::Strict.read(bad.as_bytes()).broken.is_some(), "{bad:?}");
        assert_eq!(Reader::ChunkedFirst.read(bad.as_bytes()).whole.len(), 1, "{bad:?}");
    }
    let good = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
                GET /b HTTP/1.1\r\nHost: a\r\n\r\nGET /c";
    for reader in [Reader::Strict, Reader::ChunkedFirst, Reader::LengthFirst] {
        let reading = reader.read(good.as_bytes());
        let targets: Vec<&str> =
            reading.whole.iter().map(|request| request.target.as_str()).collect();
        assert_eq!(targets, ["/a", "/b"], "{reader:?}");
        assert_eq!(reading.whole[0].body, b"abc");
        assert_eq!(&good[reading.used..], "GET /c");
    }
}
