//! HTTP/1.1 by hand, so that the doctor sees the bytes as received and can name what is not HTTP. It does not know who
//! causes a fault.

use super::fault::{Fault, Response};
use super::head::Head;
use super::stream::{BufferedStream, MAX_BUFFERED_BYTES, StreamEnd};
use super::target::{printable, redacted};
use http::header;
use serde_json::Value;
use std::fmt::Write;
use std::time::{Duration, Instant};
use tidegate_http::head::MAX_HEADER_COUNT;
use tidegate_http::header_name::PROXY_STATUS;

/// Maximum number of interim responses (`100`, `103`).
const MAX_INTERIM_RESPONSES: usize = 8;
/// Maximum number of bytes read of a body, over HTTP/1.1 and HTTP/2.
pub(crate) const MAX_ERROR_BODY_BYTES: usize = 16 * 1024;
/// Timeout for an error's body; the status is the main information.
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// Builds a request.
pub(crate) struct RequestBuilder(String);

impl RequestBuilder {
    /// The request line and `Host`.
    pub(crate) fn new(method: &str, target: &str, host: &str) -> Self {
        Self(format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tidegate-doctor/{}\r\n",
            env!("CARGO_PKG_VERSION")
        ))
    }

    /// Adds a header.
    #[must_use]
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        // Writing into a string can't fail.
        let _ = write!(self.0, "{name}: {value}\r\n");
        self
    }

    /// The bytes to send.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.push_str("\r\n");
        self.0.into_bytes()
    }
}

/// Sends a request and reads the head of the response.
pub(crate) async fn exchange(
    stream: &mut BufferedStream,
    request: &[u8],
    deadline: Instant,
) -> Result<Head, Fault> {
    // A server that refuses may answer and close before it has read all.
    let sent = stream.send(request, deadline).await;
    let mut interim = 0;
    loop {
        match parse(stream.buffered()) {
            ParsedHead::Head(head, size) => {
                stream.consume(size);
                interim += 1;
                if head.status >= 200 || head.status == 101 {
                    return Ok(head);
                }
                if interim > MAX_INTERIM_RESPONSES {
                    return Err(Fault::NoAnswer);
                }
            }
            ParsedHead::TooLarge => return Err(Fault::HeadTooLarge),
            ParsedHead::NotHttp => return Err(classify_non_http(stream, deadline).await),
            ParsedHead::Partial => match stream.read_more(deadline).await {
                Ok(()) => {}
                Err(StreamEnd::Full) => return Err(Fault::HeadTooLarge),
                Err(StreamEnd::TimedOut) => return Err(Fault::NoAnswer),
                Err(_) if sent == Err(StreamEnd::TimedOut) => return Err(Fault::NoAnswer),
                Err(_) => return Err(Fault::ClosedBeforeAnswer),
            },
        }
    }
}

enum ParsedHead {
    Head(Head, usize),
    Partial,
    TooLarge,
    NotHttp,
}

fn parse(bytes: &[u8]) -> ParsedHead {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADER_COUNT];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(bytes) {
        Ok(httparse::Status::Complete(size)) => {
            let headers = response.headers.iter();
            let head = Head {
                status: response.code.unwrap_or_default(),
                headers: headers
                    .map(|header| (header.name.to_owned(), header.value.to_vec()))
                    .collect(),
            };
            ParsedHead::Head(head, size)
        }
        Ok(httparse::Status::Partial) if bytes.len() >= MAX_BUFFERED_BYTES => ParsedHead::TooLarge,
        Ok(httparse::Status::Partial) => ParsedHead::Partial,
        Err(httparse::Error::TooManyHeaders) => ParsedHead::TooLarge,
        Err(_) => ParsedHead::NotHttp,
    }
}

/// Names what is not HTTP.
async fn classify_non_http(stream: &mut BufferedStream, deadline: Instant) -> Fault {
    // Enough to recognise a TLS alert or an HTTP/2 frame.
    let soon = deadline.min(Instant::now() + ERROR_BODY_TIMEOUT);
    let _ = stream.fill(9, soon).await;
    let bytes = stream.buffered();
    if is_tls(bytes) {
        Fault::TlsBehindPlain
    } else if is_http2(bytes) {
        Fault::Http2Only
    } else {
        Fault::NotHttp(printable(bytes))
    }
}

/// A TLS record (RFC 8446, section 5.1): an alert, or a handshake.
pub(crate) fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [0x15 | 0x16, 0x03, 0..=4, ..])
}

/// A connection-level HTTP/2 frame (RFC 9113, section 4.1): SETTINGS or GOAWAY.
pub(crate) fn is_http2(bytes: &[u8]) -> bool {
    matches!(bytes, [0, _, _, 0x04 | 0x07, _, 0, 0, 0, 0, ..])
}

