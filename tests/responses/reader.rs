//! Reads responses strictly by RFC 9112. Shares no code with the gateway, so that both cannot have the same fault.

/// A response with its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let same = self.fields.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.as_str()).collect()
    }
}

/// Why the bytes do not begin with a complete response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// More must come.
    More,
    /// This is no HTTP/1.1.
    Broken(String),
}

fn broken<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Broken(why.into()))
}

/// The first final response of these bytes, and its length. `is_over`: no more bytes follow.
pub(crate) fn read(bytes: &[u8], is_head: bool, is_over: bool) -> Result<(Response, usize), Stop> {
    let mut at = 0;
    loop {
        let mut response = read_head(bytes, &mut at)?;
        if (100..200).contains(&response.status) && response.status != 101 {
            if !framing(&response).is_empty() {
                return broken("an interim response with framing");
            }
            continue;
        }
        response.body = body(&response, bytes, &mut at, is_head, is_over)?;
        return Ok((response, at));
    }
}

fn framing(response: &Response) -> Vec<&str> {
    [response.all("content-length"), response.all("transfer-encoding")].concat()
}

fn read_head(bytes: &[u8], at: &mut usize) -> Result<Response, Stop> {
    let status = line(bytes, at)?;
    let words: Vec<&str> = status.splitn(3, ' ').collect();
    let code = match words.as_slice() {
        ["HTTP/1.1", code, _] if code.len() == 3 => code.parse().ok(),
        _ => None,
    };
    let Some(status) = code.filter(|code: &u16| *code >= 100) else {
        return broken(format!("no status line: {status:?}"));
    };
    Ok(Response { status, fields: fields(bytes, at)?, body: Vec::new() })
}

fn fields(bytes: &[u8], at: &mut usize) -> Result<Vec<(String, String)>, Stop> {
    let mut fields = Vec::new();
    loop {
        let line = line(bytes, at)?;
        if line.is_empty() {
            return Ok(fields);
        }
        match line.split_once(':') {
            Some((name, value)) if is_token(name) => {
                fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
            }
            _ => return broken(format!("no field: {line:?}")),
        }
    }
}

fn body(
    response: &Response,
    bytes: &[u8],
    at: &mut usize,
    is_head: bool,
    is_over: bool,
) -> Result<Vec<u8>, Stop> {
    let (lengths, codings) = (response.all("content-length"), response.all("transfer-encoding"));
    let has_none = [101, 204, 304].contains(&response.status);
    if has_none && !framing(response).is_empty() {
        return broken(format!("{} with framing", response.status));
    }
    let length = match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => None,
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => None,
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(length.parse::<usize>().or_else(|_| broken("no length"))?)
        }
        _ => return broken(format!("lengths {lengths:?} and codings {codings:?}")),
    };
    if has_none || is_head {
        return Ok(Vec::new());
    }
    match length {
        Some(length) => take(bytes, at, length).map(<[u8]>::to_vec),
        None if !codings.is_empty() => chunks(bytes, at),
        None if !is_over => Err(Stop::More),
        None => {
            let rest = bytes[*at..].to_vec();
            *at = bytes.len();
            Ok(rest)
        }
    }
}

fn chunks(bytes: &[u8], at: &mut usize) -> Result<Vec<u8>, Stop> {
    let mut body = Vec::new();
    loop {
        let line = line(bytes, at)?;
        let digits = line.split(';').next().unwrap_or_default();
        let is_size = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = usize::from_str_radix(digits, 16);
        let (true, Ok(size)) = (is_size, size) else {
            return broken(format!("no chunk size: {line:?}"));
        };
        if size == 0 {
            fields(bytes, at)?;
            return Ok(body);
        }
        body.extend_from_slice(take(bytes, at, size)?);
        if take(bytes, at, 2)? != b"\r\n" {
            return broken("no line end behind a chunk");
        }
    }
}

fn take<'b>(bytes: &'b [u8], at: &mut usize, count: usize) -> Result<&'b [u8], Stop> {
    let end = at.checked_add(count).ok_or(Stop::More)?;
    let taken = bytes.get(*at..end).ok_or(Stop::More)?;
    *at = end;
    Ok(taken)
}

/// A line without its end; each byte as one character.
fn line(bytes: &[u8], at: &mut usize) -> Result<String, Stop> {
    let rest = &bytes[*at..];
    let end = rest.iter().position(|byte| *byte == b'\n').ok_or(Stop::More)?;
    *at += end + 1;
    let Some(line) = rest[..end].strip_suffix(b"\r") else { return broken("a bare line feed") };
    let is_text = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    if !line.iter().all(is_text) {
        return broken("a control character in a line");
    }
    Ok(line.iter().map(|byte| char::from(*byte)).collect())
}

fn is_token(name: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_tchar)
}

#[test]
fn reader_accepts_only_unambiguous_framing() {
    let whole = |text: &str| read(text.as_bytes(), false, true).map(|(it, used)| (it.body, used));
    let good =
        "HTTP/1.1 103 A\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP";
    assert_eq!(whole(good), Ok((b"ok".to_vec(), good.len() - 4)));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    assert_eq!(whole(chunked).map(|it| it.0), Ok(b"ok".to_vec()));
    assert_eq!(whole("HTTP/1.1 200 OK\r\n\r\nok").map(|it| it.0), Ok(b"ok".to_vec()));
    assert_eq!(whole("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok"), Err(Stop::More));
    for bad in [
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0, 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
    ] {
        assert!(matches!(whole(bad), Err(Stop::Broken(_))), "{bad:?}");
    }
}
