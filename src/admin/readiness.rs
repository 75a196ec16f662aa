//! Whether load balancers should send requests to this gateway. Knows nothing of why it stops.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether load balancers should send requests to this gateway.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    is_stopping: AtomicBool,
}

impl Readiness {
    /// Makes the gateway unready, forever.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_ready(&self) -> bool {
        !self.is_stopping.load(Ordering::Relaxed)
    }
}
