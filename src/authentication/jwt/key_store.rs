//! The keys of an issuer over time: fetched by a task, never by a request, and kept while the issuer is unreachable.
//! Knows nothing of tokens.

use super::fetch::{self, KeyLocation};
use super::key_set::KeySet;
use crate::background;
use crate::http_client::HttpClient;
use arc_swap::ArcSwapOption;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

/// Minimum time between two fetches for unknown `kid`s, which strangers can make up.
pub(crate) const UNKNOWN_KEY_INTERVAL: Duration = Duration::from_secs(30);

/// Maximum time that a request waits for a fetch that is under way: for the first keys after start, or for those of a
/// rotation that the issuer has not announced. The request itself fetches nothing, and only requests whose token cannot be
/// verified without those keys wait.
const FETCH_WAIT: Duration = Duration::from_secs(3);

/// The first and the longest wait before a failed fetch is repeated.
const RETRY_INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Where keys are, and how long they last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RemoteKeys {
    /// Where they are.
    pub(crate) location: KeyLocation,
    /// PEM of the authorities that may sign the issuer's certificate; none for those of the system.
    pub(crate) authorities: Option<Vec<u8>>,
    /// Time between two fetches.
    pub(crate) refresh: Duration,
    /// Time for which keys stay in use while the issuer is unreachable.
    pub(crate) keep: Duration,
}

/// The keys of an issuer.
pub(crate) struct KeyStore {
    /// `None`: the keys came with the configuration.
    remote: Option<(RemoteKeys, HttpClient)>,
    current: ArcSwapOption<FetchedKeys>,
    has_begun: AtomicBool,
    /// Wakes the task for an early fetch, or because the store is no longer used.
    stirred: Arc<Notify>,
    /// The number of fetches that have ended, whether they succeeded or not.
    ended: watch::Sender<u64>,
    /// The last early fetch. Its lock is held for a few comparisons.
    early: Mutex<EarlyFetch>,
}

/// An early fetch, because of an unknown `kid`.
#[derive(Debug, Default)]
struct EarlyFetch {
    /// When it was asked for.
    at: Option<Instant>,
    /// It has ended when [`KeyStore::ended`] is this number.
    ends_at: u64,
}

/// A key set, and when it was last fetched. The clock of the machine may jump; this one does not.
#[derive(Debug)]
struct FetchedKeys {
    keys: Arc<KeySet>,
    at: Instant,
}

/// The keys that verify tokens now.
#[derive(Debug)]
pub(crate) enum CurrentKeys {
    /// These.
    Keys(Arc<KeySet>),
    /// None has been fetched yet.
    None,
    /// The last ones are too old to trust.
    TooOld,
}

impl fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyStore").field("remote", &self.remote).finish_non_exhaustive()
    }
}

/// The stores of this process: schemes with the same keys share one, and its fetches. A reload that changes other
/// settings of a scheme thus needs no new keys.
static STORES: Mutex<Vec<Weak<KeyStore>>> = Mutex::new(Vec::new());

impl KeyStore {
    /// Keys that came with the configuration.
    pub(crate) fn fixed(keys: KeySet) -> Arc<Self> {
        let this = Self::new(None);
        this.store(Arc::new(keys));
        Arc::new(this)
    }

