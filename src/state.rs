//! The state that all parts of a running gateway share: the server creates each value once and hands out clones. Knows
//! nothing of listeners and requests.

use crate::cache::Cache;
use crate::history::History;
use crate::load::{ConnectionLimiter, InFlight, OverloadControl};
use crate::snapshot::CurrentSnapshot;
use crate::websocket::SessionRegistry;
use std::sync::Arc;

/// Handles of what the parts of a gateway share.
#[derive(Clone)]
pub(crate) struct State {
    /// The configuration in force.
    pub(crate) current: Arc<CurrentSnapshot>,
    /// The configurations that were in force.
    pub(crate) history: Arc<History>,
    /// The WebSocket sessions.
    pub(crate) sessions: Arc<SessionRegistry>,
    /// The cache.
    pub(crate) cache: Arc<Cache>,
    /// The requests and sessions in flight.
    pub(crate) in_flight: Arc<InFlight>,
    /// Whether they are as many as the gateway can carry.
    pub(crate) overload: Arc<OverloadControl>,
    /// The connections, and what each client holds.
    pub(crate) connection_limiter: Arc<ConnectionLimiter>,
}
