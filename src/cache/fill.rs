//! A response that is being stored, and the requests that read it meanwhile. Decides nothing about what may be stored.

use super::entry::{CacheEntry, SerializedMeta};
use super::{CacheStore, CacheTarget, PurgeEpoch};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use pingora::{Error, ErrorType, Result};
use pingora_cache::key::CompactCacheKey;
use pingora_cache::storage::streaming_write::U64WriteId;
use pingora_cache::storage::{HandleHit, HandleMiss, MissFinishType};
use pingora_cache::trace::SpanHandle;
use pingora_cache::{CacheKey, CacheMeta, Storage};
use std::any::Any;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// How much of a body has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FillProgress {
    /// This many pieces, and more follow.
    Growing(usize),
    /// The complete body, in this many pieces.
    Whole(usize),
    /// The upstream or the client of the response ended early.
    Broken,
}

/// A response that is being stored.
pub(super) struct Fill {
    pub id: u64,
    pub epoch: PurgeEpoch,
    pub url: Arc<str>,
    serialized_meta: SerializedMeta,
    chunks: Mutex<Vec<Bytes>>,
    progress: watch::Sender<FillProgress>,
    store: &'static CacheStore,
    /// Bytes in memory, until the slowest reader has them.
    reserved: AtomicUsize,
}

impl Fill {
    pub(super) fn new(
        store: &'static CacheStore,
        target: &CacheTarget,
        written: SerializedMeta,
        reserved: usize,
    ) -> Self {
        Self {
            id: store.next_fill(),
            store,
            reserved: AtomicUsize::new(reserved),
            epoch: target.epoch,
            url: Arc::clone(&target.url),
            serialized_meta: written,
            chunks: Mutex::default(),
            progress: watch::Sender::new(FillProgress::Growing(0)),
        }
    }

    pub(super) fn deserialize_meta(&self) -> Result<CacheMeta> {
        CacheMeta::deserialize(&self.serialized_meta.0, &self.serialized_meta.1)
    }

    pub(super) fn is_broken(&self) -> bool {
        *self.progress.borrow() == FillProgress::Broken
    }

    /// Reserves room for this many more bytes, if there is any.
    fn try_reserve(&self, bytes: usize) -> bool {
        let has_room = self.store.reserve(bytes);
        if has_room {
            self.reserved.fetch_add(bytes, Relaxed);
        }
        has_room
    }

    fn push(&self, piece: Bytes) {
        let count = {
            let mut pieces = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
            pieces.push(piece);
            pieces.len()
        };
        self.progress.send_replace(FillProgress::Growing(count));
    }

    fn chunk(&self, number: usize) -> Option<Bytes> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner).get(number).cloned()
    }

    /// Completes the body and returns it in one piece; readers stop waiting.
    fn joined_body(&self) -> Bytes {
        let pieces = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        self.progress.send_replace(FillProgress::Whole(pieces.len()));
        let mut body = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
        pieces.iter().for_each(|piece| body.extend_from_slice(piece));
        body.freeze()
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        self.store.release(*self.reserved.get_mut());
    }
}

/// Stores a response while it arrives.
pub(super) struct FillWriter {
    store: &'static CacheStore,
    key: CompactCacheKey,
    /// `None` if there is no room; the response is then not stored.
    fill: Option<Arc<Fill>>,
    tag: U64WriteId,
    /// The length of the body, if the head has it.
    expected: Option<usize>,
    length: usize,
}

impl FillWriter {
    pub(super) fn new(
        store: &'static CacheStore,
        key: CompactCacheKey,
        fill: Option<Arc<Fill>>,
        expected: Option<usize>,
    ) -> Self {
        let tag = fill.as_ref().map_or(0, |fill| fill.id).into();
        Self { store, key, fill, tag, expected, length: 0 }
    }

    /// Aborts: readers get a truncated body, and nothing is stored.
    fn abort_fill(&mut self) {
        if let Some(fill) = self.fill.take() {
            fill.progress.send_replace(FillProgress::Broken);
            self.store.unregister_fill(&self.key, &fill);
        }
    }
}

#[async_trait]
impl HandleMiss for FillWriter {
    async fn write_body(&mut self, data: Bytes, _: bool) -> Result<()> {
        self.length += data.len();
        if data.is_empty() {
            return Ok(());
        }
        let Some(fill) = &self.fill else { return Ok(()) };
        // Without a known length, room is reserved as the body arrives.
        if self.expected.is_none() && !fill.try_reserve(data.len()) {
            self.abort_fill();
        } else {
            // A slice of Pingora's buffer would keep the whole buffer in memory.
            fill.push(Bytes::copy_from_slice(&data));
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<MissFinishType> {
        if self.expected.is_some_and(|expected| expected != self.length) {
            return Error::e_explain(ErrorType::InternalError, "the response is incomplete");
        }
        // An error would truncate it for its readers; a missing entry is not counted.
        let Some(fill) = self.fill.take() else { return Ok(MissFinishType::Created(0)) };
        let entry = CacheEntry {
            key: self.key.clone(),
            url: Arc::clone(&fill.url),
            serialized_meta: fill.serialized_meta.clone(),
            body: fill.joined_body(),
        };
        let weight = entry.weight();
        self.store.store_entry(entry, &fill);
        Ok(MissFinishType::Created(weight))
    }

    fn streaming_write_tag(&self) -> Option<&[u8]> {
        Some(self.tag.as_bytes())
    }
}

impl Drop for FillWriter {
    fn drop(&mut self) {
        self.abort_fill();
    }
}

/// Reads a response while it arrives.
pub(super) struct FillReader {
    fill: Arc<Fill>,
    progress: watch::Receiver<FillProgress>,
    next: usize,
}

impl FillReader {
    pub(super) fn new(fill: Arc<Fill>) -> Self {
        Self { progress: fill.progress.subscribe(), fill, next: 0 }
    }
}

#[async_trait]
impl HandleHit for FillReader {
    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(piece) = self.fill.chunk(self.next) {
                self.next += 1;
                return Ok(Some(piece));
            }
            let progress = *self.progress.borrow_and_update();
            match progress {
                FillProgress::Growing(count) | FillProgress::Whole(count) if count > self.next => {}
                FillProgress::Whole(_) => return Ok(None),
                // Without its writer, the state no longer changes.
                FillProgress::Growing(_) if self.progress.changed().await.is_ok() => {}
                FillProgress::Growing(_) | FillProgress::Broken => {
                    let reason = "the response ended early while the gateway cached it";
                    return Err(Error::explain(ErrorType::ReadError, reason).into_up());
                }
            }
        }
    }

    async fn finish(
        self: Box<Self>,
        _: &'static (dyn Storage + Sync),
        _: &CacheKey,
        _: &SpanHandle,
    ) -> Result<()> {
        Ok(())
    }

    /// The weight is not known yet.
    fn should_count_access(&self) -> bool {
        false
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    fn as_any_mut(&mut self) -> &mut (dyn Any + Send + Sync) {
        self
    }
}
