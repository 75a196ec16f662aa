//! Answers that the gateway gives itself. How one is sent is not known here.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use std::fs::File;
use std::sync::Arc;
use tidegate_http::error_code::ErrorCode;

/// An answer of the gateway's own.
#[derive(Debug, Clone)]
pub struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: ReplyBody,
}

#[derive(Debug, Clone)]
pub(crate) enum ReplyBody {
    Empty,
    /// A body as it is.
    Bytes(Bytes),
    /// A part of a file: from which byte, and how many.
    File(Arc<File>, u64, u64),
    /// JSON or text by the request's `Accept`, with the request's id.
    Error {
        code: &'static str,
        message: String,
    },
}

/// `Retry-After` of answers because of a limit that may have room again at once, in seconds.
pub(crate) const RETRY_SOON: &str = "1";

impl Reply {
    /// An answer without a body.
    pub fn new(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: ReplyBody::Empty }
    }

    /// An error: `{"error": code, "message": …, "request_id": …}`, or plain text for a client
    /// that asks for it. `code` is a word for programs, `message` a sentence for people.
    pub fn error(
        status: StatusCode,
        code: impl Into<&'static str>,
        message: impl Into<String>,
    ) -> Self {
        let body = ReplyBody::Error { code: code.into(), message: message.into() };
        Self { body, ..Self::new(status) }
    }

    /// An error of the gateway's own, with its usual status.
    pub(crate) fn gateway_error(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::error(code.status(), code, message)
    }

    /// With this header field.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// With this body; say its `content-type` with [`Reply::header`].
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = ReplyBody::Bytes(body.into());
        self
    }

    /// The sentence for people, of an error.
    pub(crate) fn reason(&self) -> Option<&str> {
        match &self.body {
            ReplyBody::Error { message, .. } => Some(message),
            _ => None,
        }
    }

    /// Whether it is this error.
    pub(crate) fn is_error(&self, wanted: ErrorCode) -> bool {
        matches!(&self.body, ReplyBody::Error { code, .. } if *code == wanted.as_str())
    }

    /// The first value of a header field, if it is text.
    pub(crate) fn field(&self, name: &HeaderName) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(other, _)| other == name)?;
        value.to_str().ok()
    }

    /// With these bytes of a file for its body, read as the client takes them.
    pub(crate) fn file(mut self, file: File, first: u64, length: u64) -> Self {
        self.body = ReplyBody::File(Arc::new(file), first, length);
        self
    }
}
