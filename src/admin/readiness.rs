//! Whether balancers should send requests to this gateway. It knows nothing of why it stops.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether balancers should send requests here.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    is_stopping: AtomicBool,
}

impl Readiness {
    /// From now on they should not.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_ready(&self) -> bool {
        !self.is_stopping.load(Ordering::Relaxed)
    }
}
