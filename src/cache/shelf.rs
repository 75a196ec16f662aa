use super::entry::{Entry, hash};
use super::fill::Fill;
use super::marks::{Mark, Marks};
use super::stampede::Stampede;
use super::storage::View;
use async_trait::async_trait;
use pingora::Result;
use pingora_cache::eviction::lru::Manager;
use pingora_cache::eviction::{CacheEntryKey, CacheEntryKeyRef, EvictionManager};
use pingora_cache::key::CompactCacheKey;
use pingora_cache::predictor::Predictor;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

const SHARDS: usize = 16;

/// URLs for each shard that are known to have nothing that may be kept.
const KNOWN_UNCACHEABLE: usize = 1024;

/// How much the cache may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all entries and of those on their way.
    pub max_size: usize,
    /// Bytes of one body.
    pub max_entry: usize,
}

impl Limits {
    /// The part of it that is for responses on their way, whose number nothing else bounds.
    pub const FILLING: usize = 8;
}

/// What a request asks for, as the cache tells it from others.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// As the client wrote it, normalised.
    pub url: Arc<str>,
    /// When it asked.
    pub mark: Mark,
    /// Whether others may be given what it fetches, as far as the request tells.
    pub shares: bool,
}

#[cfg(test)]
impl Target {
    pub(super) fn for_test(url: &str) -> Self {
        Self { mark: Marks::new().now(url), url: url.into(), shares: true }
    }
}

/// What is purged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Everything.
    All,
    /// A URL, in all its variants.
    Url(String),
    /// All URLs that begin so.
    Prefix(String),
}

#[derive(Default)]
struct Slot {
    entry: Option<Arc<Entry>>,
    fills: Vec<Arc<Fill>>,
}

type Slots = HashMap<u128, Slot>;

/// The keys of each URL. Ordered, so that those with one beginning are together.
type Index = BTreeMap<Arc<str>, Vec<CompactCacheKey>>;

/// The responses that are kept, and all that Pingora wants to have beside them.
pub(crate) struct Shelf {
    shards: [RwLock<Slots>; SHARDS],
    /// Held while entries come and go, so that it never misses one; not to find one.
    index: Mutex<Index>,
    marks: Marks,
    max_filling: AtomicUsize,
    max_entry: AtomicUsize,
    filling: AtomicUsize,
    fills: AtomicU64,
    purged: AtomicU64,
    /// Views that nobody uses at the moment.
    pub(super) views: Mutex<Vec<&'static View>>,
    /// Who goes when there is no room.
    lru: Manager<SHARDS>,
    /// Who waits for whom.
    pub stampede: Stampede,
    /// What is not looked for, as it may not be kept.
    pub predictor: Predictor<SHARDS>,
}

