//! The store as Pingora's storage trait demands it. Decides nothing about what may be stored.

use super::entry::hash;
use super::entry::{EntryReader, weight};
use super::fill::{Fill, FillReader, FillWriter};
use super::{CacheStore, CacheTarget};
use async_trait::async_trait;
use http::header;
use pingora::{Error, ErrorType, Result};
use pingora_cache::key::CacheHashKey;
use pingora_cache::storage::streaming_write::U64WriteId;
use pingora_cache::trace::SpanHandle;
use pingora_cache::{
    CacheKey, CacheMeta, HitHandler, MissHandler, PurgeOutcome, PurgeTarget, PurgeType, Storage,
};
use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Maximum time that others wait for the body of a response that is not shared while it arrives.
const UNSHARED_BODY_TIMEOUT: Duration = Duration::from_secs(2);

/// The view that one request has of the store.
///
/// Pingora asks the storage, not the response, whether a body may be read while it is written. If so, the client gets
/// only what the storage has: a body that turns out to be too large would break off. So only a body whose head has its
/// length is shared while it is stored, and because that differs by response, each request has its own view.
pub(crate) struct StoreView {
    store: &'static CacheStore,
    is_shared: AtomicBool,
}

/// Lends a view to a request and takes it back at its end: Pingora demands storage that lives forever.
pub(crate) struct StoreViewGuard(&'static StoreView);

impl StoreViewGuard {
    /// A free view, or a new one.
    pub(crate) fn acquire(store: &'static CacheStore) -> Self {
        let free = store.views.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let view = free.unwrap_or_else(|| {
            Box::leak(Box::new(StoreView { store, is_shared: AtomicBool::new(true) }))
        });
        // A client that leaves before the answer must not take it from those that wait.
        view.is_shared.store(true, Relaxed);
        Self(view)
    }

    /// The view, as Pingora takes it.
    pub(crate) fn view(&self) -> &'static StoreView {
        self.0
    }

    /// The store of the view.
    pub(crate) fn store(&self) -> &'static CacheStore {
        self.0.store
    }
}

impl Drop for StoreViewGuard {
    fn drop(&mut self) {
        self.0.store.views.lock().unwrap_or_else(PoisonError::into_inner).push(self.0);
    }
}

/// The length of the body, if the head has it.
fn length(meta: &CacheMeta) -> Option<usize> {
    meta.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// Lets the next request fetch the response for a key if the body of this one is not complete in time: it arrives no
/// faster than its own client takes it.
fn release_lock_later(store: &'static CacheStore, hash: u128) {
    if let Some(lock) = store.stampede.lock_for_key(hash) {
        tokio::spawn(async move {
            tokio::time::sleep(UNSHARED_BODY_TIMEOUT).await;
            store.stampede.release_lock_early(hash, &lock);
        });
    }
}

fn number(key: &CacheKey) -> u128 {
    u128::from_be_bytes(key.combined_bin())
}

#[async_trait]
impl Storage for StoreView {
    async fn lookup(
        &'static self,
        key: &CacheKey,
        _: &SpanHandle,
    ) -> Result<Option<(CacheMeta, HitHandler)>> {
        let hash = number(key);
        if let Some(fill) = self.store.latest_fill(hash) {
            return Ok(Some((fill.deserialize_meta()?, Box::new(FillReader::new(fill)))));
        }
        let Some(entry) = self.store.entry(hash) else { return Ok(None) };
        Ok(Some((entry.deserialize_meta()?, Box::new(EntryReader::new(entry)))))
    }

    async fn lookup_streaming_write(
        &'static self,
        key: &CacheKey,
        tag: Option<&[u8]>,
        _: &SpanHandle,
    ) -> Result<Option<(CacheMeta, HitHandler)>> {
        let id = tag.and_then(|tag| U64WriteId::try_from(tag).ok()).map(u64::from);
        let fill = id.and_then(|id| self.store.fill(number(key), id));
        let Some(fill) = fill else {
            // Pingora treats `None` as impossible and panics.
            return Error::e_explain(
                ErrorType::InternalError,
                "the cache no longer has the response that is being stored",
            );
        };
        Ok(Some((fill.deserialize_meta()?, Box::new(FillReader::new(fill)))))
    }

    async fn get_miss_handler(
        &'static self,
        key: &CacheKey,
        meta: &CacheMeta,
        _: &SpanHandle,
    ) -> Result<MissHandler> {
        let Some(target) = key.extensions.get::<CacheTarget>() else {
            return Error::e_explain(ErrorType::InternalError, "the cache key has no URL");
        };
        let compact = key.to_compact();
        let written = meta.serialize()?;
        let expected = length(meta);
        let reserved = weight(&target.url, &written, expected.unwrap_or(0));
        if !self.store.reserve(reserved) {
            self.is_shared.store(false, Relaxed);
            return Ok(Box::new(FillWriter::new(self.store, compact, None, expected)));
        }
        let fill = Arc::new(Fill::new(self.store, target, written, reserved));
        self.is_shared.store(expected.is_some(), Relaxed);
        if expected.is_some() {
            self.store.register_fill(&compact, &fill);
        } else {
            release_lock_later(self.store, hash(&compact));
        }
        Ok(Box::new(FillWriter::new(self.store, compact, Some(fill), expected)))
    }

    async fn purge(
        &'static self,
        target: PurgeTarget<'_>,
        _: PurgeType,
        _: &SpanHandle,
    ) -> Result<PurgeOutcome> {
        Ok(match self.store.remove(target.key()) {
            true => PurgeOutcome::Purged(None),
            false => PurgeOutcome::NotFound,
        })
    }

    async fn update_meta(
        &'static self,
        key: &CacheKey,
        meta: &CacheMeta,
        _: &SpanHandle,
    ) -> Result<bool> {
        Ok(self.store.rewrite(hash(&key.to_compact()), meta.serialize()?))
    }

    fn support_streaming_partial_write(&self) -> bool {
        self.is_shared.load(Relaxed)
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync + 'static) {
        self
    }
}
