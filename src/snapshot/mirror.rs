//! The compiled destination of copies of a route's requests. It knows nothing of how a copy is sent.

use crate::upstream::Pool;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Where copies of a route's requests go.
#[derive(Debug)]
pub(crate) struct Mirror {
    /// The shadow.
    pub pool: Arc<Pool>,
    /// So many of a hundred requests.
    pub percent: u8,
    /// A permit for each copy that may be under way.
    pub permits: Arc<Semaphore>,
    /// How long a copy may take.
    pub timeout: Duration,
}
