//! The connection to the shared store, and its retries. It knows nothing of what the counters mean.

use super::SharedCounterClient;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

/// Maximum time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The first and the longest wait before a retry.
const RETRY_INTERVAL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// After that long the server counts as reliable: the next failure starts with the shortest retry
/// interval. A server that accepts connections and then fails keeps the long one.
const RELIABLE_AFTER: Duration = Duration::from_secs(10);

/// Connects, renews and releases sessions, as long as the counters are in use.
pub(super) async fn keep_connected(shared: Weak<SharedCounterClient>, stirred: Arc<Notify>) {
    let mut wait = RETRY_INTERVAL.0;
    let mut round = Instant::now();
    let mut connected: Option<Instant> = None;
    loop {
        let Some(this) = shared.upgrade() else { return };
        if this.is_up() {
            let is_due = Instant::now() >= round;
            if is_due {
                round = Instant::now() + this.settings.lease / 3;
            }
            this.report_ends_and_renew(is_due).await;
            if this.is_up() {
                drop(this);
                let _ = timeout_at(round, stirred.notified()).await;
            }
            continue;
        }
        match connected.take() {
            // The connection was just lost.
            Some(since) if since.elapsed() >= RELIABLE_AFTER => wait = RETRY_INTERVAL.0,
            Some(_) => {}
            None => match this.connect().await {
                Ok(link) => {
                    this.link.store(Some(Arc::new(link)));
                    this.log_reachable();
                    (connected, round) = (Some(Instant::now()), Instant::now());
                    continue;
                }
                Err(error) => this.log_unreachable(&error),
            },
        }
        drop(this);
        sleep(wait).await;
        wait = (wait * 2).min(RETRY_INTERVAL.1);
    }
}

impl SharedCounterClient {
    /// A connection to a server that accepts writes. A replica, a server without memory and one that
    /// is still loading accept connections too.
    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(self.settings.timeout));
        let mut link = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        self.load_scripts(&mut link).await?;
        self.try_to_write(&mut link).await?;
        Ok(link)
    }

    /// A separate connection for a command that the server answers after at most `longest`.
    pub(super) async fn connect_to_wait(
        &self,
        longest: Duration,
    ) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(longest + CONNECT_TIMEOUT));
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }
}
