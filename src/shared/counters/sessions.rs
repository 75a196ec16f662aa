//! The sessions that several gateways count together, and their eviction. It knows nothing of HTTP: a session
//! is a name under a key in the shared store.

use super::{SharedCounterClient, digest};
use crate::websocket::{End, Session};
use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, Pipeline, RedisError, Script, Value};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

pub(super) static ACQUIRE_SESSION: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("acquire_session.lua")));

/// Maximum number of sessions that one command renews or releases.
const RENEWAL_BATCH: usize = 500;

/// Maximum number of ended sessions that are remembered while the counters are unreachable; the counts of the
/// others expire.
const MAX_UNREPORTED_ENDS: usize = 10_000;

/// How long the listener waits for an eviction before it checks whether it is still needed.
const EVICTION_WAIT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the listener checks whether the counters are reachable again.
const UP_POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The first and the longest wait of the listener after a failure.
const LISTEN_RETRY_INTERVAL: (Duration, Duration) =
    (Duration::from_secs(1), Duration::from_secs(10));

/// So many consecutive answers that name no session of this gateway are believed: the sessions may have
/// ended just before.
const MAX_UNKNOWN_ANSWERS: u32 = 20;

/// The sessions of this gateway in the shared counters.
#[derive(Debug, Default)]
pub(super) struct CountedSessions {
    /// By the unique name of each. The id of a session is not unique: a trusted proxy may assign the same one
    /// twice.
    live: HashMap<String, CountedSession>,
    /// Ended sessions that are still counted: name and key.
    ended: Vec<(String, String)>,
}

/// A session that is counted.
#[derive(Debug)]
struct CountedSession {
    /// The key.
    key: String,
    session: Weak<Session>,
    /// When it was admitted; `None` while it waits.
    began: Option<u64>,
}

impl CountedSessions {
    /// Ends the session, unless it has ended already.
    fn end(&mut self, name: String) -> Option<Arc<Session>> {
        let CountedSession { key, session, .. } = self.live.remove(&name)?;
        if self.ended.len() < MAX_UNREPORTED_ENDS {
            self.ended.push((name, key));
        }
        session.upgrade()
    }
}

/// The admission of a session.
#[derive(Debug)]
pub(crate) enum SharedSessionOutcome {
    /// The session is admitted, and counts until the permit is dropped.
    Granted(SharedSessionPermit),
    /// The session is refused, because the limit is reached.
    LimitReached,
    /// The counters are unreachable. The session counts once they are reachable again.
    CountersAway(SharedSessionPermit),
}

/// Counts a session until it is dropped.
#[derive(Debug)]
pub(crate) struct SharedSessionPermit {
    shared: Arc<SharedCounterClient>,
    name: String,
}

impl SharedCounterClient {
    /// Admits a session of this route and user, if there are fewer than `max_sessions`, or if the oldest is
    /// evicted.
    pub(crate) async fn acquire_session(
        self: &Arc<Self>,
        route: &str,
        user: &str,
        session: &Arc<Session>,
        max_sessions: usize,
        evicts_oldest: bool,
    ) -> SharedSessionOutcome {
        let who = digest(&[route.as_bytes(), user.as_bytes()]);
        let key = format!("{}:sessions:{who}", self.settings.prefix);
        let name = Uuid::new_v4().simple().to_string();
        let counted =
            CountedSession { key: key.clone(), session: Arc::downgrade(session), began: None };
        self.counted_sessions().live.insert(name.clone(), counted);
        // Before the first await, so that a client that disconnects meanwhile is not counted for long.
        let permit = SharedSessionPermit { shared: Arc::clone(self), name: name.clone() };
        let answer = match self.link() {
            None => None,
            Some(mut link) => {
                let answer: Result<i64, RedisError> = ACQUIRE_SESSION
                    .key(key)
                    .arg(&name)
                    .arg(&self.replica)
                    .arg(max_sessions)
                    .arg(u8::from(evicts_oldest))
                    .arg(millis(self.settings.lease))
                    .arg(format!("{}:evicted:", self.settings.prefix))
                    .invoke_async(&mut link)
                    .await;
                let answer = answer.and_then(|began| {
                    let words = "the response to the session script is malformed";
                    u64::try_from(began)
                        .map_err(|_| (ErrorKind::UnexpectedReturnType, words).into())
                });
                self.unless_failed(answer)
            }
        };
        match answer {
            Some(0) => {
                // It was never counted, so there is nothing to release.
                self.counted_sessions().live.remove(&name);
                SharedSessionOutcome::LimitReached
            }
            Some(began) => {
                self.set_start(&name, began);
                SharedSessionOutcome::Granted(permit)
            }
            None => {
                let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                self.set_start(&name, millis(began));
                SharedSessionOutcome::CountersAway(permit)
            }
        }
    }

    fn set_start(&self, name: &str, at: u64) {
        if let Some(counted) = self.counted_sessions().live.get_mut(name) {
            counted.began = Some(at);
        }
    }

    /// Releases ended sessions and, when due, renews live ones.
    pub(super) async fn report_ends_and_renew(&self, is_due: bool) {
        let ended = std::mem::take(&mut self.counted_sessions().ended);
        if is_due && self.renew().await.is_none() {
            return;
        }
        for batch in ended.chunks(RENEWAL_BATCH) {
            let Some(mut link) = self.link.load().as_deref().cloned() else { return };
            let mut all = redis::pipe();
            for (name, key) in batch {
                all.hdel(key, name);
            }
            if self.run(&all, &mut link).await.is_none() {
                return;
            }
        }
    }

