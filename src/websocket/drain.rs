//! Closes many sessions over time, so that their clients do not all reconnect at once. Does not select them.

use super::{CloseRequest, Session};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Requests sessions to close, one after the other: each at a random moment within its own part of the time.
pub(crate) async fn close_spread(
    sessions: Vec<Arc<Session>>,
    request: CloseRequest,
    duration: Duration,
) {
    let start = Instant::now();
    let parts = sessions.len().max(1) as f64;
    for (index, session) in sessions.into_iter().enumerate() {
        let part = (index as f64 + super::random_fraction()) / parts;
        sleep_until(start + duration.mul_f64(part.min(1.0))).await;
        session.request_close(request.clone());
    }
}
