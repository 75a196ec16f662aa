//! The endpoints of one upstream: selects one, applies limits, and records successes and failures. Opens no connection.

use super::balance::HashRing;
use super::counts::{AttemptCounts, AttemptResult};
use super::health::now;
use super::{
    Balance, Breaker, ConcurrencyLimits, Ejection, Endpoint, RetryBudget, SelectedEndpoint,
    UpstreamLimitExceeded, UpstreamPermit, UpstreamProtocol, schedule,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tidegate_http::address::Address;
use tidegate_http::stable_hash;
use tidegate_http::stable_hash::{StableHash, StableHasher};

/// The endpoints of an upstream, and which of them takes a request.
#[derive(Debug)]
pub(crate) struct Pool {
    name: Arc<str>,
    endpoints: Box<[Arc<Endpoint>]>,
    schedule: Box<[usize]>,
    ring: Option<HashRing>,
    next_turn: AtomicUsize,
    has_backups: bool,
    settings: PoolSettings,
    breaker: Option<Arc<Breaker>>,
    budget: RetryBudget,
    counts: Arc<AttemptCounts>,
}

/// How it is used, and its endpoints as they are written; its name and its state do not count.
impl StableHash for Pool {
    fn feed(&self, hasher: &mut StableHasher) {
        self.settings.feed(hasher);
        let endpoints = self.endpoints.iter();
        hasher.list(endpoints.map(|it| (it.address_text(), it.weight(), it.is_backup())));
    }
}

/// How a pool is used.
#[derive(Debug, Clone, Default)]
pub(crate) struct PoolSettings {
    /// How its endpoints are spoken to.
    pub protocol: UpstreamProtocol,
    /// Which endpoint takes a request.
    pub balance: Balance,
    /// When an endpoint is ejected.
    pub ejection: Option<Ejection>,
    /// How long an endpoint that comes back takes until it gets its whole share.
    pub slow_start: Duration,
    /// If fewer than this percentage of endpoints is healthy, all are used regardless of their health.
    pub panic_below: u8,
    /// The most that may be under way.
    pub bounds: ConcurrencyLimits,
    /// Retries for a hundred requests.
    pub retry_percent: u8,
    /// How long a connection may lie idle before it is closed.
    pub idle_timeout: Option<Duration>,
    /// Where endpoints come from beside the configuration.
    pub sources: EndpointSources,
}

stable_hash!(PoolSettings {
    protocol,
    balance,
    ejection,
    slow_start,
    panic_below,
    bounds,
    retry_percent,
    idle_timeout,
    sources,
});

/// Where endpoints come from beside the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct EndpointSources {
    /// `endpoints_file`.
    pub file: Option<PathBuf>,
    /// Whether that lists none.
    pub is_file_empty: bool,
    /// What DNS is asked for, as `discover` says.
    pub discovered: Option<String>,
}

stable_hash!(EndpointSources { file, is_file_empty, discovered });

/// What of a request the choice depends on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SelectionHint<'a> {
    /// The addresses that have been tried for it.
    pub tried: &'a [Address],
    /// What is hashed, or the endpoint that a sticky cookie names.
    pub key: Option<&'a str>,
}

/// Which endpoints come into question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EndpointTier {
    /// Those that are healthy and no backups.
    Healthy,
    /// Those that are healthy.
    HealthyAndBackups,
    /// All but the backups: too few are healthy for that to be believed.
    Primaries,
    /// Really all.
    Any,
}

impl PoolSettings {
    /// Changes when anything of it does.
    pub(crate) fn fingerprint(&self) -> u64 {
        stable_hash::stable_hash(self)
    }
}

