//! WebSocket sessions (RFC 6455): the handshake as it must be, and what goes on in the tunnel.

mod bridge;
mod connector;
mod drain;
mod handshake_limit;
mod lane;
mod origins;
mod registry;
mod session;
mod settings;
mod tap;
mod watch;
mod wire;

pub(crate) use bridge::Chunks;
pub(crate) use connector::TunnelConnector;
pub(crate) use drain::close_spread;
pub(crate) use handshake_limit::{HandshakeLimit, HandshakeTimeout};

pub use crate::exchange::Initiator;
pub(crate) use origins::Origins;
pub(crate) use registry::{Full, Registry, Selector, Ticket, Totals};
pub(crate) use session::{CLOSE_TIMEOUT, Order, TRY_AGAIN_LATER};
pub use session::{End, Identity, Session};
pub(crate) use settings::{Bounds, Ping, Quota, Settings, UpstreamLost};
pub use settings::{LogFrames, OnChange};
pub(crate) use tap::CLIENT_GONE;
pub use watch::Message;
pub(crate) use watch::Watch;
pub(crate) use watch::Watcher;

/// A number from 0 to below 1.
fn chance() -> f64 {
    let [a, b, c, d, ..] = *uuid::Uuid::new_v4().as_bytes();
    f64::from(u32::from_be_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0)
}
