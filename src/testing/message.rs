//! What a request and a response under test have in common: a head that is built header by header, and a body in parts.
//! Knows nothing of filters.

use bytes::Bytes;
use http::header::HeaderValue;
use pingora::http::{RequestHeader, ResponseHeader};

/// The head of a request or of a response.
pub(super) trait Head {
    /// Adds a header behind those that it has.
    fn append(&mut self, name: String, value: HeaderValue) -> pingora::Result<bool>;
}

impl Head for RequestHeader {
    fn append(&mut self, name: String, value: HeaderValue) -> pingora::Result<bool> {
        self.append_header(name, value)
    }
}

impl Head for ResponseHeader {
    fn append(&mut self, name: String, value: HeaderValue) -> pingora::Result<bool> {
        self.append_header(name, value)
    }
}

/// A head, or what is wrong with it, and the parts of a body.
#[derive(Debug)]
pub(super) struct Message<H> {
    /// Or its first fault.
    pub(super) head: Result<H, String>,
    pub(super) body: Vec<Bytes>,
}

impl<H: Head> Message<H> {
    pub(super) fn new(head: Result<H, String>) -> Self {
        Self { head, body: Vec::new() }
    }

    pub(super) fn add_header(&mut self, name: &str, value: &[u8]) {
        let Ok(head) = &mut self.head else { return };
        let added = HeaderValue::from_bytes(value)
            .map_err(|error| error.to_string())
            .and_then(|value| head.append(name.to_owned(), value).map_err(|it| it.to_string()));
        if let Err(fault) = added {
            self.head = Err(format!("the header `{name}`: {fault}"));
        }
    }
}