impl Pool {
    /// A pool of these endpoints, that goes on counting from there.
    pub(crate) fn new(
        name: &str,
        endpoints: Vec<Arc<Endpoint>>,
        settings: PoolSettings,
        counts: Arc<AttemptCounts>,
    ) -> Self {
        let weights: Vec<u32> = endpoints.iter().map(|endpoint| endpoint.weight()).collect();
        let ring = match settings.balance {
            Balance::Hash(_) => HashRing::new(&endpoints),
            _ => None,
        };
        Self {
            name: name.into(),
            has_backups: endpoints.iter().any(|endpoint| endpoint.is_backup()),
            endpoints: endpoints.into(),
            schedule: schedule::smooth_weighted_order(&weights),
            ring,
            next_turn: AtomicUsize::new(0),
            breaker: Breaker::new(settings.bounds),
            budget: RetryBudget::new(settings.retry_percent),
            counts,
            settings,
        }
    }

    /// The upstream's name.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Why no endpoint can be used, in words for the operator.
    pub(crate) fn no_endpoint_reason(&self) -> String {
        let name = &self.name;
        if !self.endpoints.is_empty() {
            return format!("the names of all endpoints of the upstream `{name}` do not resolve");
        }
        let EndpointSources { file, discovered, .. } = &self.settings.sources;
        let file =
            file.iter().map(|file| format!("the endpoints_file {} lists none", file.display()));
        let found = discovered.iter().map(|it| format!("DNS lists none for {it} (`discover`)"));
        let reasons: Vec<String> = file.chain(found).collect();
        format!("the upstream `{name}` has no endpoints: {}", reasons.join(", and "))
    }

    /// Its endpoints, as written in the file.
    pub(crate) fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// How it is used.
    pub(crate) fn settings(&self) -> &PoolSettings {
        &self.settings
    }

    /// What bounds that which is under way, if anything does.
    pub(crate) fn breaker(&self) -> Option<&Arc<Breaker>> {
        self.breaker.as_ref()
    }

    /// Takes a permit for a request in flight, if the upstream has a limit.
    pub(crate) fn acquire_permit(
        &self,
        is_session: bool,
    ) -> Result<Option<UpstreamPermit>, UpstreamLimitExceeded> {
        let acquired = self.breaker.as_ref().map(|breaker| breaker.acquire(is_session)).transpose();
        acquired.inspect_err(|full| self.counts.record_refusal(full.bound))
    }

    /// Whether a request may be tried again; it is counted.
    pub(crate) fn spend_retry(&self) -> bool {
        let is_there = self.budget.take_retry();
        if is_there {
            self.counts.record_retry()
        } else {
            self.counts.record_denied_retry()
        }
        is_there
    }

    /// What it has done so far.
    pub(crate) fn counts(&self) -> &Arc<AttemptCounts> {
        &self.counts
    }

    /// How many requests may be tried again.
    pub(crate) fn budget(&self) -> &RetryBudget {
        &self.budget
    }

    /// The endpoint for a request; `None` when none has an address that has not been tried.
    pub(crate) fn select(&self, hint: SelectionHint<'_>) -> Option<SelectedEndpoint> {
        if let [only] = &*self.endpoints {
            return only.address(hint.tried).map(|address| SelectedEndpoint::new(only, address));
        }
        let now = now();
        let tier = self.tier(now);
        self.by_policy(tier, now, hint).or_else(|| self.in_turn(EndpointTier::Any, now, hint))
    }

    fn tier(&self, now: u64) -> EndpointTier {
        let primaries = self.endpoints.iter().filter(|endpoint| !endpoint.is_backup());
        let (mut count, mut healthy) = (0, 0);
        for endpoint in primaries {
            count += 1;
            healthy += usize::from(endpoint.is_available(now));
        }
        if healthy == count
            || healthy * 100 >= count * usize::from(self.settings.panic_below).max(1)
        {
            return EndpointTier::Healthy;
        }
        let backups = self.endpoints.iter().filter(|endpoint| endpoint.is_backup());
        match self.has_backups && backups.clone().any(|endpoint| endpoint.is_available(now)) {
            true => EndpointTier::HealthyAndBackups,
            false => EndpointTier::Primaries,
        }
    }

