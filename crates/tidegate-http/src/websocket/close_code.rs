//! Close codes of WebSockets (RFC 6455, section 7.4.1, and the IANA registry). Knows nothing of when they are sent.

/// The purpose of the connection is fulfilled; also in answer to a close frame without a code.
pub const NORMAL: u16 = 1000;

/// An endpoint goes away.
pub const GOING_AWAY: u16 = 1001;

/// The other side violates the protocol.
pub const PROTOCOL_ERROR: u16 = 1002;

/// A message, or the number of messages or sessions, violates a limit.
pub const POLICY_VIOLATION: u16 = 1008;

/// A message or a frame is over the limit of its size.
pub const MESSAGE_TOO_BIG: u16 = 1009;

/// The service restarts: a client comes back after a random time.
pub const SERVICE_RESTART: u16 = 1012;

/// The gateway is overloaded: a client comes back later.
pub const TRY_AGAIN_LATER: u16 = 1013;

/// The upstream's connection is gone.
pub const BAD_GATEWAY: u16 = 1014;

/// The credential of the session is no longer valid (IANA registry of WebSocket close codes).
pub const UNAUTHORIZED: u16 = 3000;

/// An operator ended the session; a private-use code (RFC 6455, section 7.4.2).
pub const ENDED_BY_OPERATOR: u16 = 4001;

/// The codes that [`is_sendable`] accepts, for messages.
pub const SENDABLE_CODES: &str = "1000 to 1003, 1007 to 1014, 3000 to 4999";

/// Whether a close frame may carry this code.
pub fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
