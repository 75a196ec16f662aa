//! The snapshot that is in force; reading it is one atomic load. It knows nothing of how a snapshot is made.

use super::{Snapshot, StartupSettings};
use arc_swap::{ArcSwap, Guard};
use std::sync::Arc;
use tidegate_http::address::Address;

/// The snapshot that is in force. Reading it is one atomic load.
pub(crate) struct CurrentSnapshot {
    current: ArcSwap<Snapshot>,
    /// What the process has started with.
    started: StartupSettings,
    /// The addresses that are listened on, with the ports that the system chose.
    bound: Vec<Address>,
}

impl CurrentSnapshot {
    /// Begins with this snapshot, whose listeners are bound at these addresses.
    pub(crate) fn new(snapshot: Snapshot, bound: Vec<Address>) -> Self {
        let started = snapshot.startup.clone();
        Self { current: ArcSwap::from_pointee(snapshot), started, bound }
    }

    /// What can't change while the process runs, as it is in force.
    pub(crate) fn startup_in_force(&self) -> &StartupSettings {
        &self.started
    }

    /// The addresses that are listened on.
    pub(crate) fn bound_addresses(&self) -> &[Address] {
        &self.bound
    }

    /// The keys whose values in the configuration take effect only after a restart.
    pub(crate) fn restart_needed(&self) -> Vec<String> {
        self.started.restart_needed(&self.load().startup)
    }

    /// The one in force, for a look that doesn't outlive an `await`.
    pub(crate) fn load(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// The one in force, for as long as it is held.
    pub(crate) fn load_full(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Puts another one in force, for all requests that come from now on.
    pub(crate) fn swap(&self, snapshot: Snapshot) {
        self.current.store(Arc::new(snapshot));
    }
}
