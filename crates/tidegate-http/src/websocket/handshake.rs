//! Validates the opening handshake: the client's request (RFC 6455, section 4.2.1) and the service's response (section
//! 4.1). Opens no connection.

use crate::framing;
use crate::header_name::WEBSOCKET_PREFIX;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, Method, Version, header};
use sha1::{Digest, Sha1};

/// Why a handshake is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeError {
    /// The method is not GET.
    Method,
    /// It is not HTTP/1.1.
    Version,
    /// It has a body: upstreams may disagree on where it ends and frames begin.
    Body,
    /// `Connection` does not name `Upgrade`: a proxy in front may have removed it.
    Connection,
    /// `Connection` names a header of the handshake, which would not go beyond the gateway then (RFC 9110, section 7.6.1).
    HopByHop,
    /// `Sec-WebSocket-Key` is absent, doubled, or not 16 bytes in base64.
    Key,
    /// `Sec-WebSocket-Version` is not 13; answered 426 with the version that is spoken.
    WebSocketVersion,
}

impl HandshakeError {
    /// The reason, in words for the client's developer.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Method => "a WebSocket handshake must be a GET request",
            Self::Version => "a WebSocket handshake must be HTTP/1.1",
            Self::Body => "a WebSocket handshake must not have a body",
            Self::Connection => {
                "the request asks to upgrade to websocket, but its Connection header does not contain \
                 Upgrade; a proxy in front of the gateway may have removed it"
            }
            Self::HopByHop => {
                "the Connection header lists a Sec-WebSocket header, so that this header would not \
                 reach the service"
            }
            Self::Key => "Sec-WebSocket-Key must be given once, as 16 bytes in base64",
            Self::WebSocketVersion => "Sec-WebSocket-Version must be 13",
        }
    }
}

/// What RFC 6455, section 1.3, appends to a key.
const ACCEPT_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// An unpredictable key (RFC 6455, section 4.1).
pub fn key() -> String {
    STANDARD.encode(uuid::Uuid::new_v4().as_bytes())
}

/// The `Sec-WebSocket-Accept` for a key (RFC 6455, section 4.2.2).
pub fn accept_key(key: impl AsRef<[u8]>) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(ACCEPT_GUID).finalize())
}

/// The protocol in `Upgrade` (RFC 6455, section 11.2) and in `:protocol` (RFC 8441, section 5).
pub const PROTOCOL: &str = "websocket";

/// The version in `Sec-WebSocket-Version` (RFC 6455, section 11.6).
pub const VERSION: &str = "13";

/// Whether the request is a WebSocket handshake: `Upgrade` names `websocket`.
pub fn is_requested(headers: &HeaderMap) -> bool {
    has_token(headers, &header::UPGRADE, PROTOCOL)
}

/// Checks what RFC 6455 requires of a client's handshake.
pub fn check(method: &Method, version: Version, headers: &HeaderMap) -> Result<(), HandshakeError> {
    if *method != Method::GET {
        return Err(HandshakeError::Method);
    }
    if version != Version::HTTP_11 {
        return Err(HandshakeError::Version);
    }
    if framing::has_body(headers) {
        return Err(HandshakeError::Body);
    }
    if !has_token(headers, &header::CONNECTION, "upgrade") {
        return Err(HandshakeError::Connection);
    }
    if tokens(headers, &header::CONNECTION).any(is_handshake_header) {
        return Err(HandshakeError::HopByHop);
    }
    check_version(headers)?;
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    match (keys.next(), keys.next()) {
        (Some(key), None) if is_key(key.as_bytes()) => Ok(()),
        _ => Err(HandshakeError::Key),
    }
}

/// Checks what remains to check over HTTP/2 (RFC 8441, section 5): the version.
pub fn check_version(headers: &HeaderMap) -> Result<(), HandshakeError> {
    let mut versions = headers.get_all(header::SEC_WEBSOCKET_VERSION).iter();
    match (versions.next(), versions.next()) {
        (Some(version), None) if version.as_bytes() == VERSION.as_bytes() => Ok(()),
        _ => Err(HandshakeError::WebSocketVersion),
    }
}

/// Why a 101 is no valid response to a WebSocket handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerError {
    /// It is not HTTP/1.1.
    Version,
    /// `Upgrade` is not `websocket`, once.
    Upgrade,
    /// `Connection` does not name `Upgrade`.
    Connection,
    /// `Sec-WebSocket-Accept` is absent, doubled, or not that of the key.
    Accept,
}

impl AnswerError {
    /// The reason, in words for the operator.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Version => "the 101 response is not HTTP/1.1",
            Self::Upgrade => "the Upgrade header of the 101 response is not websocket",
            Self::Connection => {
                "the Connection header of the 101 response does not contain Upgrade"
            }
            Self::Accept => {
                "the Sec-WebSocket-Accept header of the 101 response does not match the key \
                 of the request"
            }
        }
    }
}

