use pingora_cache::{CachePhase, NoCacheReason};

/// What the cache had to do with a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It gave it.
    Hit,
    /// It gave one that is no longer fresh.
    Stale,
    /// It had none.
    Miss,
    /// It had one that was no longer fresh, and the upstream sent another.
    Expired,
    /// It had one that was no longer fresh, and the upstream said that it still holds.
    Revalidated,
    /// The response may not be kept, or could not be.
    Pass,
    /// The request is none that it answers.
    Bypass,
}

impl Status {
    /// All there are, in the order of [`Status::index`].
    pub const ALL: [Self; 7] = [
        Self::Hit,
        Self::Stale,
        Self::Miss,
        Self::Expired,
        Self::Revalidated,
        Self::Pass,
        Self::Bypass,
    ];

    /// What Pingora's state means.
    pub fn of(phase: CachePhase) -> Self {
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

    /// Its place in [`Status::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// In logs and metrics.
    pub fn as_str(self) -> &'static str {
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
