//! Limits what is in flight to an upstream. Knows nothing of endpoints.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tidegate_http::stable_hash;

/// The limits on what is in flight to an upstream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct ConcurrencyLimits {
    /// Requests and WebSocket sessions together: over HTTP/1.1 each has a connection.
    pub connections: Option<usize>,
    /// Requests and sessions whose connection is not established yet.
    pub pending: Option<usize>,
    /// Requests.
    pub requests: Option<usize>,
}

stable_hash!(ConcurrencyLimits { connections, pending, requests });

/// One of the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConcurrencyLimit {
    /// Requests and sessions together.
    Connections,
    /// Requests and sessions that wait for their connection.
    Pending,
    /// Requests.
    Requests,
}

impl ConcurrencyLimit {
    /// All limits, in the order of their numbers.
    pub(crate) const ALL: [Self; 3] = [Self::Connections, Self::Pending, Self::Requests];

    /// The key in the configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Pending => "pending",
            Self::Requests => "requests",
        }
    }
}

/// Counts requests and sessions in flight to an upstream, and refuses those over a limit at once.
#[derive(Debug)]
pub(crate) struct Breaker {
    bounds: ConcurrencyLimits,
    requests: AtomicUsize,
    sessions: AtomicUsize,
    pending: AtomicUsize,
}

/// The refusal because of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UpstreamLimitExceeded {
    /// The limit that is reached.
    pub bound: ConcurrencyLimit,
    limit: usize,
}

impl fmt::Display for UpstreamLimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.bound {
            ConcurrencyLimit::Connections => "connections",
            ConcurrencyLimit::Pending => "pending connections",
            ConcurrencyLimit::Requests => "requests",
        };
        write!(f, "the upstream has reached its limit of {} {what}", self.limit)
    }
}

/// A permit for a request or session in flight; dropping it releases the permit.
#[derive(Debug)]
pub(crate) struct UpstreamPermit {
    breaker: Arc<Breaker>,
    is_session: bool,
    is_pending: bool,
}

impl Breaker {
    /// A breaker with these limits; `None` if there is none.
    pub(crate) fn new(bounds: ConcurrencyLimits) -> Option<Arc<Self>> {
        let [requests, sessions, pending] = Default::default();
        (bounds != ConcurrencyLimits::default())
            .then(|| Arc::new(Self { bounds, requests, sessions, pending }))
    }

    /// Takes a place, or tells what is full. Under many at once it may be exceeded by none: each
    /// counts itself first.
    pub(crate) fn acquire(
        self: &Arc<Self>,
        is_session: bool,
    ) -> Result<UpstreamPermit, UpstreamLimitExceeded> {
        let own = if is_session { &self.sessions } else { &self.requests };
        own.fetch_add(1, Relaxed);
        self.pending.fetch_add(1, Relaxed);
        let permit = UpstreamPermit { breaker: Arc::clone(self), is_session, is_pending: true };
        let over = |bound| match self.limit(bound) {
            Some(limit) if self.count(bound) > limit => Err(UpstreamLimitExceeded { bound, limit }),
            _ => Ok(()),
        };
        over(ConcurrencyLimit::Connections)?;
        if !is_session {
            over(ConcurrencyLimit::Requests)?;
        }
        over(ConcurrencyLimit::Pending)?;
        Ok(permit)
    }

    /// The value of this limit, if it is set.
    pub(crate) fn limit(&self, bound: ConcurrencyLimit) -> Option<usize> {
        match bound {
            ConcurrencyLimit::Connections => self.bounds.connections,
            ConcurrencyLimit::Pending => self.bounds.pending,
            ConcurrencyLimit::Requests => self.bounds.requests,
        }
    }

    fn count(&self, bound: ConcurrencyLimit) -> usize {
        match bound {
            ConcurrencyLimit::Connections => {
                self.requests.load(Relaxed) + self.sessions.load(Relaxed)
            }
            ConcurrencyLimit::Pending => self.pending.load(Relaxed),
            ConcurrencyLimit::Requests => self.requests.load(Relaxed),
        }
    }

    /// Of each bound that is set: how much is under way, and how much may be. One that is being
    /// refused counts for a moment.
    pub(crate) fn usage(&self) -> impl Iterator<Item = (ConcurrencyLimit, usize, usize)> {
        let of =
            |bound| self.limit(bound).map(|limit| (bound, self.count(bound).min(limit), limit));
        ConcurrencyLimit::ALL.into_iter().filter_map(of)
    }
}

impl UpstreamPermit {
    /// Records that the connection is established.
    pub(crate) fn connected(&mut self) {
        if std::mem::take(&mut self.is_pending) {
            self.breaker.pending.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for UpstreamPermit {
    fn drop(&mut self) {
        self.connected();
        let own = if self.is_session { &self.breaker.sessions } else { &self.breaker.requests };
        own.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_upstream_refuses_until_a_request_ends() {
        let bounds =
            ConcurrencyLimits { connections: Some(3), pending: Some(2), requests: Some(2) };
        let breaker = Breaker::new(bounds).expect("bounds");
        let mut first = breaker.acquire(false).expect("room");
        let second = breaker.acquire(false).expect("room");
        assert_eq!(
            breaker.acquire(true).err(),
            Some(UpstreamLimitExceeded { bound: ConcurrencyLimit::Pending, limit: 2 })
        );
        first.connected();
        assert_eq!(
            breaker.acquire(false).err(),
            Some(UpstreamLimitExceeded { bound: ConcurrencyLimit::Requests, limit: 2 })
        );
        let session = breaker.acquire(true).expect("room");
        assert_eq!(
            breaker.acquire(true).err(),
            Some(UpstreamLimitExceeded { bound: ConcurrencyLimit::Connections, limit: 3 })
        );
        let fill: Vec<_> = breaker.usage().collect();
        let expected = [
            (ConcurrencyLimit::Connections, 3, 3),
            (ConcurrencyLimit::Pending, 2, 2),
            (ConcurrencyLimit::Requests, 2, 2),
        ];
        assert_eq!(fill, expected);
        drop((second, session));
        assert!(breaker.acquire(false).is_ok());
    }

    #[test]
    fn limit_index_equals_its_discriminant() {
        for (permit, bound) in ConcurrencyLimit::ALL.into_iter().enumerate() {
            assert_eq!(bound as usize, permit, "{bound:?}");
        }
    }

    #[test]
    fn upstream_without_limits_has_no_breaker() {
        assert!(Breaker::new(ConcurrencyLimits::default()).is_none());
    }
}
