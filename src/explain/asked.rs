use crate::admission::{Halt, Why};
use crate::filter::Reply;
use crate::http::raw_head::{self, Fault, MALFORMED};
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{Method, Uri};
use pingora::http::RequestHeader;
use pingora::protocols::http::v1::server::HttpSession;
use std::io::Cursor;
use std::net::IpAddr;

/// A request that nobody has sent.
#[derive(Debug, Clone)]
pub struct Asked {
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

impl Asked {
    /// Of a URL, a method, and fields as `name: value`. `ws` and `wss` are for handshakes. What is
    /// given as a field takes the place of what the URL would bring along.
    ///
    /// # Errors
    /// When one of them is malformed, in words.
    pub fn new(url: &str, method: &str, fields: &[String]) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("`{url}` is no URL: {error}"))?;
        let scheme = uri.scheme_str().unwrap_or("http").to_ascii_lowercase();
        let (is_https, is_websocket) = match scheme.as_str() {
            "http" => (false, false),
            "https" => (true, false),
            "ws" => (false, true),
            "wss" => (true, true),
            other => return Err(format!("`{other}` is none of http, https, ws, wss")),
        };
        let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes())
            .map_err(|_| format!("`{method}` is no method"))?;
        let authority = uri.authority().map_or("localhost", Authority::as_str);
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let fields = fields.iter().map(|field| read(field)).collect::<Result<Vec<_>, _>>()?;
        let mut brought = vec![(header::HOST, authority)];
        if is_websocket {
            brought.extend([
                (header::CONNECTION, "Upgrade"),
                (header::UPGRADE, "websocket"),
                (header::SEC_WEBSOCKET_VERSION, "13"),
                (header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
            ]);
        }
        let target = match uri.path_and_query().map_or("/", PathAndQuery::as_str) {
            // RFC 9112, section 3.2.3.
            _ if method == Method::CONNECT => authority.to_owned(),
            query if query.starts_with('?') => format!("/{query}"),
            target => target.to_owned(),
        };
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
        let (authority, path) = (authority.to_owned(), uri.path().to_owned());
        Ok(Self { method, authority, path, is_https, port, client: None, raw })
    }

    /// From this address. Where it is that of a proxy that is believed, what the fields say of the
    /// client counts.
    #[must_use]
    pub fn from_client(self, address: IpAddr) -> Self {
        Self { client: Some(address.to_canonical()), ..self }
    }

    /// Its head as the gateway's reader has it, and as it came.
    pub(super) async fn arrive(&self) -> Result<(RequestHeader, Bytes), Halt> {
        let mut session = HttpSession::new(Box::new(Cursor::new(Vec::new())));
        let mut raw = BytesMut::from(self.raw.as_slice());
        raw_head::prepare(&mut raw).map_err(refused)?;
        // All of it is there, so that nothing is waited for.
        session.set_pipelined_prefix(raw);
        match session.read_request().await {
            Ok(Some(_)) => Ok((session.req_header().clone(), session.get_headers_raw_bytes())),
            Ok(None) | Err(_) => Err(refused(raw_head::fault(&self.raw).unwrap_or(MALFORMED))),
        }
    }
}

/// As the reader has it, which answers by itself.
fn refused(fault: Fault) -> Halt {
    Halt::new(Why::Request, Reply::error(fault.status, "bad_request", fault.reason))
}

fn read(field: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) =
        field.split_once(':').ok_or_else(|| format!("`{field}` is no `name: value`"))?;
    let name = HeaderName::from_bytes(name.trim().as_bytes())
        .map_err(|_| format!("`{name}` is no header's name"))?;
    let value = HeaderValue::from_str(value.trim())
        .map_err(|_| format!("the value of {name} holds what no header may"))?;
    Ok((name, value))
}
