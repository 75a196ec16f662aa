//! WebSocket sessions (RFC 6455): the handshake as it must be, and what goes on in the tunnel.

mod connector;
pub mod frame;
pub mod handshake;
mod session;
mod tap;

pub use connector::TunnelConnector;
pub use session::{Initiator, Session};
