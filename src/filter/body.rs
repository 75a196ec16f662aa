//! Bodies as filters see them. It knows nothing of sockets.

use crate::exchange::Exchange;
use bytes::Bytes;
use http::StatusCode;
use pingora::http::RequestHeader;

/// What a filter wants of a body. It is asked once for each route and version of the configuration, so that routes
/// whose filters want nothing pay nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BodyAccess {
    /// Nothing.
    #[default]
    None,
    /// Each part as it passes. What the filter puts in its place is ignored, so that `Content-Length` stays.
    Observe,
    /// Each part as it passes. The filter may change it; the body's length is then not announced (`Content-Length`
    /// is removed).
    Chunks,
    /// The whole body, before any of it is passed on. The filter may change it.
    Whole {
        /// The most bytes that the gateway collects for it. A larger body is refused: a request with 413, a response
        /// with 502.
        max: usize,
    },
}

impl BodyAccess {
    /// Whether the filter may change the body.
    pub(super) fn changes(self) -> bool {
        matches!(self, Self::Chunks | Self::Whole { .. })
    }
}

/// A part of a request's body, or the whole of it, as a filter sees it in [`Filter::on_request_body`](super::Filter::on_request_body).
#[derive(Debug)]
pub struct RequestBody<'r> {
    pub(crate) part: BodyPart<'r>,
    pub(crate) head: &'r RequestHeader,
    pub(crate) exchange: &'r mut Exchange,
}

/// A part of a response's body, or the whole of it, as a filter sees it in [`Filter::on_response_body`](super::Filter::on_response_body).
#[derive(Debug)]
pub struct ResponseBody<'r> {
    pub(crate) part: BodyPart<'r>,
    pub(crate) status: StatusCode,
    pub(crate) exchange: &'r mut Exchange,
}

/// A part of a body.
#[derive(Debug)]
pub(crate) struct BodyPart<'r> {
    pub(crate) bytes: &'r mut Bytes,
    pub(crate) offset: u64,
    pub(crate) is_end: bool,
}

macro_rules! body_part {
    ($body:ident) => {
        impl $body<'_> {
            /// The bytes; none where the body ends with an empty part, or is empty.
            pub fn bytes(&self) -> &Bytes {
                self.part.bytes
            }

            /// Puts other bytes in their place.
            pub fn replace(&mut self, bytes: impl Into<Bytes>) {
                *self.part.bytes = bytes.into();
            }

            /// How many bytes of the body came before this part. A part with an offset of zero begins the body.
            pub fn offset(&self) -> u64 {
                self.part.offset
            }

            /// Whether the body ends with this part. A whole body is always its own end.
            pub fn is_end(&self) -> bool {
                self.part.is_end
            }

            /// What the gateway knows of the request: route, user id, client address, store.
            pub fn exchange(&self) -> &Exchange {
                self.exchange
            }

            /// What the gateway knows of the request, mutable, so that a filter can keep a value in its store.
            pub fn exchange_mut(&mut self) -> &mut Exchange {
                self.exchange
            }
        }
    };
}

body_part!(RequestBody);
body_part!(ResponseBody);

impl RequestBody<'_> {
    /// The head of the client's request, as the filters have left it.
    pub fn head(&self) -> &RequestHeader {
        self.head
    }
}

impl ResponseBody<'_> {
    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}
