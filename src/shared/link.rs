use super::Shared;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(2);

/// How long after a failure it is tried again: the first time, and at the most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Connects, renews and gives back, as long as somebody counts.
pub(super) async fn keep(shared: Weak<Shared>, stirred: Arc<Notify>) {
    let mut wait = RETRY.0;
    let mut round = Instant::now();
    loop {
        let Some(this) = shared.upgrade() else { return };
        if this.is_up() {
            let is_due = Instant::now() >= round;
            if is_due {
                round = Instant::now() + this.settings.lease / 3;
            }
            this.settle(is_due).await;
        } else {
            match this.connect().await {
                Ok(link) => {
                    let address = this.address();
                    this.link.store(Some(Arc::new(link)));
                    log::info!("shared counters: counting together at {address}");
                    (wait, round) = (RETRY.0, Instant::now());
                }
                Err(error) => {
                    if this.alarm.ring() {
                        let (address, reason) = (this.address(), super::reason(&error));
                        log::warn!(
                            "shared counters: {address} can't be reached ({reason}); counting alone \
                             until it can"
                        );
                    }
                    drop(this);
                    sleep(wait).await;
                    wait = (wait * 2).min(RETRY.1);
                }
            }
            continue;
        }
        drop(this);
        let _ = timeout_at(round, stirred.notified()).await;
    }
}

impl Shared {
    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(self.settings.timeout));
        let mut link = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        // A server that is still loading, or wants a password, takes the connection all the same.
        self.load_scripts(&mut link).await?;
        Ok(link)
    }

    /// A connection of its own, for who waits there.
    pub(super) async fn connect_to_wait(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None);
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }
}
