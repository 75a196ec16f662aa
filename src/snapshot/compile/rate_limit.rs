//! Compiles `rate_limits` and `shared_counters`, and takes over the counts of limits that did not change. It
//! knows nothing of requests.

use super::built_in::{BuiltIn, compiled};
use super::{Compiler, duration_or_default, header_name};
use crate::filter::RateLimitFilter;
use crate::rate_limit::{CountBy, RateLimit, RateLimitSettings};
use crate::shared::{self, SharedCounterClient};
use std::sync::Arc;
use std::time::Duration;
use tidegate_config::{
    self as config, RateLimitBy, Spanned, defaults::rate_limit, defaults::shared_counters,
};

const MIN_LEASE: Duration = Duration::from_secs(1);

/// Maximum period of a rate limit.
const MAX_PERIOD: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) const FILTER: BuiltIn = BuiltIn {
    keys: &["rate_limits", "rate_limit"],
    for_all: |compiler| {
        compiled(compiler.rate_limits(&compiler.config.rate_limits, "", "rate_limits"))
    },
    for_route: |compiler, route, inherited| match &route.written.rate_limits {
        Some(limits) => {
            let key_path = route.path_of("rate_limits");
            compiled(compiler.rate_limits(limits, &route.written.name, &key_path))
        }
        None => inherited,
    },
};

impl Compiler<'_> {
    /// The counters that gateways share. They are the same as before where nothing has changed:
    /// sessions count there.
    pub(super) fn shared_counters(&mut self) -> Option<Arc<SharedCounterClient>> {
        let written = self.config.shared_counters.as_ref()?;
        let ca = written.ca.as_ref().and_then(|ca| self.authorities(ca));
        if let Some(timeout) = &written.timeout
            && timeout.value.0.is_zero()
        {
            let reason = "must be more than 0s";
            self.problems.add(timeout.span, "shared_counters.timeout", reason);
        }
        if let Some(lease) = &written.lease
            && lease.value.0 < MIN_LEASE
        {
            let reason = "must be at least 1s, because the gateway renews the lease three times \
                          in this time";
            self.problems.add(lease.span, "shared_counters.lease", reason);
        }
        if password_in(&written.url) {
            self.problems
                .add(written.url.span, "shared_counters.url", "the URL must not contain a password")
                .help(
                    "use the key `password`, whose value is never shown: `password: \
                     \"${REDIS_PASSWORD}\"`",
                );
            return None;
        }
        let settings = shared::SharedCounterSettings {
            url: written.url.value.clone(),
            username: written.username.clone(),
            // A variable that is not set is no password.
            password: written.password.clone().filter(|password| !password.is_empty()),
            ca,
            prefix: written.prefix.clone().unwrap_or_else(|| shared_counters::PREFIX.to_owned()),
            timeout: duration_or_default(written.timeout.as_ref(), shared_counters::TIMEOUT),
            lease: duration_or_default(written.lease.as_ref(), shared_counters::LEASE)
                .max(MIN_LEASE),
        };
        let previous = self.env.previous.and_then(|it| it.global.shared.as_ref());
        if let Some(same) = previous.filter(|it| *it.settings() == settings) {
            return Some(Arc::clone(same));
        }
        match SharedCounterClient::new(settings) {
            Ok(shared) => Some(Arc::new(shared)),
            Err(reason) => {
                self.problems.add(written.url.span, "shared_counters.url", reason);
                None
            }
        }
    }

    fn authorities(&mut self, written: &Spanned<String>) -> Option<Vec<u8>> {
        let path = self.path(written);
        let read = crate::tls::read_pem(&path).map_err(|error| error.to_string());
        // Only to see that it is what it should be.
        let read = read.and_then(|pem| crate::tls::roots(&path).map(|_| pem));
        read.inspect_err(|reason| {
            self.problems.add(written.span, "shared_counters.ca", reason.as_str());
        })
        .ok()
    }

    /// The filter that counts requests, where there is a limit.
    fn rate_limits(
        &mut self,
        written: &[Spanned<config::RateLimit>],
        scope: &str,
        key_path: &str,
    ) -> Option<RateLimitFilter> {
        let limits: Vec<_> = written
            .iter()
            .enumerate()
            .map(|(index, written)| {
                self.rate_limit(written, scope, &format!("{key_path}[{index}]"))
            })
            .collect();
        (!limits.is_empty()).then_some(RateLimitFilter { limits })
    }

    fn rate_limit(
        &mut self,
        written: &config::RateLimit,
        scope: &str,
        key_path: &str,
    ) -> Arc<RateLimit> {
        let per = duration_or_default(written.per.as_ref(), rate_limit::PER);
        if let Some(written) = &written.per
            && (per.is_zero() || per > MAX_PERIOD)
        {
            let reason = "must be more than 0s and at most a day";
            self.problems.add(written.span, format!("{key_path}.per"), reason);
        }
        let settings = RateLimitSettings {
            scope: scope.into(),
            requests: written.requests,
            per,
            burst: written.burst.unwrap_or(written.requests),
            by: match &written.by {
                RateLimitBy::ClientAddress => CountBy::ClientAddress,
                RateLimitBy::UserId => CountBy::UserId,
                RateLimitBy::Header(name) => {
                    header_name(name).map_or(CountBy::ClientAddress, CountBy::Header)
                }
                RateLimitBy::Cookie(name) => CountBy::Cookie(name.clone()),
                RateLimitBy::All => CountBy::All,
            },
        };
        let shared = self.shared.clone().filter(|_| written.shared.unwrap_or(rate_limit::SHARED).0);
        let previous = self.env.previous.into_iter().flat_map(|it| &it.rate_limits);
        let is_same = |previous: &&Arc<RateLimit>| {
            let has_same_place = match (previous.shared(), &shared) {
                (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                (a, b) => a.is_none() && b.is_none(),
            };
            *previous.settings() == settings && has_same_place
        };
        // An edit elsewhere lets nobody ask anew.
        let limit = match previous.into_iter().find(is_same) {
            Some(same) => Arc::clone(same),
            None => Arc::new(RateLimit::new(settings, shared)),
        };
        self.limits.push(Arc::clone(&limit));
        limit
    }
}

fn password_in(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.split(['/', '?']).next().unwrap_or_default();
    authority.contains('@') || url.contains("pass=")
}
