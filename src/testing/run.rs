//! What filters made of a request: what the upstream and the client get. Knows nothing of the order of hooks.

use crate::error_pages::{PageValues, render_without_page};
use crate::exchange::Exchange;
use crate::filter::{self, Reply, ReplyBody};
use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};
use tidegate_http::accept::Accept;
use tidegate_http::error_code::ErrorCode;

/// What filters made of a request; [`TestRequest::run`](super::TestRequest::run) returns it.
#[derive(Debug)]
pub struct FilterRun {
    /// As `on_request` left it.
    pub(super) request: RequestHeader,
    pub(super) forwarded: Option<RequestHeader>,
    pub(super) forwarded_body: Bytes,
    pub(super) response: ResponseHeader,
    pub(super) body: Bytes,
    error_code: Option<&'static str>,
    pub(super) error: Option<filter::Error>,
    pub(super) exchange: Exchange,
}

impl FilterRun {
    /// A run that begins: nothing is forwarded yet, and the upstream answers with `response`.
    pub(super) fn new(
        request: RequestHeader,
        response: ResponseHeader,
        exchange: Exchange,
    ) -> Self {
        Self {
            request,
            forwarded: None,
            forwarded_body: Bytes::new(),
            response,
            body: Bytes::new(),
            error_code: None,
            error: None,
            exchange,
        }
    }

    /// The head that the upstream gets; `None` when a filter answered the request or failed on it.
    pub fn forwarded(&self) -> Option<&RequestHeader> {
        self.forwarded.as_ref()
    }

    /// The first value of a header that the upstream gets, if it is text.
    pub fn forwarded_header(&self, name: &str) -> Option<&str> {
        text(&self.forwarded.as_ref()?.headers, name)
    }

    /// The body that the upstream gets.
    pub fn forwarded_body(&self) -> &Bytes {
        &self.forwarded_body
    }

    /// The status that the client gets; 500 when a filter failed without a status of its own.
    pub fn status(&self) -> StatusCode {
        self.response.status
    }

    /// The headers that the client gets.
    pub fn headers(&self) -> &HeaderMap {
        &self.response.headers
    }

    /// The first value of a header that the client gets, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        text(&self.response.headers, name)
    }

    /// The body that the client gets.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The code of the error that the client gets from [`Reply::error`].
    pub fn error_code(&self) -> Option<&str> {
        self.error_code
    }

    /// The error of the filter that failed, with all that the gateway logs of it. A response that has begun is then broken
    /// off.
    pub fn error(&self) -> Option<&filter::Error> {
        self.error.as_ref()
    }

    /// What the filters left in the exchange: the user, the store.
    pub fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// Makes the client get the error's answer. Returns true: the client gets no response of the upstream.
    pub(super) fn fail(&mut self, error: filter::Error) -> bool {
        let internal = || Reply::gateway_error(ErrorCode::InternalError, "the gateway failed");
        let reply = error.reply().unwrap_or_else(internal);
        self.error = Some(error);
        self.answer(reply)
    }

    /// Makes the client get this. Returns true: the client gets no response of the upstream.
    pub(super) fn answer(&mut self, reply: Reply) -> bool {
        // `Reply` has a valid status.
        let head = ResponseHeader::build(reply.status, None);
        let Ok(mut head) = head else { return true };
        let mut set = |name, value: HeaderValue| drop(head.insert_header(name, value));
        self.error_code = None;
        self.body = match reply.body {
            ReplyBody::Empty | ReplyBody::File(..) => Bytes::new(),
            ReplyBody::Bytes(bytes) => bytes,
            ReplyBody::Error { code, message } => {
                self.error_code = Some(code);
                let request_id = self.exchange.request_id();
                let (status, error) = (reply.status, code);
                let values = PageValues { status, error, message: &message, request_id };
                let accept = Accept::from_headers(&self.request.headers);
                let (media_type, body) = render_without_page(values, accept);
                set(header::CONTENT_TYPE, HeaderValue::from_static(media_type.content_type()));
                set(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
                body.into()
            }
        };
        for (name, value) in reply.headers {
            let _ = head.append_header(name, value);
        }
        self.response = head;
        true
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}
