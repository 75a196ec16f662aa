//! A stored response, and how Pingora reads it. Knows nothing of freshness.

use async_trait::async_trait;
use bytes::Bytes;
use pingora::{Error, ErrorType, Result};
use pingora_cache::key::{CacheHashKey, CompactCacheKey};
use pingora_cache::storage::HandleHit;
use pingora_cache::trace::SpanHandle;
use pingora_cache::{CacheKey, CacheMeta, Storage};
use std::any::Any;
use std::sync::Arc;

/// Size of the chunks of a stored body, in bytes: a slow client takes one after the other.
const CHUNK_BYTES: usize = 64 * 1024;

/// Size of an entry besides its head, body and URL, in bytes: its part of the indexes.
const ENTRY_OVERHEAD: usize = 512;

/// The metadata and the head of a response, as Pingora serializes them.
pub(super) type SerializedMeta = (Vec<u8>, Vec<u8>);

/// The hash of a key.
pub(super) fn hash(key: &CompactCacheKey) -> u128 {
    u128::from_be_bytes(key.combined_bin())
}

/// A stored response.
pub(super) struct CacheEntry {
    pub key: CompactCacheKey,
    pub url: Arc<str>,
    pub serialized_meta: SerializedMeta,
    pub body: Bytes,
}

/// The size of an entry with such a head and body.
pub(super) fn weight(url: &str, written: &SerializedMeta, body: usize) -> usize {
    ENTRY_OVERHEAD + 2 * url.len() + written.0.len() + written.1.len() + body
}

impl CacheEntry {
    pub(super) fn weight(&self) -> usize {
        weight(&self.url, &self.serialized_meta, self.body.len())
    }

    pub(super) fn hash(&self) -> u128 {
        u128::from_be_bytes(self.key.combined_bin())
    }

    pub(super) fn deserialize_meta(&self) -> Result<CacheMeta> {
        CacheMeta::deserialize(&self.serialized_meta.0, &self.serialized_meta.1)
    }
}

/// Reads an entry.
pub(super) struct EntryReader {
    entry: Arc<CacheEntry>,
    remaining: Bytes,
}

impl EntryReader {
    pub(super) fn new(entry: Arc<CacheEntry>) -> Self {
        Self { remaining: entry.body.clone(), entry }
    }
}

#[async_trait]
impl HandleHit for EntryReader {
    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        let next = self.remaining.len().min(CHUNK_BYTES);
        Ok((next > 0).then(|| self.remaining.split_to(next)))
    }

    async fn finish(
        self: Box<Self>,
        _: &'static (dyn Storage + Sync),
        _: &CacheKey,
        _: &SpanHandle,
    ) -> Result<()> {
        Ok(())
    }

    fn can_seek(&self) -> bool {
        true
    }

    fn seek(&mut self, start: usize, end: Option<usize>) -> Result<()> {
        let body = &self.entry.body;
        let end = end.unwrap_or(body.len()).min(body.len());
        if start >= end {
            return Error::e_explain(
                ErrorType::InternalError,
                "the range is beyond the end of the cached body",
            );
        }
        self.remaining = body.slice(start..end);
        Ok(())
    }

    fn get_eviction_weight(&self) -> usize {
        self.entry.weight()
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    fn as_any_mut(&mut self) -> &mut (dyn Any + Send + Sync) {
        self
    }
}
