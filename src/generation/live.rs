use super::Generation;
use arc_swap::{ArcSwap, Guard};
use std::sync::Arc;

/// The generation that is in force. Reading it is one atomic load.
pub struct Live(ArcSwap<Generation>);

impl Live {
    /// Begins with this generation.
    pub fn new(generation: Generation) -> Self {
        Self(ArcSwap::from_pointee(generation))
    }

    /// The one in force, for a look that doesn't outlive an `await`.
    pub fn load(&self) -> Guard<Arc<Generation>> {
        self.0.load()
    }

    /// The one in force, for as long as it is held.
    pub fn full(&self) -> Arc<Generation> {
        self.0.load_full()
    }

    /// Puts another one in force, for all requests that come from now on.
    pub fn swap(&self, generation: Generation) {
        self.0.store(Arc::new(generation));
    }
}
