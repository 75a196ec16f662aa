//! Compiles `cache`, globally and of a route. It knows nothing of what the cache holds.

use super::chain::FilterChain;
use super::{Compiler, header_name};
use crate::cache::{CacheLimits, RouteCachePolicy, is_gateway_written_header};
use http::HeaderName;
use std::sync::Arc;
use tidegate_config::{self as config, CacheSetting, defaults, defaults::cache_policy};

impl Compiler<'_> {
    /// How much the cache may hold; `None` when no route keeps anything.
    pub(super) fn cache_limits(&mut self) -> Option<CacheLimits> {
        let written = &self.config.cache;
        let bytes = |size: &config::ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
        let max_size = bytes(written.max_size.as_deref().unwrap_or(&defaults::cache::MAX_SIZE));
        let most = max_size / CacheLimits::FILLING_FRACTION;
        let max_entry = match &written.max_entry {
            None => bytes(&defaults::CACHE_MAX_ENTRY).min(most),
            Some(size) => {
                if bytes(size) > most {
                    let reason =
                        format!("must be at most an eighth of `max_size`, which is {most} bytes");
                    self.problems
                        .add(size.span, "cache.max_entry", reason)
                        .help("a few large responses would leave no room for others");
                }
                bytes(size)
            }
        };
        let is_used = self.config.routes.iter().any(|route| {
            route.cache.as_ref().is_some_and(|setting| match &setting.value {
                CacheSetting::Switch(switch) => switch.0,
                CacheSetting::Policy(_) => true,
            })
        });
        is_used.then_some(CacheLimits { max_size, max_entry })
    }

    /// The headers that name the user of a request.
    fn identity_headers(&self) -> Vec<HeaderName> {
        let sources = self.config.identity.user_id.iter();
        sources
            .filter_map(|source| match source {
                config::UserIdSource::Header(name) => header_name(name),
                config::UserIdSource::Query(_)
                | config::UserIdSource::Cookie(_)
                | config::UserIdSource::Claim(_) => None,
            })
            .collect()
    }

    /// How a route's responses are kept, if they are.
    pub(super) fn cache(
        &mut self,
        written: &config::Route,
        key_path: &str,
        chain: &FilterChain,
    ) -> Option<Arc<RouteCachePolicy>> {
        let setting = written.cache.as_ref()?;
        let defaults = config::CachePolicy::default();
        let policy = match &setting.value {
            CacheSetting::Switch(switch) if !switch.0 => return None,
            CacheSetting::Switch(_) => &defaults,
            CacheSetting::Policy(policy) => policy,
        };
        if written.upstream.is_none() && !self.broken.is_any_within(key_path) {
            self.problems.add(
                setting.span,
                format!("{key_path}.cache"),
                "`cache` needs an `upstream`, and this route has none",
            );
        }
        if written.grpc_web.as_ref().is_some_and(|switch| switch.value.0) {
            self.problems.add(
                setting.span,
                format!("{key_path}.cache"),
                "gRPC responses are never cached: a route with `grpc_web` cannot have a cache",
            );
        }
        if chain.upstream_knows_user() {
            self.problems
                .add(
                    setting.span,
                    format!("{key_path}.cache"),
                    "a request header of this route contains `{user.id}` or a claim, so a cached response \
                     of one user would be served to others",
                )
                .help(
                    "remove that header on this route with `headers: {request: {remove: […]}}`, \
                     or write `cache: off`",
                );
        }
        let mut key_headers = Vec::new();
        for (index, name) in policy.key_headers.iter().enumerate() {
            let Some(header) = header_name(&name.value) else { continue };
            if is_gateway_written_header(&header) {
                self.problems.add(
                    name.span,
                    format!("{key_path}.cache.key_headers[{index}]"),
                    "this header cannot be part of the cache key, because the gateway sets it \
                     itself",
                );
            }
            key_headers.push(header);
        }
        let previous =
            self.previous_routes.get(&**written.name).and_then(|route| route.cache.as_ref());
        let counts = previous.map(|policy| Arc::clone(&policy.counts));
        Some(Arc::new(RouteCachePolicy {
            default_ttl: policy.default_ttl.unwrap_or(cache_policy::DEFAULT_TTL).0,
            max_ttl: policy.max_ttl.map(|it| it.0),
            stale_while_revalidate: policy
                .stale_while_revalidate
                .unwrap_or(cache_policy::STALE_WHILE_REVALIDATE)
                .0,
            stale_if_error: policy.stale_if_error.unwrap_or(cache_policy::STALE_IF_ERROR).0,
            key_headers,
            identity_headers: self.identity_headers(),
            counts: counts.unwrap_or_default(),
        }))
    }
}