    /// Keys that a task fetches; the client is made only for a new store. A store with other times takes over the keys of
    /// the one with the same location.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub(crate) fn remote(
        settings: RemoteKeys,
        client: impl FnOnce() -> Result<HttpClient, String>,
    ) -> Result<Arc<Self>, String> {
        let mut stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
        stores.retain(|store| store.strong_count() > 0);
        let all: Vec<_> = stores.iter().filter_map(Weak::upgrade).collect();
        let same = |store: &&Arc<Self>| store.settings() == Some(&settings);
        if let Some(same) = all.iter().find(same) {
            return Ok(Arc::clone(same));
        }
        let this = Arc::new(Self::new(Some((settings, client()?))));
        let has_same_keys = |store: &&Arc<Self>| {
            let [one, other] = [store.settings(), this.settings()]
                .map(|it| it.map(|it| (&it.location, &it.authorities)));
            one == other
        };
        if let Some(keys) = all.iter().filter(has_same_keys).find_map(|it| it.current.load_full()) {
            this.current.store(Some(keys));
        }
        stores.push(Arc::downgrade(&this));
        Ok(this)
    }

    fn new(remote: Option<(RemoteKeys, HttpClient)>) -> Self {
        Self {
            remote,
            current: ArcSwapOption::empty(),
            has_begun: AtomicBool::new(false),
            stirred: Arc::default(),
            ended: watch::Sender::new(0),
            early: Mutex::default(),
        }
    }

    fn settings(&self) -> Option<&RemoteKeys> {
        self.remote.as_ref().map(|(settings, _)| settings)
    }

    /// The keys that verify tokens now.
    pub(crate) fn current(&self) -> CurrentKeys {
        let current = self.current.load();
        let Some(fetched) = &*current else { return CurrentKeys::None };
        let is_too_old = self.settings().is_some_and(|it| fetched.at.elapsed() > it.keep);
        match is_too_old {
            true => CurrentKeys::TooOld,
            false => CurrentKeys::Keys(Arc::clone(&fetched.keys)),
        }
    }

    /// Waits for the first fetch since start, unless it has ended or takes too long.
    pub(crate) async fn wait_for_first_fetch(&self) {
        if self.remote.is_some() {
            self.wait_for_fetch(1).await;
        }
    }

    /// Has the keys fetched early, unless that was done within [`UNKNOWN_KEY_INTERVAL`]. Waits for the end of an early
    /// fetch that is under way, unless it takes too long.
    pub(crate) async fn refetch(&self) {
        if self.remote.is_none() {
            return;
        }
        let ends_at = {
            let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
            if early.at.is_none_or(|at| at.elapsed() >= UNKNOWN_KEY_INTERVAL) {
                let ends_at = *self.ended.borrow() + 1;
                *early = EarlyFetch { at: Some(Instant::now()), ends_at };
                self.stirred.notify_one();
            }
            early.ends_at
        };
        self.wait_for_fetch(ends_at).await;
    }

    async fn wait_for_fetch(&self, number: u64) {
        let mut ended = self.ended.subscribe();
        let _ = timeout(FETCH_WAIT, ended.wait_for(|ended| *ended >= number)).await;
    }

    /// Starts the task that fetches the keys, if they are fetched and it does not run yet. It ends with this store.
    pub(crate) fn start(self: &Arc<Self>) {
        if self.remote.is_some() && !self.has_begun.swap(true, Ordering::Relaxed) {
            let (this, stirred) = (Arc::downgrade(self), Arc::clone(&self.stirred));
            let keep = move || keep_fetching(Weak::clone(&this), Arc::clone(&stirred));
            background::spawn_restarting("keys of token issuers", keep);
        }
    }

    fn store(&self, keys: Arc<KeySet>) {
        self.current.store(Some(Arc::new(FetchedKeys { keys, at: Instant::now() })));
    }

    /// Takes over what a fetch brought, and logs what has changed.
    fn take(&self, location: &KeyLocation, text: &[u8]) -> Result<(), String> {
        let previous = self.current.load_full();
        if let Some(same) = previous.as_ref().filter(|it| it.keys.is_from(text)) {
            // The same set, so that verified tokens stay in the cache.
            self.store(Arc::clone(&same.keys));
            return Ok(());
        }
        let (keys, fault) = KeySet::from_json(text)?;
        if let Some(fault) = fault {
            log::warn!("the keys at {location}: {fault}; the gateway uses the other keys");
        }
        if previous.is_some() {
            log::info!("the keys at {location} have changed");
        }
        self.store(Arc::new(keys));
        Ok(())
    }
}

impl Drop for KeyStore {
    fn drop(&mut self) {
        self.stirred.notify_one();
    }
}

/// Fetches the keys as long as the store is in use.
async fn keep_fetching(store: Weak<KeyStore>, stirred: Arc<Notify>) {
    let mut retry = RETRY_INTERVAL.0;
    let mut is_failing = false;
    loop {
        let Some((settings, client)) = store.upgrade().and_then(|it| it.remote.clone()) else {
            return;
        };
        let RemoteKeys { location, refresh, keep, .. } = settings;
        let text = fetch::keys_at(&location, &client).await;
        let Some(this) = store.upgrade() else { return };
        let wait = match text.and_then(|text| this.take(&location, &text)) {
            Ok(()) => {
                if std::mem::take(&mut is_failing) {
                    log::info!("the keys at {location} are available again");
                }
                retry = RETRY_INTERVAL.0;
                refresh
            }
            Err(reason) => {
                if !std::mem::replace(&mut is_failing, true) {
                    let keep = humantime::format_duration(keep);
                    let effect = match this.current.load().is_some() {
                        true => format!("the last ones stay in use for {keep} (`keep`)"),
                        false => "until they are, requests with tokens get 503".to_owned(),
                    };
                    log::warn!("the keys at {location} are not available: {reason}; {effect}");
                }
                let wait = retry.min(refresh);
                retry = (retry * 2).min(RETRY_INTERVAL.1);
                wait
            }
        };
        this.ended.send_modify(|ended| *ended += 1);
        drop(this);
        tokio::select! {
            () = sleep(wait) => {}
            () = stirred.notified() => {}
        }
    }
}
