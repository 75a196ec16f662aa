//! The revoked logins that several gateways share: each adds its own to a sorted set, and reads those of the others. It
//! knows nothing of tokens; a revocation is a text with a time.

use super::SharedCounterClient;
use crate::authentication::{Revocation, Revocations};
use crate::background;
use crate::websocket::SessionRegistry;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, Script};
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;
use tokio::time::timeout;

static ADD_REVOCATIONS: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("revocations.lua")));

/// How often the others' revocations are read: they take effect within 2 s.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// How long a new gateway waits for the others' revocations before it serves.
const FIRST_EXCHANGE_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum number of revocations in one command.
const BATCH: usize = 500;

/// Exchanges revocations with the other gateways, as long as the counters are in use.
pub(super) async fn exchange(shared: Weak<SharedCounterClient>, sessions: Weak<SessionRegistry>) {
    // Where this gateway has read to; `None` to begin anew.
    let mut cursor: Option<f64> = None;
    loop {
        let (Some(this), Some(all)) = (shared.upgrade(), sessions.upgrade()) else { return };
        let is_new = match this.link.load().as_deref().cloned() {
            None => {
                cursor = None;
                false
            }
            Some(link) => this.exchange_once(link, all.revocations(), &mut cursor).await,
        };
        drop(this);
        if is_new {
            let all = Arc::clone(&all);
            let ended =
                background::run_blocking("end revoked sessions", move || all.close_revoked()).await;
            log::info!(
                "another gateway revoked logins; {} WebSocket sessions end",
                ended.unwrap_or(0)
            );
        }
        let _ = timeout(POLL_INTERVAL, all.revocations().added.notified()).await;
    }
}

impl SharedCounterClient {
    /// Starts the exchange of revocations, unless it runs already. It needs a runtime.
    pub(crate) fn start_revocations(self: &Arc<Self>, sessions: &Arc<SessionRegistry>) {
        use std::sync::atomic::Ordering;
        if !self.exchanges_revocations.swap(true, Ordering::Relaxed) {
            let (this, sessions) = (Arc::downgrade(self), Arc::downgrade(sessions));
            let exchange = move || exchange(Weak::clone(&this), Weak::clone(&sessions));
            background::spawn_restarting("shared revocations", exchange);
        }
    }

    /// Waits until the revocations of the other gateways have been read, a little while.
    pub(crate) async fn wait_for_revocations(&self) {
        let mut has_revocations = self.has_revocations.subscribe();
        if timeout(FIRST_EXCHANGE_TIMEOUT, has_revocations.wait_for(|it| *it)).await.is_err() {
            log::warn!(
                "shared_counters: the logins that other gateways have revoked are not known yet; \
                 until the server answers, this gateway admits them"
            );
        }
    }

    /// Adds what the others have not been told, and takes over what they have added. Returns whether anything is new.
    async fn exchange_once(
        &self,
        mut link: MultiplexedConnection,
        revocations: &Revocations,
        cursor: &mut Option<f64>,
    ) -> bool {
        let key = format!("{}:revoked", self.settings.prefix);
        let untold = revocations.take_untold();
        // After a failure, and at a server that has lost its data, the others may lack any of them.
        let to_tell = if cursor.is_none() { revocations.all() } else { untold };
        for batch in to_tell.chunks(BATCH) {
            let mut script = ADD_REVOCATIONS.key(&key);
            script.arg(u64::try_from(revocations.remember().as_millis()).unwrap_or(u64::MAX));
            batch.iter().for_each(|revocation| {
                script.arg(revocation.to_text());
            });
            let added: Result<i64, RedisError> = script.invoke_async(&mut link).await;
            if let Err(error) = added {
                self.give_up_link(&error);
                *cursor = None;
                return false;
            }
        }
        let from = cursor.map_or("-inf".to_owned(), |score| format!("({score}"));
        let mut read = redis::cmd("ZRANGEBYSCORE");
        read.arg(&key).arg(from).arg("+inf").arg("WITHSCORES");
        let found: Result<Vec<(String, f64)>, RedisError> = read.query_async(&mut link).await;
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                self.give_up_link(&error);
                *cursor = None;
                return false;
            }
        };
        let mut is_new = false;
        let mut last = cursor.unwrap_or(0.0);
        for (text, score) in found {
            last = last.max(score);
            is_new |= Revocation::parse(&text).is_some_and(|it| revocations.take_over(it));
        }
        *cursor = Some(last);
        self.has_revocations.send_replace(true);
        is_new
    }
}