    fn is_in_tier(&self, tier: EndpointTier, endpoint: &Endpoint, now: u64) -> bool {
        match tier {
            EndpointTier::Healthy => !endpoint.is_backup() && endpoint.is_available(now),
            EndpointTier::HealthyAndBackups => endpoint.is_available(now),
            EndpointTier::Primaries => !endpoint.is_backup(),
            EndpointTier::Any => true,
        }
    }

    fn by_policy(
        &self,
        tier: EndpointTier,
        now: u64,
        hint: SelectionHint<'_>,
    ) -> Option<SelectedEndpoint> {
        match (&self.settings.balance, hint.key) {
            (Balance::LeastRequests, _) => self.least_loaded(tier, now, hint, |endpoint| {
                (endpoint.health().in_flight() + 1) as f64
            }),
            (Balance::PeakEwma, _) => self.better_of_two(tier, now, hint),
            (Balance::Hash(_), Some(key)) => {
                let order = self.ring.iter().flat_map(|ring| ring.order(key.as_bytes()));
                self.first_healthy(order, tier, now, hint)
            }
            (Balance::StickyCookie(_), Some(key)) => {
                let own = self.endpoints.iter().position(|endpoint| endpoint.id() == key);
                self.first_healthy(own.into_iter(), tier, now, hint)
            }
            _ => None,
        }
        .or_else(|| self.in_turn(tier, now, hint))
    }

    fn first_healthy(
        &self,
        order: impl Iterator<Item = usize>,
        tier: EndpointTier,
        now: u64,
        hint: SelectionHint<'_>,
    ) -> Option<SelectedEndpoint> {
        order.filter_map(|index| self.endpoints.get(index)).find_map(|endpoint| {
            let is_in = self.is_in_tier(tier, endpoint, now);
            let address = is_in.then(|| endpoint.address(hint.tried)).flatten()?;
            Some(SelectedEndpoint::new(endpoint, address))
        })
    }

    fn in_turn(
        &self,
        tier: EndpointTier,
        now: u64,
        hint: SelectionHint<'_>,
    ) -> Option<SelectedEndpoint> {
        let turn = self.next_turn.fetch_add(1, Relaxed).checked_rem(self.schedule.len())?;
        let (before, from_here) = self.schedule.split_at_checked(turn)?;
        let order = from_here.iter().chain(before).copied();
        // Who has just come back gives most of its turns away, if anybody takes them.
        let warm = order.clone().filter(|&index| {
            self.endpoints.get(index).is_some_and(|endpoint| {
                let slow_start_factor = self.slow_start_factor(endpoint, now);
                slow_start_factor >= 1.0
                    || unit_fraction(self.next_turn.load(Relaxed)) < slow_start_factor
            })
        });
        self.first_healthy(warm, tier, now, hint)
            .or_else(|| self.first_healthy(order, tier, now, hint))
    }

    fn slow_start_factor(&self, endpoint: &Endpoint, now: u64) -> f64 {
        endpoint.health().slow_start_factor(now, self.settings.slow_start)
    }

    /// The one that costs least for its weight; equals take turns.
    fn least_loaded(
        &self,
        tier: EndpointTier,
        now: u64,
        hint: SelectionHint<'_>,
        cost: impl Fn(&Endpoint) -> f64,
    ) -> Option<SelectedEndpoint> {
        let count = self.endpoints.len();
        let turn = self.next_turn.fetch_add(1, Relaxed).checked_rem(count)?;
        let (before, from_here) = self.endpoints.split_at_checked(turn)?;
        let mut best: Option<(f64, &Arc<Endpoint>, Address)> = None;
        for endpoint in from_here.iter().chain(before) {
            if !self.is_in_tier(tier, endpoint, now) {
                continue;
            }
            let share = f64::from(endpoint.weight()) * self.slow_start_factor(endpoint, now);
            let cost = cost(endpoint) / share;
            if best.as_ref().is_none_or(|(least, ..)| cost < *least)
                && let Some(address) = endpoint.address(hint.tried)
            {
                best = Some((cost, endpoint, address));
            }
        }
        best.map(|(_, endpoint, address)| SelectedEndpoint::new(endpoint, address))
    }