/// Checks what RFC 6455, section 4.1, asks of a 101 that answers a handshake with this key.
pub fn check_answer(key: &[u8], version: Version, headers: &HeaderMap) -> Result<(), AnswerError> {
    if version != Version::HTTP_11 {
        return Err(AnswerError::Version);
    }
    let only = |name| {
        let mut values = headers.get_all(name).iter();
        let first = values.next().map(|value| value.as_bytes().trim_ascii());
        first.filter(|_| values.next().is_none())
    };
    if !only(header::UPGRADE).is_some_and(|value| value.eq_ignore_ascii_case(PROTOCOL.as_bytes())) {
        return Err(AnswerError::Upgrade);
    }
    if !has_token(headers, &header::CONNECTION, "upgrade") {
        return Err(AnswerError::Connection);
    }
    if only(header::SEC_WEBSOCKET_ACCEPT) != Some(accept_key(key).as_bytes()) {
        return Err(AnswerError::Accept);
    }
    Ok(())
}

/// 16 bytes in base64: 22 characters of the alphabet and two of padding, the last character
/// before it carrying four bits only.
fn is_key(key: &[u8]) -> bool {
    let Some((body, padding)) = key.split_at_checked(22) else { return false };
    padding == b"=="
        && body.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(byte))
        && body.last().is_some_and(|last| b"AQgw".contains(last))
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|candidate| candidate.eq_ignore_ascii_case(token))
}

fn tokens<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// Whether this is the name of a header that a handshake consists of.
fn is_handshake_header(name: &str) -> bool {
    const START: &[u8] = WEBSOCKET_PREFIX.as_bytes();
    name.as_bytes().get(..START.len()).is_some_and(|it| it.eq_ignore_ascii_case(START))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn browser() -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers
    }

    fn judged(change: impl FnOnce(&mut HeaderMap)) -> Result<(), HandshakeError> {
        let mut headers = browser();
        change(&mut headers);
        check(&Method::GET, Version::HTTP_11, &headers)
    }

    #[test]
    fn rfc6455_4_2_1_handshake_of_a_browser_is_accepted() {
        assert_eq!(judged(|_| {}), Ok(()));
        assert!(is_requested(&browser()));
    }

    #[test]
    fn rfc6455_4_1_101_needs_three_headers_and_the_right_accept_key() {
        let answered = |change: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in [
                ("connection", "keep-alive, Upgrade"),
                ("upgrade", "WebSocket"),
                ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ] {
                headers.insert(name, HeaderValue::from_static(value));
            }
            for (name, value) in change {
                match *value {
                    "" => drop(headers.remove(*name)),
                    value => drop(headers.insert(*name, HeaderValue::from_static(value))),
                }
            }
            check_answer(b"dGhlIHNhbXBsZSBub25jZQ==", Version::HTTP_11, &headers)
        };
        assert_eq!(answered(&[]), Ok(()));
        assert_eq!(answered(&[("upgrade", "")]), Err(AnswerError::Upgrade));
        assert_eq!(answered(&[("upgrade", "h2c")]), Err(AnswerError::Upgrade));
        assert_eq!(answered(&[("upgrade", "websocket, h2c")]), Err(AnswerError::Upgrade));
        assert_eq!(answered(&[("connection", "")]), Err(AnswerError::Connection));
        assert_eq!(answered(&[("connection", "close")]), Err(AnswerError::Connection));
        assert_eq!(answered(&[("sec-websocket-accept", "")]), Err(AnswerError::Accept));
        assert_eq!(
            answered(&[("sec-websocket-accept", "S3pPLMBiTxaQ9kYGzzhZRbK+xOo=")]),
            Err(AnswerError::Accept)
        );
        let doubled = {
            let mut headers = browser();
            headers.append("upgrade", HeaderValue::from_static("websocket"));
            check_answer(b"", Version::HTTP_11, &headers)
        };
        assert_eq!(doubled, Err(AnswerError::Upgrade));
        let old = check_answer(b"", Version::HTTP_10, &browser());
        assert_eq!(old, Err(AnswerError::Version));
    }

    #[test]
    fn rfc6455_4_2_1_malformed_handshake_is_refused() {
        let set = |name: &'static str, value: &'static str| {
            judged(|headers| drop(headers.insert(name, HeaderValue::from_static(value))))
        };
        assert_eq!(set("connection", "keep-alive"), Err(HandshakeError::Connection));
        assert_eq!(set("sec-websocket-version", "8"), Err(HandshakeError::WebSocketVersion));
        for key in [
            "",
            "short",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZR==",
            "!GhlIHNhbXBsZSBub25jZQ==",
        ] {
            assert_eq!(set("sec-websocket-key", key), Err(HandshakeError::Key), "{key}");
        }
        assert_eq!(
            judged(|headers| {
                headers.append(
                    "sec-websocket-key",
                    HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="),
                );
            }),
            Err(HandshakeError::Key)
        );
        assert_eq!(set("content-length", "0"), Ok(()));
        assert_eq!(set("content-length", "1"), Err(HandshakeError::Body));
        let headers = browser();
        assert_eq!(check(&Method::POST, Version::HTTP_11, &headers), Err(HandshakeError::Method));
        assert_eq!(check(&Method::GET, Version::HTTP_10, &headers), Err(HandshakeError::Version));
    }
}
