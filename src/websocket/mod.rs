//! WebSocket sessions (RFC 6455), as a [`Filter`](crate::Filter) sees them: who they belong to, what passes through
//! them, how they end.
//!
//! The room has the tunnels, their registry and their limits. It knows nothing of YAML, and of Pingora only the
//! socket below a tunnel; frames themselves are read by `tidegate-http`.

mod bridge;
mod connector;
mod direction_state;
mod drain;
mod end;
mod handshake_limit;
mod interceptor;
mod login;
mod observer;
mod origins;
mod registry;
mod session;
mod settings;
mod upstream_stream;
mod violation;

pub(crate) use connector::TunnelConnector;
pub(crate) use drain::close_spread;
pub(crate) use handshake_limit::{HandshakeLimit, HandshakeTimeout};

pub use crate::exchange::{Initiator, WebSocketEnd};
pub(crate) use end::CloseRequest;
pub use end::End;
pub(crate) use interceptor::CLIENT_GONE;
pub(crate) use login::{RENEWAL_COOKIE, RenewalId, SessionLogin};
pub(crate) use observer::FrameObserver;
pub use observer::Message;
pub(crate) use origins::Origins;
pub(crate) use registry::{
    QuotaExceeded, SessionPermit, SessionRegistry, SessionSelector, SessionTotals,
};
pub(crate) use session::CLOSE_TIMEOUT;
pub use session::{Identity, Session};
pub(crate) use settings::{
    FrameLimits, OnExpiry, Ping, Renewal, SessionQuota, UpstreamLost, Warning, WebSocketSettings,
};
pub use settings::{LogFrames, OnChange};
pub use tidegate_http::websocket::frame::{Direction, FrameCounts, FrameHeader, Opcode};

/// A random number from 0 to below 1.
fn random_fraction() -> f64 {
    let [a, b, c, d, ..] = *uuid::Uuid::new_v4().as_bytes();
    f64::from(u32::from_be_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0)
}