    /// Two at random, and the better of them: nearly as good as the best of all, and not the same
    /// for all who ask at once.
    fn better_of_two(
        &self,
        tier: EndpointTier,
        now: u64,
        hint: SelectionHint<'_>,
    ) -> Option<SelectedEndpoint> {
        let eligible = || self.endpoints.iter().filter(|it| self.is_in_tier(tier, it, now));
        let count = eligible().count();
        if count < 3 {
            return self
                .least_loaded(tier, now, hint, |endpoint| endpoint.health().load_estimate());
        }
        let turn = self.next_turn.fetch_add(1, Relaxed);
        let first = (unit_fraction(turn) * count as f64) as usize;
        let step = 1 + (unit_fraction(!turn) * (count - 1) as f64) as usize;
        let cost = |endpoint: &Arc<Endpoint>| {
            let share = f64::from(endpoint.weight()) * self.slow_start_factor(endpoint, now);
            endpoint.health().load_estimate() / share
        };
        let (a, b) = (eligible().nth(first)?, eligible().nth((first + step) % count)?);
        let (better, other) = if cost(b) < cost(a) { (b, a) } else { (a, b) };
        [better, other].into_iter().find_map(|endpoint| {
            endpoint.address(hint.tried).map(|address| SelectedEndpoint::new(endpoint, address))
        })
    }

    /// Nothing answered at this address.
    pub(crate) fn record_connect_failure(&self, chosen: &SelectedEndpoint) {
        self.counts.record_attempt(AttemptResult::Unreachable, chosen.age());
        chosen.endpoint().record_unreachable(chosen.address());
        if let Some(rules) = &self.settings.ejection
            && chosen.endpoint().health().record_connect_failure(rules)
        {
            self.eject(chosen.endpoint(), rules, "connection failures");
        }
    }

    /// A response has come, of this status.
    pub(crate) fn record_response(&self, chosen: &SelectedEndpoint, status: u16) {
        self.counts.record_attempt(AttemptResult::Answered(status), chosen.age());
        if status >= 500 {
            return self.record_server_error(chosen);
        }
        let health = chosen.endpoint().health();
        health.record_success();
        if self.settings.balance == Balance::PeakEwma {
            health.record_latency(chosen.age());
        }
    }

    /// No response has come.
    pub(crate) fn record_failure(&self, chosen: &SelectedEndpoint) {
        self.counts.record_attempt(AttemptResult::Broken, chosen.age());
        self.record_server_error(chosen);
    }

    fn record_server_error(&self, chosen: &SelectedEndpoint) {
        if let Some(rules) = &self.settings.ejection
            && chosen.endpoint().health().record_server_error(rules)
        {
            self.eject(chosen.endpoint(), rules, "server errors");
        }
    }

    fn eject(&self, endpoint: &Endpoint, rules: &Ejection, why: &str) {
        let now = now();
        let ejected = self.endpoints.iter().filter(|it| it.health().is_ejected(now)).count() + 1;
        if ejected * 100 > self.endpoints.len() * usize::from(rules.max_percent) {
            return;
        }
        let duration = endpoint.health().eject(rules);
        self.counts.record_ejection();
        log::warn!(
            "upstream `{}`: endpoint {} is ejected for {duration:?}: too many consecutive {why}",
            self.name,
            endpoint.address_text()
        );
    }

    /// How many addresses there are to try.
    pub(crate) fn address_count(&self) -> usize {
        self.endpoints.iter().map(|endpoint| endpoint.address_count()).sum()
    }

    /// Asks DNS for every endpoint that is a name.
    pub(crate) async fn resolve(&self) {
        for endpoint in &self.endpoints {
            endpoint.resolve().await;
        }
    }
}

/// From 0 to below 1, evenly and without a pattern for consecutive numbers (SplitMix64).
fn unit_fraction(number: usize) -> f64 {
    let mut z = (number as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests;
