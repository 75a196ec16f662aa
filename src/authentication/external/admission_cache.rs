//! Admissions that the gateway reuses for a while, bounded in number and bytes, and the questions in flight, so that
//! concurrent requests with the same question ask once. Asks nobody itself, and holds no lock while anybody waits.

use super::admitted::Admitted;
use super::key::Key;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

/// Maximum number of admissions that one scheme keeps.
const MAX_ENTRIES: usize = 16 * 1024;

/// Maximum size of all admissions that one scheme keeps, in bytes.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Maximum size of an admission that is kept, in bytes.
const MAX_ENTRY_BYTES: usize = 64 * 1024;

/// The admissions of one scheme.
#[derive(Debug, Default)]
pub(super) struct AdmissionCache {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Key, Entry>,
    /// The keys in the order in which they came.
    order: VecDeque<Key>,
    /// The size of all entries.
    bytes: usize,
    /// The questions in flight; a channel closes once its question is answered.
    asking: HashMap<Key, watch::Receiver<()>>,
}

#[derive(Debug)]
struct Entry {
    admitted: Arc<Admitted>,
    until: Instant,
}

/// What the cache has for a request.
pub(super) enum Lookup<'c> {
    /// An admission.
    Cached(Arc<Admitted>),
    /// Another request asks the same; this ends once it has its answer.
    Asking(watch::Receiver<()>),
    /// Nothing: this request is the first that asks.
    First(Turn<'c>),
}

/// The turn of a request to ask. Those with the same question wait until it is dropped.
pub(super) struct Turn<'c> {
    cache: &'c AdmissionCache,
    key: Key,
    _answered: watch::Sender<()>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.cache.lock().asking.remove(&self.key);
    }
}

impl AdmissionCache {
    /// What there is for this key.
    pub(super) fn look_up(&self, key: &Key) -> Lookup<'_> {
        let mut state = self.lock();
        if let Some(admitted) = state.get(key) {
            return Lookup::Cached(admitted);
        }
        if let Some(asking) = state.asking.get(key) {
            return Lookup::Asking(asking.clone());
        }
        let (sender, receiver) = watch::channel(());
        state.asking.insert(*key, receiver);
        Lookup::First(Turn { cache: self, key: *key, _answered: sender })
    }

    /// The admission with this key.
    pub(super) fn get(&self, key: &Key) -> Option<Arc<Admitted>> {
        self.lock().get(key)
    }

    /// Keeps an admission until then.
    pub(super) fn insert(&self, key: Key, admitted: Arc<Admitted>, until: Instant) {
        self.lock().insert(key, admitted, until);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn get(&self, key: &Key) -> Option<Arc<Admitted>> {
        let entry = self.entries.get(key)?;
        let is_fresh = entry.until > Instant::now() && entry.admitted.is_current();
        is_fresh.then(|| Arc::clone(&entry.admitted))
    }

    fn insert(&mut self, key: Key, admitted: Arc<Admitted>, until: Instant) {
        let size = admitted.size();
        if size > MAX_ENTRY_BYTES {
            return;
        }
        self.bytes += size;
        match self.entries.insert(key, Entry { admitted, until }) {
            Some(before) => self.bytes = self.bytes.saturating_sub(before.admitted.size()),
            None => self.order.push_back(key),
        }
        let now = Instant::now();
        while let Some(oldest) = self.order.front() {
            let is_over = self.entries.len() > MAX_ENTRIES || self.bytes > MAX_BYTES;
            let is_stale = self.entries.get(oldest).is_none_or(|entry| entry.until <= now);
            if !is_over && !is_stale {
                return;
            }
            if let Some(removed) = self.entries.remove(oldest) {
                self.bytes = self.bytes.saturating_sub(removed.admitted.size());
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::admitted::TakeSettings;
    use super::*;
    use crate::identity::SchemeKind;
    use http::{HeaderMap, HeaderName, HeaderValue};
    use std::time::Duration;

    fn admitted(bytes: usize) -> Arc<Admitted> {
        let name = HeaderName::from_static("x-user-id");
        let take = TakeSettings { headers: [name.clone()].into(), user: None, expires: None };
        let value = HeaderValue::from_str(&"u".repeat(bytes)).unwrap();
        let headers = HeaderMap::from_iter([(name, value)]);
        Arc::new(Admitted::new(&"legacy".into(), SchemeKind::Forward, &take, &headers).unwrap())
    }

    fn key(number: usize) -> Key {
        let mut key = Key::default();
        key[..8].copy_from_slice(&(number as u64).to_be_bytes());
        key
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    #[test]
    fn cache_is_bounded_in_entries_and_bytes_and_drops_the_oldest() {
        let cache = AdmissionCache::default();
        let small = admitted(8);
        for number in 0..MAX_ENTRIES + 10 {
            cache.insert(key(number), Arc::clone(&small), later());
        }
        assert!(cache.get(&key(9)).is_none() && cache.get(&key(10)).is_some());
        let large = admitted(16 * 1024);
        for number in 0..2000 {
            cache.insert(key(MAX_ENTRIES + 10 + number), Arc::clone(&large), later());
        }
        let state = cache.lock();
        assert!(state.bytes <= MAX_BYTES && state.entries.len() < 600, "{}", state.bytes);
        assert_eq!(state.order.len(), state.entries.len());
        let sum: usize = state.entries.values().map(|entry| entry.admitted.size()).sum();
        assert_eq!(state.bytes, sum);
        drop(state);
        cache.insert(key(1), admitted(MAX_ENTRY_BYTES), later());
        assert!(cache.get(&key(1)).is_none(), "too large to be kept");
    }

    #[test]
    fn stale_admission_is_not_used_and_goes_with_the_next_one() {
        let cache = AdmissionCache::default();
        cache.insert(key(0), admitted(8), Instant::now());
        assert!(cache.get(&key(0)).is_none());
        cache.insert(key(1), admitted(8), later());
        assert_eq!(cache.lock().entries.len(), 1);
    }

    #[tokio::test]
    async fn second_request_waits_until_the_first_has_its_answer_or_leaves() {
        let cache = AdmissionCache::default();
        let Lookup::First(turn) = cache.look_up(&key(0)) else { panic!("no turn") };
        let Lookup::Asking(mut asking) = cache.look_up(&key(0)) else { panic!("asks") };
        assert!(matches!(cache.look_up(&key(1)), Lookup::First(_)), "another question");
        cache.insert(key(0), admitted(8), later());
        drop(turn);
        assert!(asking.changed().await.is_err(), "answered");
        assert!(matches!(cache.look_up(&key(0)), Lookup::Cached(_)));
        assert!(cache.lock().asking.is_empty());
    }
}
