use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

/// Counts the requests and WebSocket sessions under way, so that a stop can wait for them.
#[derive(Debug, Default)]
pub struct InFlight {
    count: AtomicUsize,
    left: Notify,
}

impl InFlight {
    /// One more is under way, until the ticket is dropped.
    pub fn enter(self: &Arc<Self>) -> Ticket {
        self.count.fetch_add(1, Ordering::Relaxed);
        Ticket(Arc::clone(self))
    }

    /// How many are under way.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Waits until none is under way.
    pub async fn none(&self) {
        loop {
            let left = self.left.notified();
            if self.count() == 0 {
                return;
            }
            left.await;
        }
    }
}

/// One request or session that is under way.
#[derive(Debug)]
pub struct Ticket(Arc<InFlight>);

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.left.notify_waiters();
        }
    }
}
