//! The shelf as Pingora wants to see it.

use super::entry::hash;
use super::entry::{Reader, weight};
use super::fill::{Fill, Filler, Follower};
use super::{Shelf, Target};
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

/// Maximum time that others wait for the body of a response that they are not given as it comes.
const UNSHARED_BODY_TIMEOUT: Duration = Duration::from_secs(2);

/// What one request sees of the shelf.
///
/// Pingora asks the storage, not the response, whether a body may be read while it is written. If it
/// may, the client is given what the storage has, and nothing else: a body that turns out to be too
/// large in the middle would break off. So only one whose head says its length is shared on its way,
/// and as that differs by response, each request has a view of its own.
pub(crate) struct View {
    shelf: &'static Shelf,
    is_shared: AtomicBool,
}

/// A view on loan, given back at the end of the request: Pingora wants storage that lives for ever.
pub(crate) struct Lease(&'static View);

impl Lease {
    /// A view that is free, or one more.
    pub(crate) fn of(shelf: &'static Shelf) -> Self {
        let free = shelf.views.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let view = free.unwrap_or_else(|| {
            Box::leak(Box::new(View { shelf, is_shared: AtomicBool::new(true) }))
        });
        // A client that leaves before there is an answer does not take it from those who wait.
        view.is_shared.store(true, Relaxed);
        Self(view)
    }

    /// As Pingora takes it.
    pub(crate) fn view(&self) -> &'static View {
        self.0
    }

    /// What is seen.
    pub(crate) fn shelf(&self) -> &'static Shelf {
        self.0.shelf
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.shelf.views.lock().unwrap_or_else(PoisonError::into_inner).push(self.0);
    }
}

/// The body's length, where the head says it.
fn length(meta: &CacheMeta) -> Option<usize> {
    meta.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// Lets the next request fetch what a key stands for when the body of this response is not complete in
/// time: it comes no faster than its own client takes it.
fn unlock_later(shelf: &'static Shelf, hash: u128) {
    if let Some(lock) = shelf.stampede.lock_of(hash) {
        tokio::spawn(async move {
            tokio::time::sleep(UNSHARED_BODY_TIMEOUT).await;
            shelf.stampede.unlock_early(hash, &lock);
        });
    }
}

fn number(key: &CacheKey) -> u128 {
    u128::from_be_bytes(key.combined_bin())
}

#[async_trait]
impl Storage for View {
    async fn lookup(
        &'static self,
        key: &CacheKey,
        _: &SpanHandle,
    ) -> Result<Option<(CacheMeta, HitHandler)>> {
        let hash = number(key);
        if let Some(fill) = self.shelf.coming(hash) {
            return Ok(Some((fill.meta()?, Box::new(Follower::new(fill)))));
        }
        let Some(entry) = self.shelf.entry(hash) else { return Ok(None) };
        Ok(Some((entry.meta()?, Box::new(Reader::new(entry)))))
    }

    async fn lookup_streaming_write(
        &'static self,
        key: &CacheKey,
        tag: Option<&[u8]>,
        _: &SpanHandle,
    ) -> Result<Option<(CacheMeta, HitHandler)>> {
        let id = tag.and_then(|tag| U64WriteId::try_from(tag).ok()).map(u64::from);
        let fill = id.and_then(|id| self.shelf.fill(number(key), id));
        let Some(fill) = fill else {
            // Pingora takes `None` for an impossibility and panics.
            return Error::e_explain(ErrorType::InternalError, "the response is not on its way");
        };
        Ok(Some((fill.meta()?, Box::new(Follower::new(fill)))))
    }

    async fn get_miss_handler(
        &'static self,
        key: &CacheKey,
        meta: &CacheMeta,
        _: &SpanHandle,
    ) -> Result<MissHandler> {
        let Some(target) = key.extensions.get::<Target>() else {
            return Error::e_explain(ErrorType::InternalError, "a key without its URL");
        };
        let compact = key.to_compact();
        let written = meta.serialize()?;
        let expected = length(meta);
        let reserved = weight(&target.url, &written, expected.unwrap_or(0));
        if !self.shelf.reserve(reserved) {
            self.is_shared.store(false, Relaxed);
            return Ok(Box::new(Filler::new(self.shelf, compact, None, expected)));
        }
        let fill = Arc::new(Fill::new(self.shelf, target, written, reserved));
        self.is_shared.store(expected.is_some(), Relaxed);
        if expected.is_some() {
            self.shelf.announce(&compact, &fill);
        } else {
            unlock_later(self.shelf, hash(&compact));
        }
        Ok(Box::new(Filler::new(self.shelf, compact, Some(fill), expected)))
    }

    async fn purge(
        &'static self,
        target: PurgeTarget<'_>,
        _: PurgeType,
        _: &SpanHandle,
    ) -> Result<PurgeOutcome> {
        Ok(match self.shelf.remove(target.key()) {
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
        Ok(self.shelf.rewrite(hash(&key.to_compact()), meta.serialize()?))
    }

    fn support_streaming_partial_write(&self) -> bool {
        self.is_shared.load(Relaxed)
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync + 'static) {
        self
    }
}
