//! A selected endpoint, which counts as in use until it is dropped. Selects nothing.

use super::Endpoint;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_http::address::Address;

/// An endpoint that was chosen for a request or a session, which counts as its load until this is
/// dropped.
#[derive(Debug)]
pub(crate) struct SelectedEndpoint {
    endpoint: Arc<Endpoint>,
    address: Address,
    since: Instant,
}

impl SelectedEndpoint {
    pub(super) fn new(endpoint: &Arc<Endpoint>, address: Address) -> Self {
        endpoint.health().count_in_flight();
        Self { endpoint: Arc::clone(endpoint), address, since: Instant::now() }
    }

    /// The endpoint.
    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The address of it.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// How long ago it was chosen.
    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }
}

impl Drop for SelectedEndpoint {
    fn drop(&mut self) {
        self.endpoint.health().uncount_in_flight();
    }
}
