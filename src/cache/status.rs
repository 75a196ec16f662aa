//! What the cache did for a request, in the words of logs and metrics. Decides nothing.

use pingora_cache::{CachePhase, NoCacheReason};

/// What the cache did for a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CacheStatus {
    /// It had a fresh response.
    Hit,
    /// It had a stale response, and the client got it.
    Stale,
    /// It had no response.
    Miss,
    /// It had a stale response, and the upstream sent another.
    Expired,
    /// It had a stale response, and the upstream revalidated it.
    Revalidated,
    /// The response may not be stored, or could not be.
    Pass,
    /// The cache does not answer such requests.
    Bypass,
}

impl CacheStatus {
    /// All, in the order of [`CacheStatus::index`].
    pub(crate) const ALL: [Self; 7] = [
        Self::Hit,
        Self::Stale,
        Self::Miss,
        Self::Expired,
        Self::Revalidated,
        Self::Pass,
        Self::Bypass,
    ];

    /// The status for a state of Pingora's.
    pub(crate) fn from_phase(phase: CachePhase) -> Self {
        match phase {
            CachePhase::Hit => Self::Hit,
            CachePhase::Stale | CachePhase::StaleUpdating => Self::Stale,
            CachePhase::Miss => Self::Miss,
            CachePhase::Expired => Self::Expired,
            CachePhase::Revalidated | CachePhase::RevalidatedNoCache(_) => Self::Revalidated,
            CachePhase::Disabled(NoCacheReason::NeverEnabled) => Self::Bypass,
            CachePhase::Disabled(_)
            | CachePhase::Bypass
            | CachePhase::Uninit
            | CachePhase::CacheKey => Self::Pass,
        }
    }

    /// Its index in [`CacheStatus::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// Its name in logs and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Expired => "expired",
            Self::Revalidated => "revalidated",
            Self::Pass => "pass",
            Self::Bypass => "bypass",
        }
    }
}
