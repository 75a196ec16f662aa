//! A shared cache of responses (RFC 9111), in memory, on the machinery of `pingora-cache`.
//!
//! Pingora's is the state machine: who waits for whom, revalidation, `304`, ranges. The storage that
//! it ships is for tests, so [`Shelf`] is ours, and so are the rules of what may be kept and for how
//! long, of which Pingora knows a part.

mod counts;
mod entry;
mod fill;
mod marks;
mod policy;
mod request;
mod rules;
mod shelf;
mod stampede;
mod status;
mod storage;
mod user;

pub(crate) use counts::Counts;
pub(crate) use marks::Mark;
pub(crate) use policy::Policy;
pub(crate) use request::is_answerable;
pub use rules::Wishes;
pub(crate) use rules::{Arrival, Asked, Refusal, judge, made_by_gateway, says_how_long};
pub(crate) use shelf::{Limits, Scope, Shelf, Target};
pub(crate) use status::Status;
pub(crate) use storage::Lease;
pub(crate) use user::names_user;

use std::sync::OnceLock;

/// The gateway's cache, which is nothing until a configuration has a route that caches.
///
/// Pingora asks for storage that lives as long as the process; so it is made once, and follows the
/// limits of each configuration.
#[derive(Default)]
pub(crate) struct Cache(OnceLock<&'static Shelf>);

impl Cache {
    /// Makes it, if it is wanted and not there, and bounds it.
    pub(crate) fn apply(&self, limits: Option<Limits>) {
        if let Some(limits) = limits {
            self.0.get_or_init(|| Box::leak(Box::new(Shelf::new()))).bound(limits);
        }
    }

    /// What is kept, once there was a route that keeps anything.
    pub(crate) fn shelf(&self) -> Option<&'static Shelf> {
        self.0.get().copied()
    }
}
