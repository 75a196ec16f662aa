//! Why a request is rejected, and the response that its client gets. Knows nothing of how the response is sent.

use crate::filter::{Reply, ReplyBody};
use http::StatusCode;
use http::header::{self, HeaderValue};
use tidegate_http::error_code::ErrorCode;
use tidegate_http::websocket::handshake::{self, HandshakeError};

/// The end of a request before it reaches an upstream: the reason and the response.
#[derive(Debug)]
pub(crate) struct Rejection {
    /// Why.
    pub reason: RejectReason,
    /// The answer.
    pub reply: Reply,
}

/// Why a request is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RejectReason {
    /// The listener serves HTTPS only.
    Https,
    /// Routes match it only with other methods.
    Method,
    /// The request is malformed or over a limit.
    Request,
    /// No route matches.
    NoRoute,
    /// The gateway answers by itself, for instance `OPTIONS *`.
    Answer,
}

impl Rejection {
    /// A rejection with this reason and response.
    pub(crate) fn new(reason: RejectReason, reply: Reply) -> Self {
        Self { reason, reply }
    }

    /// A rejection because the gateway answers by itself.
    pub(crate) fn answer(reply: Reply) -> Self {
        Self::new(RejectReason::Answer, reply)
    }

    /// A rejection because of the request itself.
    pub(crate) fn request(reply: Reply) -> Self {
        Self::new(RejectReason::Request, reply)
    }

    pub(crate) fn bad_request(reason: &str) -> Self {
        Self::request(Reply::gateway_error(ErrorCode::BadRequest, reason))
    }

    /// What is wrong with the request, if the client is at fault.
    pub(crate) fn error_message(&self) -> Option<&str> {
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
