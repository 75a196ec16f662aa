use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Authority;
use http::{Method, Uri};
use pingora::http::RequestHeader;
use std::net::IpAddr;

/// A request that nobody has sent.
#[derive(Debug, Clone)]
pub struct Asked {
    head: RequestHeader,
    is_https: bool,
    port: u16,
    client: Option<IpAddr>,
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
        let target = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let target = if target.starts_with('?') { format!("/{target}") } else { target.to_owned() };
        let mut head = RequestHeader::build(method, target.as_bytes(), None)
            .map_err(|error| format!("`{target}` can't be asked for: {error}"))?;
        let fields = fields.iter().map(|field| read(field)).collect::<Result<Vec<_>, _>>()?;
        let authority = uri.authority().map_or("localhost", Authority::as_str);
        let mut brought = vec![(header::HOST, authority)];
        if is_websocket {
            brought.extend([
                (header::CONNECTION, "Upgrade"),
                (header::UPGRADE, "websocket"),
                (header::SEC_WEBSOCKET_VERSION, "13"),
                (header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
            ]);
        }
        for (name, value) in brought {
            if !fields.iter().any(|(given, _)| *given == name) {
                let value = HeaderValue::from_str(value).map_err(|error| error.to_string())?;
                head.append_header(name, value).map_err(|error| error.to_string())?;
            }
        }
        for (name, value) in fields {
            head.append_header(name, value).map_err(|error| error.to_string())?;
        }
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        Ok(Self { head, is_https, port, client: None })
    }

    /// From this address. Where it is that of a proxy that is believed, what the fields say of the
    /// client counts.
    #[must_use]
    pub fn from_client(self, address: IpAddr) -> Self {
        Self { client: Some(address.to_canonical()), ..self }
    }

    /// Its head.
    pub(super) fn head(&self) -> &RequestHeader {
        &self.head
    }

    /// The same as HTTP/1.1 writes it.
    pub(super) fn raw(&self) -> Vec<u8> {
        let mut raw = self.head.method.as_str().as_bytes().to_vec();
        let mut push = |pieces: [&[u8]; 4]| pieces.iter().for_each(|it| raw.extend_from_slice(it));
        push([b" ", self.head.raw_path(), b" HTTP/1.1", b"\r\n"]);
        let headers: &HeaderMap = &self.head.headers;
        for (name, value) in headers {
            push([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
        }
        push([b"\r\n", b"", b"", b""]);
        raw
    }

    /// Whether it comes by TLS.
    pub(super) fn is_https(&self) -> bool {
        self.is_https
    }

    /// The port that it is sent to.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Who connects, if that is known.
    pub(super) fn client(&self) -> Option<IpAddr> {
        self.client
    }
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
