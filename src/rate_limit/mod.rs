//! Limits on the rate of requests, by one gateway or by several together. Knows nothing of routes and responses.

mod buckets;
mod key;

pub(crate) use key::{BucketKey, CountBy};

use crate::shared::SharedCounterClient;
use buckets::Buckets;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tidegate_http::stable_hash;

/// What is allowed, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RateLimitSettings {
    /// The route whose requests are counted; empty for those of all routes that have no limits of
    /// their own.
    pub scope: Arc<str>,
    /// So many requests.
    pub requests: u32,
    /// In so long.
    pub per: Duration,
    /// So many at once.
    pub burst: u32,
    /// Whose requests are counted together.
    pub by: CountBy,
}

stable_hash!(RateLimitSettings { scope, requests, per, burst, by });

/// A limit, and what was asked for lately.
#[derive(Debug)]
pub(crate) struct RateLimit {
    settings: RateLimitSettings,
    /// What it is called among the shared counters.
    name: String,
    shared: Option<Arc<SharedCounterClient>>,
    buckets: Buckets,
    began: Instant,
    refused: AtomicU64,
}

impl RateLimit {
    /// Counts together with other gateways where there is a place to do so.
    pub(crate) fn new(
        settings: RateLimitSettings,
        shared: Option<Arc<SharedCounterClient>>,
    ) -> Self {
        let RateLimitSettings { scope, requests, per, burst, by } = &settings;
        // Other gateways find the same counter by it; another limit has another.
        let name = format!("{scope}:{requests}:{}:{burst}:{by}", per.as_micros());
        Self {
            buckets: Buckets::new(settings.interval(), burst.to_owned()),
            name,
            settings,
            shared,
            began: Instant::now(),
            refused: AtomicU64::new(0),
        }
    }

    /// What is allowed.
    pub(crate) fn settings(&self) -> &RateLimitSettings {
        &self.settings
    }

    /// Where it is counted together, if it is.
    pub(crate) fn shared(&self) -> Option<&Arc<SharedCounterClient>> {
        self.shared.as_ref()
    }

    /// How many requests were too many so far.
    pub(crate) fn refused_count(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// One more request; how long it would have to wait when it is one too many.
    pub(crate) async fn take_token(&self, key: &BucketKey<'_>) -> Option<Duration> {
        let wait = self.wait(key).await;
        if wait.is_some() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        wait
    }

    async fn wait(&self, key: &BucketKey<'_>) -> Option<Duration> {
        // What this gateway alone has seen too often, all together have: nobody needs to be asked.
        if let Some(wait) = self.buckets.take_token(key, self.began.elapsed()) {
            return Some(wait);
        }
        let shared = self.shared.as_ref()?;
        let (each, burst) = (self.settings.interval(), self.settings.burst);
        let (kind, name) = key.tag_and_bytes();
        let wait = shared.take_token(&self.name, &[kind, &name], each, burst).await?;
        if wait.is_zero() {
            return None;
        }
        self.buckets.return_token(key);
        Some(wait)
    }
}

impl RateLimitSettings {
    /// From one request to the next.
    fn interval(&self) -> Duration {
        self.per / self.requests.max(1)
    }
}

impl fmt::Display for RateLimitSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, per, burst, by, .. } = self;
        write!(f, "{requests} per {} by {by}, burst {burst}", humantime::format_duration(*per))
    }
}
