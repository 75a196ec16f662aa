//! Why the gateway ends a session because of a frame: the exceeded limit of the route, or the broken rule of the
//! protocol. Knows nothing of sockets and sessions.

use tidegate_http::websocket::close_code;
use tidegate_http::websocket::frame::ProtocolError;

/// Why a session must end because of a frame that a peer sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Violation {
    /// A protocol error, where the route is strict.
    Protocol(ProtocolError),
    /// `max_frame_size`.
    FrameSize(u64),
    /// `max_message_size`.
    MessageSize(u64),
    /// `max_messages_per_second`.
    Rate(u32),
}

impl Violation {
    /// The close code for it (RFC 6455, section 7.4.1), and the reason.
    pub(super) fn close(self) -> (u16, String) {
        match self {
            Self::Protocol(error) => (close_code::PROTOCOL_ERROR, error.to_string()),
            Self::FrameSize(limit) => {
                (close_code::MESSAGE_TOO_BIG, format!("a frame is larger than {limit} bytes"))
            }
            Self::MessageSize(limit) => {
                (close_code::MESSAGE_TOO_BIG, format!("a message is larger than {limit} bytes"))
            }
            Self::Rate(limit) => {
                (close_code::POLICY_VIOLATION, format!("more than {limit} messages per second"))
            }
        }
    }

    /// Whether the close frame itself is wrong.
    pub(super) fn is_in_close_frame(self) -> bool {
        use ProtocolError::{CloseCode, ClosePayload, CloseReason};
        matches!(self, Self::Protocol(ClosePayload | CloseCode | CloseReason))
    }
}
