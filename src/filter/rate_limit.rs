//! The filter that applies a rate limit. It counts nothing by itself; `rate_limit/` does.

use super::{Error, Filter, Flow, Reply, Request};
use crate::rate_limit::RateLimit;
use async_trait::async_trait;
use http::header::{self, HeaderValue};
use std::sync::Arc;
use std::time::Duration;
use tidegate_http::error_code::ErrorCode;
use tidegate_http::stable_hash::{StableHash, StableHasher};

/// Answers 429 (RFC 6585, section 4) to clients that send too many requests.
pub(crate) struct RateLimitFilter {
    /// All of them hold.
    pub limits: Vec<Arc<RateLimit>>,
}

#[async_trait]
impl Filter for RateLimitFilter {
    fn describe(&self) -> String {
        let limit = |limit: &Arc<RateLimit>| {
            let together = if limit.shared().is_some() { ", shared by all gateways" } else { "" };
            format!("{}{together}", limit.settings())
        };
        let limits = self.limits.iter().map(limit).collect::<Vec<_>>();
        format!("rate limits: {}", limits.join("; "))
    }

    async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, Error> {
        if request.exchange().is_dry_run() {
            return Ok(Flow::Continue);
        }
        for limit in &self.limits {
            let key = limit.settings().by.key(&request.head().headers, request.exchange());
            if let Some(wait) = limit.take_token(&key).await {
                return Ok(Flow::Respond(too_many(limit, wait)));
            }
        }
        Ok(Flow::Continue)
    }
}

/// The answer to a request that this limit refuses.
pub(super) fn too_many(limit: &RateLimit, wait: Duration) -> Reply {
    let message = format!("too many requests; the limit is {}", limit.settings());
    // A second too late does no harm, `0` would mean at once.
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Reply::gateway_error(ErrorCode::RateLimited, message)
        .header(header::RETRY_AFTER, HeaderValue::from(seconds))
}

/// What it allows, not what was asked for: a route is the same without.
impl StableHash for RateLimitFilter {
    fn feed(&self, hasher: &mut StableHasher) {
        let Self { limits } = self;
        hasher.list(limits.iter().map(|limit| (limit.settings(), limit.shared().is_some())));
    }
}