impl Shelf {
    pub(super) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            index: Mutex::default(),
            marks: Marks::new(),
            max_filling: AtomicUsize::new(0),
            max_entry: AtomicUsize::new(0),
            filling: AtomicUsize::new(0),
            fills: AtomicU64::new(0),
            purged: AtomicU64::new(0),
            views: Mutex::default(),
            lru: Manager::with_capacity(0, 64),
            stampede: Stampede::new(),
            predictor: Predictor::new(KNOWN_UNCACHEABLE, Some(super::Refusal::is_of_request)),
        }
    }

    pub(super) fn bound(&self, limits: Limits) {
        let filling = limits.max_size / Limits::FILLING;
        self.max_filling.store(filling, Relaxed);
        self.max_entry.store(limits.max_entry, Relaxed);
        self.lru.set_weight_limit(limits.max_size.saturating_sub(filling));
    }

    /// The most bytes of a body.
    pub(crate) fn max_entry(&self) -> usize {
        self.max_entry.load(Relaxed)
    }

    /// What a request for this URL asks for, now. `shares` is whether others may be given what it fetches.
    pub(crate) fn target(&self, url: String, shares: bool) -> Target {
        Target { mark: self.marks.now(&url), url: url.into(), shares }
    }

    /// Bytes of all entries.
    pub(crate) fn bytes(&self) -> usize {
        self.lru.total_size()
    }

    /// How many there are.
    pub(crate) fn entries(&self) -> usize {
        self.lru.total_items()
    }

    /// How many had to make room.
    pub(crate) fn evictions(&self) -> usize {
        self.lru.evicted_items()
    }

    /// How many were purged.
    pub(crate) fn purged(&self) -> u64 {
        self.purged.load(Relaxed)
    }

    /// Bytes of what is on its way.
    pub(crate) fn filling(&self) -> usize {
        self.filling.load(Relaxed)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, hash: u128) -> Option<RwLockReadGuard<'_, Slots>> {
        let shard = self.shards.get((hash % SHARDS as u128) as usize)?;
        Some(shard.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, hash: u128) -> Option<RwLockWriteGuard<'_, Slots>> {
        let shard = self.shards.get((hash % SHARDS as u128) as usize)?;
        Some(shard.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Room for so many bytes on their way, if there is.
    pub(super) fn reserve(&self, bytes: usize) -> bool {
        let most = self.max_filling.load(Relaxed);
        let taken = self.filling.fetch_add(bytes, Relaxed).saturating_add(bytes);
        if taken > most {
            self.release(bytes);
        }
        taken <= most
    }

    pub(super) fn release(&self, bytes: usize) {
        self.filling.fetch_sub(bytes, Relaxed);
    }

    pub(super) fn next_fill(&self) -> u64 {
        self.fills.fetch_add(1, Relaxed) + 1
    }

    /// One that comes, for others to follow.
    pub(super) fn announce(&self, key: &CompactCacheKey, fill: &Arc<Fill>) {
        let hash = hash(key);
        if let Some(mut slots) = self.write(hash) {
            slots.entry(hash).or_default().fills.push(Arc::clone(fill));
        }
    }

    /// It is not to be followed any more.
    pub(super) fn withdraw(&self, key: &CompactCacheKey, fill: &Arc<Fill>) {
        let hash = hash(key);
        let Some(mut slots) = self.write(hash) else { return };
        if let Some(slot) = slots.get_mut(&hash) {
            slot.fills.retain(|other| other.id != fill.id);
            if slot.fills.is_empty() && slot.entry.is_none() {
                slots.remove(&hash);
            }
        }
    }

    /// The newest that comes and that was not purged meanwhile.
    pub(super) fn coming(&self, hash: u128) -> Option<Arc<Fill>> {
        let slots = self.read(hash)?;
        let is_good = |fill: &&Arc<Fill>| self.is_current(fill) && !fill.is_broken();
        slots.get(&hash)?.fills.iter().rev().find(is_good).cloned()
    }

    /// The one with this number, which its own request reads whatever has become of it.
    pub(super) fn fill(&self, hash: u128, id: u64) -> Option<Arc<Fill>> {
        self.read(hash)?.get(&hash)?.fills.iter().find(|fill| fill.id == id).cloned()
    }

    pub(super) fn entry(&self, hash: u128) -> Option<Arc<Entry>> {
        self.read(hash)?.get(&hash)?.entry.clone()
    }

    fn is_current(&self, fill: &Fill) -> bool {
        self.marks.now(&fill.url) == fill.mark
    }

    /// Keeps what has come, unless it was purged meanwhile.
    pub(super) fn keep(&self, entry: Entry, fill: &Arc<Fill>) -> bool {
        let hash = entry.hash();
        let mut index = self.index();
        let Some(mut slots) = self.write(hash) else { return false };
        let slot = slots.entry(hash).or_default();
        slot.fills.retain(|other| other.id != fill.id);
        // A purge counts first and looks then: it sees this one, or this one sees it.
        if !self.is_current(fill) {
            if slot.fills.is_empty() && slot.entry.is_none() {
                slots.remove(&hash);
            }
            return false;
        }
        let keys = index.entry(Arc::clone(&entry.url)).or_default();
        if !keys.contains(&entry.key) {
            keys.push(entry.key.clone());
        }
        slot.entry = Some(Arc::new(entry));
        true
    }

    /// Other words about an entry that is there.
    pub(super) fn rewrite(&self, hash: u128, written: super::entry::Written) -> bool {
        let Some(mut slots) = self.write(hash) else { return false };
        let Some(entry) = slots.get_mut(&hash).and_then(|slot| slot.entry.as_mut()) else {
            return false;
        };
        *entry = Arc::new(Entry {
            key: entry.key.clone(),
            url: Arc::clone(&entry.url),
            body: entry.body.clone(),
            written,
        });
        true
    }

    /// Takes an entry away.
    pub(super) fn remove(&self, key: &CompactCacheKey) -> bool {
        self.remove_of(&mut self.index(), key)
    }

    fn remove_of(&self, index: &mut Index, key: &CompactCacheKey) -> bool {
        let hash = hash(key);
        let Some(mut slots) = self.write(hash) else { return false };
        let Some(slot) = slots.get_mut(&hash) else { return false };
        let entry = slot.entry.take();
        if slot.fills.is_empty() {
            slots.remove(&hash);
        }
        let Some(entry) = entry else { return false };
        if let Some(keys) = index.get_mut(&entry.url) {
            keys.retain(|other| other != key);
            if keys.is_empty() {
                index.remove(&entry.url);
            }
        }
        true
    }

    /// Purges; says how many entries went. What is on its way from before is not kept.
    pub(crate) fn purge(&self, scope: &Scope) -> usize {
        match scope {
            Scope::Url(url) => self.marks.purge(url),
            Scope::All | Scope::Prefix(_) => self.marks.purge_all(),
        }
        let mut index = self.index();
        let keys: Vec<CompactCacheKey> = match scope {
            Scope::All => index.values().flatten().cloned().collect(),
            Scope::Url(url) => index.get(url.as_str()).into_iter().flatten().cloned().collect(),
            Scope::Prefix(prefix) => index
                .range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded))
                .take_while(|(url, _)| url.starts_with(prefix.as_str()))
                .flat_map(|(_, keys)| keys)
                .cloned()
                .collect(),
        };
        let mut gone = 0;
        for key in &keys {
            gone += usize::from(self.remove_of(&mut index, key));
            self.lru.remove(CacheEntryKeyRef::KeyOnly(key));
        }
        self.purged.fetch_add(gone as u64, Relaxed);
        gone
    }
}

