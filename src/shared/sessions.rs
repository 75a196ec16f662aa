use super::{Shared, digest};
use crate::websocket::{End, Registry, Selector};
use redis::{RedisError, Script};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::sleep;

pub(super) static ENTER: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("enter.lua")));

/// How many are renewed or given back at a time.
const BATCH: usize = 500;

/// How many that have ended are remembered while the counters are away; the rest lapses.
const MOST_ENDED: usize = 10_000;

/// How long it waits for a session that has to go, before it looks whether it is still wanted.
const LISTEN: f64 = 5.0;

/// How long after a failure it listens again.
const RETRY: Duration = Duration::from_secs(1);

/// The sessions of this gateway that are counted together with those of others.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// By their id, the key that they are counted at and, for those that are in, when they began.
    live: HashMap<String, (String, Option<u64>)>,
    /// Those that have ended, and are still counted.
    ended: Vec<(String, String)>,
}

impl Held {
    fn end(&mut self, id: String) {
        if let Some((key, _)) = self.live.remove(&id)
            && self.ended.len() < MOST_ENDED
        {
            self.ended.push((id, key));
        }
    }
}

/// Whether a session may come in.
#[derive(Debug)]
pub enum Entry {
    /// It may, and counts as long as this lives.
    Held(Hold),
    /// It may not: there are as many as there may be.
    Full,
    /// Nobody knows, for the counters are away. It counts once they are back.
    Alone(Hold),
}

/// Lets a session count until it is dropped.
#[derive(Debug)]
pub struct Hold {
    shared: Arc<Shared>,
    id: String,
}

impl Shared {
    /// A session of this route and user comes in, if there are fewer than `most`, or if the oldest
    /// makes room.
    pub async fn enter(
        self: &Arc<Self>,
        route: &str,
        user: &str,
        id: &str,
        most: usize,
        evicts_oldest: bool,
    ) -> Entry {
        let who = digest(&[route.as_bytes(), user.as_bytes()]);
        let key = format!("{}:sessions:{who}", self.settings.prefix);
        self.held().live.insert(id.to_owned(), (key.clone(), None));
        // Before anything is awaited: a client that goes meanwhile is not counted for long.
        let hold = Hold { shared: Arc::clone(self), id: id.to_owned() };
        let answer = match self.link() {
            None => None,
            Some(mut link) => {
                let answer: Result<u64, RedisError> = ENTER
                    .key(key)
                    .arg(id)
                    .arg(&self.replica)
                    .arg(most)
                    .arg(u8::from(evicts_oldest))
                    .arg(millis(self.settings.lease))
                    .arg(format!("{}:evicted:", self.settings.prefix))
                    .invoke_async(&mut link)
                    .await;
                self.judge(answer)
            }
        };
        match answer {
            Some(0) => {
                // It was never counted, so there is nothing to give back.
                self.held().live.remove(id);
                Entry::Full
            }
            Some(began) => {
                self.began(id, began);
                Entry::Held(hold)
            }
            None => {
                let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                self.began(id, millis(began));
                Entry::Alone(hold)
            }
        }
    }

    fn began(&self, id: &str, at: u64) {
        if let Some((_, began)) = self.held().live.get_mut(id) {
            *began = Some(at);
        }
    }

    /// Gives back what has ended and, when it is due, renews what goes on.
    pub(super) async fn settle(&self, is_due: bool) {
        let ended = std::mem::take(&mut self.held().ended);
        if is_due && self.renew().await.is_none() {
            return;
        }
        for batch in ended.chunks(BATCH) {
            let Some(mut link) = self.link.load().as_deref().cloned() else { return };
            let mut all = redis::pipe();
            for (id, key) in batch {
                all.hdel(key, id).ignore();
            }
            let answer: Result<(), RedisError> = all.query_async(&mut link).await;
            if let Err(error) = answer {
                return self.lose(&error);
            }
        }
    }

    async fn renew(&self) -> Option<()> {
        let live: Vec<(String, String, u64)> = {
            let held = self.held();
            let began = held
                .live
                .iter()
                .filter_map(|(id, (key, began))| Some((id.clone(), key.clone(), (*began)?)));
            began.collect()
        };
        let mut link = self.link.load().as_deref().cloned()?;
        let told = |error: &RedisError| self.lose(error);
        let asked = redis::cmd("TIME").query_async(&mut link).await;
        let (seconds, micros): (u64, u64) = asked.inspect_err(told).ok()?;
        let ends = seconds * 1000 + micros / 1000 + millis(self.settings.lease);
        for batch in live.chunks(BATCH) {
            let mut all = redis::pipe();
            for (id, key, began) in batch {
                all.hset(key, id, format!("{began} {ends} {}", self.replica)).ignore();
                all.cmd("PEXPIRE").arg(key).arg(millis(self.settings.lease)).ignore();
            }
            let answer: Result<(), RedisError> = all.query_async(&mut link).await;
            answer.inspect_err(told).ok()?;
        }
        Some(())
    }

    /// What it protects is whole between any two statements.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.shared.held();
        held.end(std::mem::take(&mut self.id));
        drop(held);
        self.shared.stirred.notify_one();
    }
}

/// Closes the sessions of this gateway that others' newer ones take the place of.
pub(super) async fn close_evicted(shared: Weak<Shared>, sessions: Arc<Registry>) {
    let mut link = None;
    loop {
        let Some(this) = shared.upgrade() else { return };
        let list = format!("{}:evicted:{}", this.settings.prefix, this.replica);
        let mut taken = match link.take() {
            Some(link) => link,
            None => match this.connect_to_wait().await {
                Ok(link) => link,
                Err(_) => {
                    drop(this);
                    sleep(RETRY).await;
                    continue;
                }
            },
        };
        drop(this);
        let mut wait = redis::cmd("BLPOP");
        wait.arg(list).arg(LISTEN);
        let heard: Result<Option<(String, String)>, RedisError> =
            wait.query_async(&mut taken).await;
        match heard {
            Ok(Some((_, id))) => evict(&shared, &sessions, id),
            Ok(None) => {}
            Err(_) => {
                sleep(RETRY).await;
                continue;
            }
        }
        link = Some(taken);
    }
}

fn evict(shared: &Weak<Shared>, sessions: &Registry, id: String) {
    if let Some(this) = shared.upgrade() {
        // It counts no more, so it must not be renewed while it closes; it may be just now.
        this.held().end(id.clone());
    }
    sessions.close(&Selector { id: Some(id), ..Selector::default() }, &End::replaced());
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
