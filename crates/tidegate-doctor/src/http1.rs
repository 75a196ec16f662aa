//! HTTP/1.1 by hand: what comes is seen as it came, and told apart from what is no HTTP.

use super::fault::{Answer, Fault};
use super::head::Head;
use super::target::{quoted, shown};
use super::wire::{End, MAX_KEPT, Wire};
use serde_json::Value;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// The most header fields of an answer.
const MAX_FIELDS: usize = 256;
/// The most interim answers (`100`, `103`) before the real one.
const MAX_INTERIM: usize = 8;
/// The most of an error's body that is read.
const MAX_BODY: usize = 16 * 1024;
/// How long an error's body is waited for: its status tells enough.
const BODY_PATIENCE: Duration = Duration::from_secs(1);

/// A request, in the making.
pub(crate) struct Request(String);

impl Request {
    /// The request line and `Host`.
    pub(crate) fn new(method: &str, target: &str, host: &str) -> Self {
        Self(format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tidegate-doctor/{}\r\n",
            env!("CARGO_PKG_VERSION")
        ))
    }

    /// A further field.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
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

/// Sends a request and reads the head of the answer.
pub(crate) async fn exchange(
    wire: &mut Wire,
    request: &[u8],
    deadline: Instant,
) -> Result<Head, Fault> {
    // A server that refuses may have answered and closed before it read all.
    let sent = wire.send(request, deadline).await;
    let mut interim = 0;
    loop {
        match parse(wire.kept()) {
            Parsed::Head(head, size) => {
                wire.take(size);
                interim += 1;
                if head.status >= 200 || head.status == 101 {
                    return Ok(head);
                }
                if interim > MAX_INTERIM {
                    return Err(Fault::NoAnswer);
                }
            }
            Parsed::TooLarge => return Err(Fault::HeadTooLarge),
            Parsed::NotHttp => return Err(foreign(wire, deadline).await),
            Parsed::Partial => match wire.more(deadline).await {
                Ok(()) => {}
                Err(End::Full) => return Err(Fault::HeadTooLarge),
                Err(End::Late) => return Err(Fault::NoAnswer),
                Err(_) if sent == Err(End::Late) => return Err(Fault::NoAnswer),
                Err(_) => return Err(Fault::ClosedBeforeAnswer),
            },
        }
    }
}

enum Parsed {
    Head(Head, usize),
    Partial,
    TooLarge,
    NotHttp,
}

fn parse(bytes: &[u8]) -> Parsed {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(bytes) {
        Ok(httparse::Status::Complete(size)) => {
            let fields = response.headers.iter();
            let head = Head {
                status: response.code.unwrap_or_default(),
                fields: fields.map(|field| (field.name.to_owned(), field.value.to_vec())).collect(),
            };
            Parsed::Head(head, size)
        }
        Ok(httparse::Status::Partial) if bytes.len() >= MAX_KEPT => Parsed::TooLarge,
        Ok(httparse::Status::Partial) => Parsed::Partial,
        Err(httparse::Error::TooManyHeaders) => Parsed::TooLarge,
        Err(_) => Parsed::NotHttp,
    }
}

/// What it is that is no HTTP.
async fn foreign(wire: &mut Wire, deadline: Instant) -> Fault {
    // Enough to know a TLS alert or an HTTP/2 frame by; less than that is judged as it is.
    let soon = deadline.min(Instant::now() + BODY_PATIENCE);
    let _ = wire.fill(9, soon).await;
    let bytes = wire.kept();
    if is_tls(bytes) {
        Fault::TlsBehindPlain
    } else if is_http2(bytes) {
        Fault::Http2Only
    } else {
        Fault::NotHttp(quoted(bytes))
    }
}

/// A TLS record (RFC 8446, section 5.1): an alert, or a handshake.
pub(crate) fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [0x15 | 0x16, 0x03, 0..=4, ..])
}

/// An HTTP/2 frame (RFC 9113, section 4.1) of the connection as a whole: SETTINGS or GOAWAY.
pub(crate) fn is_http2(bytes: &[u8]) -> bool {
    matches!(bytes, [0, _, _, 0x04 | 0x07, _, 0, 0, 0, 0, ..])
}

