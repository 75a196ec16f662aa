//! The request that is to be explained, from a URL and options. It knows nothing of the configuration.

use crate::admission::{RejectReason, Rejection};
use crate::filter::Reply;
use bytes::BytesMut;
use http::Method;
use http::header::{self, HeaderName, HeaderValue};
use http::uri::Authority;
use pingora::http::RequestHeader;
use pingora::protocols::http::v1::server::HttpSession;
use std::fmt;
use std::io::Cursor;
use std::net::IpAddr;
use tidegate_http::raw_head::{self, HEAD_MALFORMED, HeadError};
use tidegate_http::url::{HTTP_PORT, HTTPS_PORT};
use tidegate_http::websocket::handshake;

/// A request to explain; it is never sent.
#[derive(Debug, Clone)]
pub struct RequestToExplain {
    pub(super) method: Method,
    /// The URL's host and port.
    pub(super) authority: String,
    /// The URL's path.
    pub(super) path: String,
    /// Whether it comes by TLS.
    pub(super) is_https: bool,
    /// The port that it is sent to.
    pub(super) port: u16,
    /// Who connects, if that is known.
    pub(super) client: Option<IpAddr>,
    /// Its head, as HTTP/1.1 writes it.
    raw: Vec<u8>,
}

/// Why a request can't be explained: its URL, its method or a header is malformed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidRequest(String);

impl fmt::Display for InvalidRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidRequest {}

impl RequestToExplain {
    /// Of a URL, a method, and headers as `name: value`. `ws` and `wss` are for handshakes. What is
    /// given as a header takes the place of what the URL would bring along.
    ///
    /// # Errors
    /// When one of them is malformed.
    pub fn new(url: &str, method: &str, headers: &[String]) -> Result<Self, InvalidRequest> {
        Self::parse(url, method, headers).map_err(InvalidRequest)
    }

    fn parse(url: &str, method: &str, fields: &[String]) -> Result<Self, String> {
        let Url { scheme, authority, target } = Url::read(url)?;
        let (is_https, is_websocket) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (false, false),
            "https" => (true, false),
            "ws" => (false, true),
            "wss" => (true, true),
            other => {
                return Err(format!("the scheme must be http, https, ws or wss, not `{other}`"));
            }
        };
        let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes())
            .map_err(|_| format!("`{method}` is not a valid method"))?;
        let port = authority.port_u16().unwrap_or(if is_https { HTTPS_PORT } else { HTTP_PORT });
        let authority = authority.as_str();
        let fields = fields.iter().map(|field| read(field)).collect::<Result<Vec<_>, _>>()?;
        let mut brought = vec![(header::HOST, authority)];
        if is_websocket {
            brought.extend([
                (header::CONNECTION, "Upgrade"),
                (header::UPGRADE, handshake::PROTOCOL),
                (header::SEC_WEBSOCKET_VERSION, handshake::VERSION),
                (header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
            ]);
        }
        let path = target.split('?').next().unwrap_or_default().to_owned();
        // RFC 9112, section 3.2.3.
        let target = if method == Method::CONNECT { authority } else { &*target };
        let mut raw = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
        let mut push = |name: &HeaderName, value: &[u8]| {
            for piece in [name.as_str().as_bytes(), b": ", value, b"\r\n"] {
                raw.extend_from_slice(piece);
            }
        };
        for (name, value) in brought {
            if !fields.iter().any(|(given, _)| *given == name) {
                push(&name, value.as_bytes());
            }
        }
        for (name, value) in fields {
            push(&name, value.as_bytes());
        }
        raw.extend_from_slice(b"\r\n");
        let authority = authority.to_owned();
        Ok(Self { method, authority, path, is_https, port, client: None, raw })
    }

    /// From this address. Where it is that of a proxy that is believed, what the fields say of the
    /// client counts.
    #[must_use]
    pub fn from_client(self, address: IpAddr) -> Self {
        Self { client: Some(address.to_canonical()), ..self }
    }

    /// Its head as the gateway's reader has it.
    pub(super) async fn read_head(&self) -> Result<RequestHeader, Rejection> {
        let mut session = HttpSession::new(Box::new(Cursor::new(Vec::new())));
        let mut raw = BytesMut::from(self.raw.as_slice());
        raw_head::validate(&mut raw).map_err(refused)?;
        // All of it is there, so that nothing is waited for.
        session.set_pipelined_prefix(raw.clone());
        match session.read_request().await {
            Ok(Some(_)) => Ok(session.req_header().clone()),
            Ok(None) | Err(_) => Err(refused(raw_head::fault(&raw).unwrap_or(HEAD_MALFORMED))),
        }
    }
}

/// The parts of a URL, as curl would send them: what the target may hold is for the gateway to say.
struct Url<'u> {
    scheme: &'u str,
    authority: Authority,
    target: String,
}

impl<'u> Url<'u> {
    fn read(url: &'u str) -> Result<Self, String> {
        let bad = |reason: &str| format!("`{}` is not a URL: {reason}", url.escape_debug());
        if url.contains(|c: char| c.is_ascii_control()) {
            return Err(bad("control characters are not allowed"));
        }
        // No client sends it.
        let whole = url.split('#').next().unwrap_or_default();
        let is_scheme = |it: &str| it.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let written = whole.split_once("://").filter(|(scheme, _)| is_scheme(scheme));
        let (scheme, rest) = written.unwrap_or(("http", whole));
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = match rest {
            "*" => ("", rest),
            rest => rest.split_at(end),
        };
        let authority = match authority {
            "" if written.is_none() => "localhost",
            "" => return Err(bad("the host is missing")),
            // Clients send the user in a header, or not at all.
            authority => authority.rsplit('@').next().unwrap_or(authority),
        };
        let authority = authority.parse().map_err(|error| bad(&format!("{error}")))?;
        let target = match target {
            "" => "/".to_owned(),
            query if query.starts_with('?') => format!("/{query}"),
            target => target.to_owned(),
        };
        Ok(Self { scheme, authority, target })
    }
}

/// As the reader has it, which answers by itself.
fn refused(fault: HeadError) -> Rejection {
    Rejection::new(RejectReason::Request, Reply::error(fault.status, fault.code(), fault.reason))
}

fn read(field: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = field
        .split_once(':')
        .ok_or_else(|| format!("`{field}` is not a header; write it like `Name: value`"))?;
    let name = HeaderName::from_bytes(name.trim().as_bytes())
        .map_err(|_| format!("`{name}` is not a valid header name"))?;
    let value = HeaderValue::from_str(value.trim()).map_err(|_| {
        format!("the value of the header {name} contains characters that are not allowed")
    })?;
    Ok((name, value))
}
