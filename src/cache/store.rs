//! The stored responses, found by key and URL; evicts and purges them. Knows nothing of HTTP rules.

use super::entry::{CacheEntry, hash};
use super::fill::Fill;
use super::purge_epoch::{PurgeCounters, PurgeEpoch};
use super::stampede::Stampede;
use super::store_view::StoreView;
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

/// Maximum number of URLs per shard that are remembered as uncacheable.
const MAX_UNCACHEABLE_URLS_PER_SHARD: usize = 1024;

/// Maximum size of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CacheLimits {
    /// Bytes of all entries, including those that are being stored.
    pub max_size: usize,
    /// Bytes of one body.
    pub max_entry: usize,
}

impl CacheLimits {
    /// Responses that are being stored may take one part in this many of the store; nothing else limits their
    /// number.
    pub(crate) const FILLING_FRACTION: usize = 8;
}

/// The target of a request, as the cache distinguishes it from others.
#[derive(Debug, Clone)]
pub(crate) struct CacheTarget {
    /// The URL of the client, normalised.
    pub url: Arc<str>,
    /// When the request arrived.
    pub epoch: PurgeEpoch,
    /// Whether other requests may get its response, as far as this request decides.
    pub shares: bool,
}

#[cfg(test)]
impl CacheTarget {
    pub(super) fn for_test(url: &str) -> Self {
        Self { epoch: PurgeCounters::new().current(url), url: url.into(), shares: true }
    }
}

/// Which responses a purge removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PurgeScope {
    /// Everything.
    All,
    /// A URL, in all its variants.
    Url(String),
    /// All URLs with this prefix.
    Prefix(String),
}

#[derive(Default)]
struct CacheSlot {
    entry: Option<Arc<CacheEntry>>,
    fills: Vec<Arc<Fill>>,
}

type Slots = HashMap<u128, CacheSlot>;

/// The keys of each URL. Ordered, so that those with one beginning are together.
type UrlIndex = BTreeMap<Arc<str>, Vec<CompactCacheKey>>;

/// The stored responses, and everything else that Pingora's cache needs.
pub(crate) struct CacheStore {
    shards: [RwLock<Slots>; SHARDS],
    /// Locked while entries are added and removed, so that it always has all; not locked to find one.
    index: Mutex<UrlIndex>,
    purges: PurgeCounters,
    max_filling: AtomicUsize,
    max_entry: AtomicUsize,
    filling: AtomicUsize,
    fills: AtomicU64,
    purged_count: AtomicU64,
    /// Views that no request uses now.
    pub(super) views: Mutex<Vec<&'static StoreView>>,
    /// Decides which entry is evicted.
    lru: Manager<SHARDS>,
    /// Lets one request fetch while others wait.
    pub stampede: Stampede,
    /// Targets that are known to be uncacheable.
    pub predictor: Predictor<SHARDS>,
}

