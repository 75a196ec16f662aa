//! Sums over the sessions of one route, for metrics: how many opened and ended, their traffic and their times. Knows
//! sessions only once they have ended, and takes no lock.

use super::super::session::Session;
use crate::exchange::Initiator;
use std::collections::BTreeMap;
use std::time::Duration;
use tidegate_http::websocket::frame::{Direction, FrameCounts};

/// Sums over the sessions of one route since the gateway started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SessionTotals {
    /// Handshakes that became sessions.
    pub opened: u64,
    /// Sessions that ended, by who ended them and with which close code (0 for none).
    pub closed: BTreeMap<(Initiator, u16), u64>,
    /// Handshakes that were refused for a limit.
    pub refused: u64,
    /// What clients sent in sessions that have ended.
    pub client_to_upstream: TrafficTotals,
    /// What clients got in sessions that have ended.
    pub upstream_to_client: TrafficTotals,
    /// Protocol errors in sessions that have ended.
    pub errors: u64,
    /// Handshakes, and how long they took together.
    pub handshakes: (u64, Duration),
    /// Sessions that ended, and how long they lasted together.
    pub lifetimes: (u64, Duration),
}

impl SessionTotals {
    /// Adds a session that has ended, and how long its handshake took.
    pub(super) fn add_ended(&mut self, session: &Session, handshake: Duration) {
        let client_to_upstream = session.counts(Direction::ClientToUpstream);
        let upstream_to_client = session.counts(Direction::UpstreamToClient);
        self.opened += 1;
        let end = session.end();
        let initiator = end.map_or(Initiator::Network, |end| end.initiator);
        let code = end.and_then(|end| end.code).unwrap_or(0);
        *self.closed.entry((initiator, code)).or_default() += 1;
        self.client_to_upstream.add(&client_to_upstream);
        self.upstream_to_client.add(&upstream_to_client);
        self.errors += client_to_upstream.errors + upstream_to_client.errors;
        self.handshakes = (self.handshakes.0 + 1, self.handshakes.1 + handshake);
        let lasted = session.started.elapsed().saturating_sub(handshake);
        self.lifetimes = (self.lifetimes.0 + 1, self.lifetimes.1 + lasted);
    }
}

/// Frames and bytes of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TrafficTotals {
    /// Frames.
    pub frames: u64,
    /// Bytes on the wire.
    pub bytes: u64,
}

impl TrafficTotals {
    fn add(&mut self, counts: &FrameCounts) {
        self.frames += counts.frames();
        self.bytes += counts.bytes;
    }
}
