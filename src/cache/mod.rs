//! A shared cache of responses (RFC 9111), in memory, on the machinery of `pingora-cache`.
//!
//! Pingora has the state machine: which request waits for which, revalidation, `304`, ranges. Its own storage is for
//! tests, so [`CacheStore`] is the gateway's, and so are the rules of what may be stored and for how long. This room
//! knows nothing of routes and of how requests are forwarded.

mod counts;
mod entry;
mod fill;
mod policy;
mod purge_epoch;
mod request;
mod rules;
mod stampede;
mod status;
mod store;
mod store_view;
mod user;

pub(crate) use counts::CacheStatusCounts;
pub(crate) use policy::RouteCachePolicy;
pub(crate) use purge_epoch::PurgeEpoch;
pub(crate) use request::is_answerable;
pub(crate) use rules::{
    NotStoredReason, RequestDirectives, RequestFacts, ResponseArrival, decide_storage,
    has_freshness_lifetime, is_gateway_written_header,
};
pub(crate) use status::CacheStatus;
pub(crate) use store::{CacheLimits, CacheStore, CacheTarget, PurgeScope};
pub(crate) use store_view::StoreViewGuard;
pub(crate) use user::names_user;

use std::sync::OnceLock;

/// The gateway's cache; it is empty until a configuration has a route that caches.
///
/// Pingora demands storage that lives as long as the process; so it is created once, and gets the limits of each
/// configuration.
#[derive(Default)]
pub(crate) struct Cache(OnceLock<&'static CacheStore>);

impl Cache {
    /// Creates the store if a configuration needs it, and sets its limits.
    pub(crate) fn apply(&self, limits: Option<CacheLimits>) {
        if let Some(limits) = limits {
            self.0.get_or_init(|| Box::leak(Box::new(CacheStore::new()))).set_limits(limits);
        }
    }

    /// The stored responses, once a route has cached.
    pub(crate) fn store(&self) -> Option<&'static CacheStore> {
        self.0.get().copied()
    }
}
