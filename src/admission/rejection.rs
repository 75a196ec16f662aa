//! Why a request is rejected, and what is answered. It knows nothing of how the reply is sent.

use crate::filter::{Reply, ReplyBody};
use http::StatusCode;
use http::header::{self, HeaderValue};
use tidegate_http::error_code::ErrorCode;
use tidegate_http::websocket::handshake::{self, HandshakeError};

/// Where a request's way ends before an upstream: why, and what is answered.
#[derive(Debug)]
pub(crate) struct Rejection {
    /// Why.
    pub reason: RejectReason,
    /// The answer.
    pub reply: Reply,
}

/// Why a request goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RejectReason {
    /// It is served by HTTPS only.
    Https,
    /// Routes take it by other methods only.
    Method,
    /// It is malformed, or more than the gateway takes.
    Request,
    /// No route takes it.
    NoRoute,
    /// The gateway has an answer of its own.
    Answer,
}

impl Rejection {
    /// For this reason, with this answer.
    pub(crate) fn new(reason: RejectReason, reply: Reply) -> Self {
        Self { reason, reply }
    }

    /// For an answer of the gateway's own.
    pub(crate) fn answer(reply: Reply) -> Self {
        Self::new(RejectReason::Answer, reply)
    }

    /// For what the request itself is.
    pub(crate) fn request(reply: Reply) -> Self {
        Self::new(RejectReason::Request, reply)
    }

    pub(crate) fn bad_request(reason: &str) -> Self {
        Self::request(Reply::gateway_error(ErrorCode::BadRequest, reason))
    }

    /// What is wrong with the request, where the client is at fault.
    pub(crate) fn fault(&self) -> Option<&str> {
        match &self.reply.body {
            ReplyBody::Error { message, .. }
                if self.reason == RejectReason::Request && self.reply.status.is_client_error() =>
            {
                Some(message)
            }
            _ => None,
        }
    }

    pub(super) fn bad_handshake(error: HandshakeError) -> Self {
        let reply = |status| Reply::error(status, ErrorCode::BadWebSocketHandshake, error.reason());
        Self::request(match error {
            HandshakeError::Method => reply(StatusCode::METHOD_NOT_ALLOWED)
                .header(header::ALLOW, HeaderValue::from_static("GET")),
            HandshakeError::WebSocketVersion => reply(StatusCode::UPGRADE_REQUIRED)
                .header(header::UPGRADE, HeaderValue::from_static(handshake::PROTOCOL))
                .header(header::CONNECTION, HeaderValue::from_static("Upgrade"))
                .header(
                    header::SEC_WEBSOCKET_VERSION,
                    HeaderValue::from_static(handshake::VERSION),
                ),
            HandshakeError::Version
            | HandshakeError::Body
            | HandshakeError::Connection
            | HandshakeError::HopByHop
            | HandshakeError::Key => reply(StatusCode::BAD_REQUEST),
        })
    }
}