    /// Runs commands for many keys. Failures of single keys are logged, and the other commands take effect; `None` if
    /// the server has failed.
    async fn run(&self, commands: &Pipeline, link: &mut MultiplexedConnection) -> Option<()> {
        let mut commands = commands.clone();
        commands.ignore_errors();
        let answers: Result<Vec<Result<Value, RedisError>>, _> = commands.query_async(link).await;
        let failed = match answers {
            Ok(answers) => {
                answers.into_iter().any(|it| it.is_err_and(|error| self.give_up_link(&error)))
            }
            Err(error) => self.give_up_link(&error),
        };
        (!failed).then_some(())
    }

    async fn renew(&self) -> Option<()> {
        let live: Vec<(String, String, u64)> = {
            let counted = self.counted_sessions();
            let all = counted.live.iter();
            all.filter_map(|(name, it)| Some((name.clone(), it.key.clone(), it.began?))).collect()
        };
        let mut link = self.link.load().as_deref().cloned()?;
        let asked = redis::cmd("TIME").query_async(&mut link).await;
        let blamed = |error: &RedisError| {
            self.give_up_link(error);
        };
        let (seconds, micros): (u64, u64) = asked.inspect_err(blamed).ok()?;
        let now = seconds.saturating_mul(1000).saturating_add(micros / 1000);
        let ends = now.saturating_add(millis(self.settings.lease));
        for batch in live.chunks(RENEWAL_BATCH) {
            let mut all = redis::pipe();
            for (name, key, began) in batch {
                all.hset(key, name, format!("{began} {ends} {}", self.replica));
                all.cmd("PEXPIRE").arg(key).arg(millis(self.settings.lease));
            }
            self.run(&all, &mut link).await?;
        }
        Some(())
    }

    /// Locks the sessions; their state is consistent between any two statements.
    fn counted_sessions(&self) -> MutexGuard<'_, CountedSessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SharedSessionPermit {
    fn drop(&mut self) {
        let mut counted = self.shared.counted_sessions();
        counted.end(std::mem::take(&mut self.name));
        drop(counted);
        self.shared.stirred.notify_one();
    }
}

/// Closes the sessions of this gateway that newer sessions at other gateways evict.
pub(super) async fn close_evicted(shared: Weak<SharedCounterClient>) {
    let mut link = None;
    let (mut unknown, mut failures) = (0, 0);
    loop {
        let Some(this) = shared.upgrade() else { return };
        let list = format!("{}:evicted:{}", this.settings.prefix, this.replica);
        let mut taken = match link.take() {
            Some(link) => link,
            // A server that refuses writes refuses this command too.
            None if !this.is_up() => {
                drop(this);
                sleep(UP_POLL_INTERVAL).await;
                continue;
            }
            None => match this.connect_to_wait(EVICTION_WAIT_TIMEOUT).await {
                Ok(link) => link,
                Err(error) => {
                    let wait = this.evictions_failed(&error, &mut failures);
                    drop(this);
                    sleep(wait).await;
                    continue;
                }
            },
        };
        drop(this);
        let mut wait = redis::cmd("BLPOP");
        wait.arg(list).arg(EVICTION_WAIT_TIMEOUT.as_secs());
        let began = Instant::now();
        let heard: Result<Option<(String, String)>, RedisError> =
            wait.query_async(&mut taken).await;
        let Some(this) = shared.upgrade() else { return };
        let failed = match heard {
            Ok(Some((_, name))) => {
                unknown = if this.evict(name) { 0 } else { unknown + 1 };
                (unknown > MAX_UNKNOWN_ANSWERS)
                    .then_some("BLPOP returns sessions that no gateway has evicted")
            }
            // Without this pause, a server that answers at once would be polled in a loop.
            Ok(None) if began.elapsed() < EVICTION_WAIT_TIMEOUT / 2 => {
                Some("BLPOP returns before its timeout")
            }
            Ok(None) => None,
            Err(error) => {
                let sleeping = sleep(this.evictions_failed(&error, &mut failures));
                // A refused command does not affect the connection.
                link = error.code().is_some().then_some(taken);
                drop(this);
                sleeping.await;
                continue;
            }
        };
        link = Some(taken);
        match failed {
            None => failures = 0,
            Some(words) => {
                let error = (ErrorKind::UnexpectedReturnType, words).into();
                let wait = this.evictions_failed(&error, &mut failures);
                drop(this);
                sleep(wait).await;
            }
        }
    }
}

impl SharedCounterClient {
    /// Closes the session with this name; returns whether this gateway has it.
    fn evict(&self, name: String) -> bool {
        // It no longer counts, so it must not be renewed while it closes.
        let session = self.counted_sessions().end(name);
        if let Some(session) = &session {
            // A session that is not open yet closes as soon as it is.
            session.request_close(End::replaced());
        }
        session.is_some()
    }

    /// Logs, at most once a minute, that evictions by other gateways cannot be received; the link reports an unreachable
    /// server. Returns how long to wait.
    fn evictions_failed(&self, error: &RedisError, failures: &mut u32) -> Duration {
        let wait = LISTEN_RETRY_INTERVAL
            .0
            .saturating_mul(1 << (*failures).min(4))
            .min(LISTEN_RETRY_INTERVAL.1);
        *failures = failures.saturating_add(1);
        let is_away = error.is_io_error() && (*failures < 3 || !self.is_up());
        if !is_away && self.evictions.should_log() {
            let (address, reason) = (self.address(), super::reason(error));
            log::warn!(
                "shared counters: cannot read from {address} which sessions other gateways evict \
                 ({reason}); until that works, those sessions stay open here, beyond the limit \
                 of their user"
            );
        }
        wait
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
