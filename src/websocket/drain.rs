use super::{Order, Session};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Tells sessions to close, one after the other: each at a moment by chance within its own part
/// of the time, so that their clients don't come back all at once.
pub(crate) async fn close_spread(sessions: Vec<Arc<Session>>, order: Order, over: Duration) {
    let start = Instant::now();
    let parts = sessions.len().max(1) as f64;
    for (index, session) in sessions.into_iter().enumerate() {
        let part = (index as f64 + super::chance()) / parts;
        sleep_until(start + over.mul_f64(part.min(1.0))).await;
        session.order(order.clone());
    }
}
