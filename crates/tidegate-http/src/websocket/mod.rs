//! WebSockets (RFC 6455) as pure state machines over bytes: frames, the opening handshake, and the head of its
//! response. Knows no socket.

pub mod close_code;
pub mod close_reason;
pub mod frame;
pub mod handshake;
pub mod response_head;