/// The preface of an HTTP/2 client with empty SETTINGS (RFC 9113, section 3.4).
pub(crate) const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// An answer with what its body says, as far as that comes soon.
pub(crate) async fn answer(
    wire: &mut Wire,
    head: Head,
    deadline: Instant,
    trusts_json: bool,
) -> Answer {
    let soon = deadline.min(Instant::now() + BODY_PATIENCE);
    let length = head.get("content-length").and_then(|length| length.parse::<usize>().ok());
    if head.has_token("transfer-encoding", "chunked") && !head.is_bodiless() {
        return judge(head, &chunked(wire, soon).await, trusts_json);
    }
    // Of a body without a length, what comes with the head or right behind it will do.
    let wanted = if head.is_bodiless() { 0 } else { length.unwrap_or(1).min(MAX_BODY) };
    let _ = wire.fill(wanted, soon).await;
    judge(head, &wire.take(MAX_BODY), trusts_json)
}

/// What an answer is, by its head and as much of its body as came. Where `trusts_json` is set, a body
/// in the gateway's own form is the gateway's without a `Proxy-Status` too.
pub(crate) fn judge(head: Head, body: &[u8], trusts_json: bool) -> Answer {
    let said = gateway_error(body);
    let gateway = match proxy_status(&head) {
        Some(word) => {
            let message = said.filter(|(error, _)| *error == word).map(|(_, message)| message);
            // A page of the operator's own says it in other words.
            Some((word, message.unwrap_or_else(|| shown(&quoted(body)))))
        }
        None => said.filter(|_| trusts_json),
    };
    Answer { head, gateway, excerpt: shown(&quoted(body)) }
}

/// The word of the gateway's own error (RFC 9209), if it is one. Proxies in front of it may have
/// added themselves behind it.
fn proxy_status(head: &Head) -> Option<String> {
    let members = head.all("proxy-status").filter_map(|value| std::str::from_utf8(value).ok());
    let word = |member: &str| {
        let parameters = member.trim().strip_prefix("tidegate;")?;
        let (_, details) = parameters.split_once("details=\"")?;
        let (word, _) = details.split_once('"')?;
        let is_word = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        (is_word && !word.is_empty()).then(|| word.to_owned())
    };
    // The gateway puts no comma into it, and what another puts into quotes is no member of its own.
    members.flat_map(|value| value.split(',')).filter_map(word).last()
}

/// A body in chunks (RFC 9112, section 7.1), as far as it comes in time.
async fn chunked(wire: &mut Wire, deadline: Instant) -> Vec<u8> {
    loop {
        let (mut body, is_whole) = without_chunks(wire.kept());
        if is_whole || body.len() >= MAX_BODY || wire.more(deadline).await.is_err() {
            body.truncate(MAX_BODY);
            return body;
        }
    }
}

/// What the chunks hold, and whether they have ended or are broken.
fn without_chunks(mut bytes: &[u8]) -> (Vec<u8>, bool) {
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

/// `error` and `message` of the gateway's own errors, framed in whatever way.
fn gateway_error(body: &[u8]) -> Option<(String, String)> {
    let first = body.iter().position(|&byte| byte == b'{')?;
    let last = body.iter().rposition(|&byte| byte == b'}')?;
    let value: Value = serde_json::from_slice(body.get(first..=last)?).ok()?;
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    // The three together are the gateway's; services that say `error` alone are many.
    text("request_id")?;
    Some((text("error")?, quoted(text("message")?.as_bytes())))
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
        assert_eq!(without_chunks(whole), (b"broken orders-aabc".to_vec(), true));
        for length in 0..whole.len() {
            let (body, _) = without_chunks(&whole[..length]);
            assert!(b"broken orders-aabc\r".starts_with(&body[..]) || body.ends_with(b"\r"));
        }
        assert_eq!(without_chunks(b"ffffffffffffffff\r\nab"), (b"ab".to_vec(), false));
        assert_eq!(without_chunks(b"no\r\nab"), (Vec::new(), true));
    }

    #[test]
    fn only_the_gateways_own_proxy_status_names_an_error() {
        let head = |value: &str| Head {
            status: 502,
            fields: vec![("Proxy-Status".to_owned(), value.as_bytes().to_vec())],
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