impl CacheStore {
    pub(super) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            index: Mutex::default(),
            purges: PurgeCounters::new(),
            max_filling: AtomicUsize::new(0),
            max_entry: AtomicUsize::new(0),
            filling: AtomicUsize::new(0),
            fills: AtomicU64::new(0),
            purged_count: AtomicU64::new(0),
            views: Mutex::default(),
            lru: Manager::with_capacity(0, 64),
            stampede: Stampede::new(),
            predictor: Predictor::new(
                MAX_UNCACHEABLE_URLS_PER_SHARD,
                Some(super::NotStoredReason::is_request_reason),
            ),
        }
    }

    pub(super) fn set_limits(&self, limits: CacheLimits) {
        let filling = limits.max_size / CacheLimits::FILLING_FRACTION;
        self.max_filling.store(filling, Relaxed);
        self.max_entry.store(limits.max_entry, Relaxed);
        self.lru.set_weight_limit(limits.max_size.saturating_sub(filling));
    }

    /// Maximum size of a body.
    pub(crate) fn max_entry(&self) -> usize {
        self.max_entry.load(Relaxed)
    }

    /// The target of a request for this URL that arrives now. `shares`: whether others may get its response.
    pub(crate) fn target(&self, url: String, shares: bool) -> CacheTarget {
        CacheTarget { epoch: self.purges.current(&url), url: url.into(), shares }
    }

    /// Bytes of all entries.
    pub(crate) fn bytes(&self) -> usize {
        self.lru.total_size()
    }

    /// Number of entries.
    pub(crate) fn entries(&self) -> usize {
        self.lru.total_items()
    }

    /// Number of evicted entries.
    pub(crate) fn evictions(&self) -> usize {
        self.lru.evicted_items()
    }

    /// Number of purged entries.
    pub(crate) fn purged_count(&self) -> u64 {
        self.purged_count.load(Relaxed)
    }

    /// Bytes of responses that are being stored.
    pub(crate) fn filling(&self) -> usize {
        self.filling.load(Relaxed)
    }

    fn index(&self) -> MutexGuard<'_, UrlIndex> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_shard_of(&self, hash: u128) -> Option<RwLockReadGuard<'_, Slots>> {
        let shard = self.shards.get((hash % SHARDS as u128) as usize)?;
        Some(shard.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write_shard_of(&self, hash: u128) -> Option<RwLockWriteGuard<'_, Slots>> {
        let shard = self.shards.get((hash % SHARDS as u128) as usize)?;
        Some(shard.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reserves bytes for a response that is being stored, if there is room.
    pub(super) fn reserve(&self, bytes: usize) -> bool {
        let max = self.max_filling.load(Relaxed);
        let taken = self.filling.fetch_add(bytes, Relaxed).saturating_add(bytes);
        if taken > max {
            self.release(bytes);
        }
        taken <= max
    }

    pub(super) fn release(&self, bytes: usize) {
        self.filling.fetch_sub(bytes, Relaxed);
    }

    pub(super) fn next_fill(&self) -> u64 {
        self.fills.fetch_add(1, Relaxed) + 1
    }

    /// Announces a response that is being stored, so that others can read it.
    pub(super) fn register_fill(&self, key: &CompactCacheKey, fill: &Arc<Fill>) {
        let hash = hash(key);
        if let Some(mut slots) = self.write_shard_of(hash) {
            slots.entry(hash).or_default().fills.push(Arc::clone(fill));
        }
    }

    /// Withdraws it.
    pub(super) fn unregister_fill(&self, key: &CompactCacheKey, fill: &Arc<Fill>) {
        let hash = hash(key);
        let Some(mut slots) = self.write_shard_of(hash) else { return };
        if let Some(slot) = slots.get_mut(&hash) {
            slot.fills.retain(|other| other.id != fill.id);
            if slot.fills.is_empty() && slot.entry.is_none() {
                slots.remove(&hash);
            }
        }
    }

    /// The newest response that is being stored and was not purged since.
    pub(super) fn latest_fill(&self, hash: u128) -> Option<Arc<Fill>> {
        let slots = self.read_shard_of(hash)?;
        let is_good = |fill: &&Arc<Fill>| self.is_current(fill) && !fill.is_broken();
        slots.get(&hash)?.fills.iter().rev().find(is_good).cloned()
    }

    /// The one with this number, for its own request, even if it was purged.
    pub(super) fn fill(&self, hash: u128, id: u64) -> Option<Arc<Fill>> {
        self.read_shard_of(hash)?.get(&hash)?.fills.iter().find(|fill| fill.id == id).cloned()
    }

    pub(super) fn entry(&self, hash: u128) -> Option<Arc<CacheEntry>> {
        self.read_shard_of(hash)?.get(&hash)?.entry.clone()
    }

    fn is_current(&self, fill: &Fill) -> bool {
        self.purges.current(&fill.url) == fill.epoch
    }

    /// Stores a complete response, unless it was purged meanwhile.
    pub(super) fn store_entry(&self, entry: CacheEntry, fill: &Arc<Fill>) -> bool {
        let hash = entry.hash();
        let mut index = self.index();
        let Some(mut slots) = self.write_shard_of(hash) else { return false };
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

    /// Replaces the metadata of an entry.
    pub(super) fn rewrite(&self, hash: u128, written: super::entry::SerializedMeta) -> bool {
        let Some(mut slots) = self.write_shard_of(hash) else { return false };
        let Some(entry) = slots.get_mut(&hash).and_then(|slot| slot.entry.as_mut()) else {
            return false;
        };
        *entry = Arc::new(CacheEntry {
            key: entry.key.clone(),
            url: Arc::clone(&entry.url),
            body: entry.body.clone(),
            serialized_meta: written,
        });
        true
    }

    /// Removes an entry.
    pub(super) fn remove(&self, key: &CompactCacheKey) -> bool {
        self.remove_of(&mut self.index(), key)
    }

    fn remove_of(&self, index: &mut UrlIndex, key: &CompactCacheKey) -> bool {
        let hash = hash(key);
        let Some(mut slots) = self.write_shard_of(hash) else { return false };
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

    /// Purges; returns the number of removed entries. Responses that are being stored now are not kept.
    pub(crate) fn purge(&self, scope: &PurgeScope) -> usize {
        match scope {
            PurgeScope::Url(url) => self.purges.purge(url),
            PurgeScope::All | PurgeScope::Prefix(_) => self.purges.purge_all(),
        }
        let mut index = self.index();
        let keys: Vec<CompactCacheKey> = match scope {
            PurgeScope::All => index.values().flatten().cloned().collect(),
            PurgeScope::Url(url) => {
                index.get(url.as_str()).into_iter().flatten().cloned().collect()
            }
            PurgeScope::Prefix(prefix) => index
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
        self.purged_count.fetch_add(gone as u64, Relaxed);
        gone
    }
}

/// Only counts: Pingora reports an entry after it was stored, when a purge may have removed it already.
#[async_trait]
impl EvictionManager for CacheStore {
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