/// The preface of an HTTP/2 client with empty SETTINGS (RFC 9113, section 3.4).
pub(crate) const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A response with the error in its body, as far as it arrives in time.
pub(crate) async fn read_response(
    stream: &mut BufferedStream,
    head: Head,
    deadline: Instant,
    trusts_json: bool,
) -> Response {
    let soon = deadline.min(Instant::now() + ERROR_BODY_TIMEOUT);
    let length = head.get(header::CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
    if head.has_token(header::TRANSFER_ENCODING, "chunked") && !head.is_bodiless() {
        return classify(head, &read_chunked_body(stream, soon).await, trusts_json);
    }
    // Of a body without a length, the bytes with or right after the head suffice.
    let count = if head.is_bodiless() { 0 } else { length.unwrap_or(1).min(MAX_ERROR_BODY_BYTES) };
    let _ = stream.fill(count, soon).await;
    classify(head, &stream.consume(MAX_ERROR_BODY_BYTES), trusts_json)
}

/// Classifies a response by its head and the received part of its body. If `trusts_json` is set, a body
/// in the gateway's JSON form counts as the gateway's without a `Proxy-Status`.
pub(crate) fn classify(head: Head, body: &[u8], trusts_json: bool) -> Response {
    let reported = gateway_error(body);
    let gateway = match proxy_status(&head) {
        Some(word) => {
            let message = reported.filter(|(error, _)| *error == word).map(|(_, message)| message);
            // A custom error page has another text.
            Some((word, message.unwrap_or_else(|| redacted(&printable(body)))))
        }
        None => reported.filter(|_| trusts_json),
    };
    Response { head, gateway, excerpt: redacted(&printable(body)) }
}

/// The error code in the gateway's `Proxy-Status` (RFC 9209), if there is one. Proxies in front of the gateway
/// may have appended their own members.
fn proxy_status(head: &Head) -> Option<String> {
    let members = head.all(PROXY_STATUS).filter_map(|value| std::str::from_utf8(value).ok());
    let word = |member: &str| {
        let parameters = member.trim().strip_prefix("tidegate;")?;
        let (_, details) = parameters.split_once("details=\"")?;
        let (word, _) = details.split_once('"')?;
        let is_word = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        (is_word && !word.is_empty()).then(|| word.to_owned())
    };
    // The gateway writes no comma, so a comma within another member's quotes does no harm.
    members.flat_map(|value| value.split(',')).filter_map(word).last()
}

/// A chunked body (RFC 9112, section 7.1), as far as it arrives in time.
async fn read_chunked_body(stream: &mut BufferedStream, deadline: Instant) -> Vec<u8> {
    loop {
        let (mut body, is_whole) = decode_chunks(stream.buffered());
        if is_whole
            || body.len() >= MAX_ERROR_BODY_BYTES
            || stream.read_more(deadline).await.is_err()
        {
            body.truncate(MAX_ERROR_BODY_BYTES);
            return body;
        }
    }
}

/// The decoded chunks, and whether they have ended or are broken.
fn decode_chunks(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
            return (body, false);
        };
        let line = bytes.get(..end).unwrap_or_default();
        let size = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        let size = std::str::from_utf8(size).ok().and_then(|it| usize::from_str_radix(it, 16).ok());
        let rest = bytes.get(end + 2..).unwrap_or_default();
        match size {
            None | Some(0) => return (body, true),
            Some(size) if rest.len() <= size => {
                body.extend_from_slice(rest);
                return (body, false);
            }
            Some(size) => {
                body.extend_from_slice(rest.get(..size).unwrap_or_default());
                bytes = rest.get(size.saturating_add(2)..).unwrap_or_default();
            }
        }
    }
}

/// `error` and `message` of a gateway error, whatever surrounds the JSON.
fn gateway_error(body: &[u8]) -> Option<(String, String)> {
    let first = body.iter().position(|&byte| byte == b'{')?;
    let last = body.iter().rposition(|&byte| byte == b'}')?;
    let value: Value = serde_json::from_slice(body.get(first..=last)?).ok()?;
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    // Only the gateway sends all three; many services send `error` alone.
    text("request_id")?;
    Some((text("error")?, printable(text("message")?.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_and_http2_are_recognised_by_their_first_bytes() {
        assert!(is_tls(&[0x15, 3, 1, 0, 2, 2, 70]));
        assert!(is_http2(&[0, 0, 18, 4, 0, 0, 0, 0, 0, 0, 3]));
        for other in [&b"HTTP/1.1"[..], b"SSH-2.0-", b"", b"\0\0\0"] {
            assert!(!is_tls(other) && !is_http2(other), "{other:?}");
        }
    }

    #[test]
    fn chunked_body_is_decoded_even_when_incomplete() {
        let whole = b"f\r\nbroken orders-a\r\n3;x=y\r\nabc\r\n0\r\n\r\n";
        assert_eq!(decode_chunks(whole), (b"broken orders-aabc".to_vec(), true));
        for length in 0..whole.len() {
            let (body, _) = decode_chunks(&whole[..length]);
            assert!(b"broken orders-aabc\r".starts_with(&body[..]) || body.ends_with(b"\r"));
        }
        assert_eq!(decode_chunks(b"ffffffffffffffff\r\nab"), (b"ab".to_vec(), false));
        assert_eq!(decode_chunks(b"no\r\nab"), (Vec::new(), true));
    }

    #[test]
    fn only_the_gateways_own_proxy_status_names_an_error() {
        let head = |value: &str| Head {
            status: 502,
            headers: vec![("Proxy-Status".to_owned(), value.as_bytes().to_vec())],
        };
        let word = |value: &str| proxy_status(&head(value));
        let own = "tidegate; error=connection_refused; details=\"upstream_unreachable\"";
        assert_eq!(word(own).as_deref(), Some("upstream_unreachable"));
        assert_eq!(
            word(&format!("{own}, cdn; error=http_protocol_error")).as_deref(),
            Some("upstream_unreachable")
        );
        for other in
            ["cdn; error=x; details=\"no_route\"", "tidegate", "tidegate; details=\"a b\"", ""]
        {
            assert_eq!(word(other), None, "{other}");
        }
    }

    #[test]
    fn gateway_error_needs_all_three_json_keys() {
        let own = br#"{"error":"no_route","message":"m","request_id":"1"}"#;
        assert_eq!(gateway_error(own), Some(("no_route".to_owned(), "m".to_owned())));
        assert_eq!(gateway_error(br#"{"error":"no_route"}"#), None);
        assert_eq!(gateway_error(b"}{"), None);
    }
}
