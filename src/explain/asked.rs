use crate::filter::is_preflight;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};
use pingora::http::RequestHeader;

/// A request that nobody has sent.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The method.
    pub method: Method,
    /// Whether it comes by HTTPS.
    pub is_https: bool,
    /// Host and port, as in `Host`.
    pub authority: String,
    /// The path, as written.
    pub path: String,
    /// The query, without `?`.
    pub query: Option<String>,
    /// The header fields, `Host` among them.
    pub headers: HeaderMap,
    /// The method that a preflight asks for.
    preflight: Option<Method>,
}

impl Asked {
    /// Of a URL, a method, and fields as `name: value`. `ws` and `wss` are for handshakes.
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
        let authority = uri.authority().map_or("localhost", http::uri::Authority::as_str);
        let mut headers = HeaderMap::new();
        let host = HeaderValue::from_str(authority).map_err(|error| error.to_string())?;
        headers.insert(header::HOST, host);
        if is_websocket {
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
            headers.insert(header::SEC_WEBSOCKET_KEY, key);
        }
        for field in fields {
            let (name, value) =
                field.split_once(':').ok_or_else(|| format!("`{field}` is no `name: value`"))?;
            let name = HeaderName::from_bytes(name.trim().as_bytes())
                .map_err(|_| format!("`{name}` is no header's name"))?;
            let value = HeaderValue::from_str(value.trim())
                .map_err(|_| format!("the value of {name} holds what no header may"))?;
            headers.append(name, value);
        }
        let mut asked = Self {
            method,
            is_https,
            authority: authority.to_owned(),
            path: uri.path().to_owned(),
            query: uri.query().map(str::to_owned),
            headers,
            preflight: None,
        };
        asked.complete();
        Ok(asked)
    }

    /// One that has come.
    pub fn of(head: &RequestHeader, is_https: bool) -> Self {
        let mut asked = Self {
            method: head.method.clone(),
            is_https,
            authority: head.uri.authority().map_or_else(String::new, ToString::to_string),
            path: head.uri.path().to_owned(),
            query: head.uri.query().map(str::to_owned),
            headers: head.headers.clone(),
            preflight: None,
        };
        asked.complete();
        asked
    }

    /// Finds out what its fields say of the host and of a request that is yet to come.
    fn complete(&mut self) {
        if let Some(host) = self.headers.get_all(header::HOST).iter().next_back() {
            self.authority = host.to_str().unwrap_or_default().to_owned();
        }
        self.preflight = self.head().ok().filter(is_preflight).and_then(|head| {
            let method = head.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
            Method::from_bytes(method.as_bytes()).ok()
        });
    }

    /// The method that routes go by: of a preflight, that of the request which is yet to come.
    pub(super) fn asked_method(&self) -> &Method {
        self.preflight.as_ref().unwrap_or(&self.method)
    }

    /// Its head, as filters see one.
    pub(super) fn head(&self) -> Result<RequestHeader, Box<pingora::Error>> {
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let target = format!("{}{query}", self.path);
        let mut head = RequestHeader::build(self.method.clone(), target.as_bytes(), None)?;
        for (name, value) in &self.headers {
            head.append_header(name.clone(), value.clone())?;
        }
        Ok(head)
    }
}
