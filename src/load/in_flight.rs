//! Counts requests and sessions in flight, so that a stop can wait for them. Refuses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// Counts the requests and WebSocket sessions under way, so that a stop can wait for them.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    count: AtomicUsize,
    /// Those among them that have become sessions.
    sessions: AtomicUsize,
    request_left: Notify,
    is_cut_off: AtomicBool,
}

impl InFlight {
    /// One more is under way, until the ticket is dropped.
    pub(crate) fn count_request(self: &Arc<Self>) -> InFlightGuard {
        self.count.fetch_add(1, Ordering::Relaxed);
        InFlightGuard { in_flight: Arc::clone(self), is_session: false }
    }

    /// How many are under way.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// How many of them are requests.
    pub(crate) fn requests(&self) -> usize {
        self.count().saturating_sub(self.sessions.load(Ordering::Relaxed))
    }

    /// From now on what ends does so because the gateway stops.
    pub(crate) fn mark_cut_off(&self) {
        self.is_cut_off.store(true, Ordering::Release);
    }

    /// Waits until none is under way.
    pub(crate) async fn wait_for_none(&self) {
        loop {
            let left = self.request_left.notified();
            if self.count() == 0 {
                return;
            }
            left.await;
        }
    }
}

/// One request or session that is under way.
#[derive(Debug)]
pub(crate) struct InFlightGuard {
    in_flight: Arc<InFlight>,
    is_session: bool,
}

impl InFlightGuard {
    /// Whether the gateway stops, and waits for it no longer.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.in_flight.is_cut_off.load(Ordering::Acquire)
    }

    /// The request has become a session, or is refused: it counts as a request no more.
    pub(crate) fn count_as_session(&mut self) {
        if !self.is_session {
            self.is_session = true;
            self.in_flight.sessions.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        if self.is_session {
            self.in_flight.sessions.fetch_sub(1, Ordering::Relaxed);
        }
        if self.in_flight.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.in_flight.request_left.notify_waiters();
        }
    }
}