/// Counts what is there and nothing else: Pingora tells of an entry after it was kept, when a purge
/// may have been faster.
#[async_trait]
impl EvictionManager for Shelf {
    fn total_size(&self) -> usize {
        self.lru.total_size()
    }

    fn total_items(&self) -> usize {
        self.lru.total_items()
    }

    fn evicted_size(&self) -> usize {
        self.lru.evicted_size()
    }

    fn evicted_items(&self) -> usize {
        self.lru.evicted_items()
    }

    fn admit(&self, item: CacheEntryKey, _: usize, fresh_until: SystemTime) -> Vec<CacheEntryKey> {
        match self.entry(hash(item.key())) {
            Some(entry) => self.lru.admit(item, entry.weight(), fresh_until),
            None => Vec::new(),
        }
    }

    fn increment_weight(
        &self,
        item: &CacheEntryKey,
        delta: usize,
        max_weight: Option<usize>,
    ) -> Vec<CacheEntryKey> {
        self.lru.increment_weight(item, delta, max_weight)
    }

    fn remove(&self, item: CacheEntryKeyRef<'_>) {
        self.lru.remove(item);
    }

    fn access(&self, item: &CacheEntryKey, size: usize, fresh_until: SystemTime) -> bool {
        self.lru.peek(item) && self.lru.access(item, size, fresh_until)
    }

    fn peek(&self, item: &CacheEntryKey) -> bool {
        self.lru.peek(item)
    }

    async fn save(&self, _: &str) -> Result<()> {
        Ok(())
    }

    async fn load(&self, _: &str) -> Result<()> {
        Ok(())
    }
}
