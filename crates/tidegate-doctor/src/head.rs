//! The head of a response, over HTTP/1.1 or HTTP/2.
//! It does not know connections.

use http::header::{self, HeaderName};

/// The head of a response.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    /// The status.
    pub status: u16,
    /// Name and value of each header, as received.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Head {
    /// The head of an HTTP/2 response.
    pub(crate) fn from_http2(head: &http::response::Parts) -> Self {
        let headers = head.headers.iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        Self { status: head.status.as_u16(), headers: headers.collect() }
    }

    /// The values of a header.
    pub(crate) fn all(&self, name: HeaderName) -> impl Iterator<Item = &[u8]> {
        self.headers
            .iter()
            .filter(move |(header, _)| header.eq_ignore_ascii_case(name.as_str()))
            .map(|(_, value)| value.as_slice())
    }

    /// The first value of a header, trimmed, if it is text.
    pub(crate) fn get(&self, name: HeaderName) -> Option<&str> {
        self.all(name).next().and_then(|value| std::str::from_utf8(value).ok()).map(str::trim)
    }

    /// Whether a list header contains this token.
    pub(crate) fn has_token(&self, name: HeaderName, token: &str) -> bool {
        self.all(name)
            .filter_map(|value| std::str::from_utf8(value).ok())
            .flat_map(|value| value.split(','))
            .any(|word| word.trim().eq_ignore_ascii_case(token))
    }

    /// Whether no body follows.
    pub(crate) fn is_bodiless(&self) -> bool {
        matches!(self.status, 101 | 204 | 304) || self.get(header::CONTENT_LENGTH) == Some("0")
    }
}
