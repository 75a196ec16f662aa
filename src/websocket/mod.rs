//! WebSocket sessions (RFC 6455): the handshake as it must be, and what goes on in the tunnel.

mod bridge;
mod connector;
mod drain;
pub mod frame;
pub mod handshake;
mod handshake_limit;
mod head;
mod lane;
mod origins;
mod registry;
mod session;
mod settings;
mod tap;
mod watch;
mod wire;

pub(crate) use bridge::Chunks;
pub use connector::TunnelConnector;
pub use drain::close_spread;
pub use handshake_limit::{HandshakeLimit, HandshakeTimeout};
pub(crate) use head::{Answer, Heads};
pub use origins::Origins;
pub use registry::{Full, Registry, Selector, Ticket, Totals};
pub use session::{CLOSE_TIMEOUT, End, Identity, Initiator, Order, Session, TRY_AGAIN_LATER};
pub use settings::{Bounds, LogFrames, OnChange, Ping, Quota, Settings, UpstreamLost};
pub use tap::{CLIENT_GONE, UPSTREAM_GONE};
pub(crate) use watch::Watch;
pub use watch::{Message, Watcher};

/// A number from 0 to below 1.
fn chance() -> f64 {
    let [a, b, c, d, ..] = *uuid::Uuid::new_v4().as_bytes();
    f64::from(u32::from_be_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0)
}
