//! All live sessions, found by id, user and route, and the limits on their number. Knows nothing of tunnels: it
//! asks a session to close and waits for its permit to be dropped.

mod live;
mod totals;

pub(crate) use live::QuotaExceeded;
pub(crate) use totals::SessionTotals;

use super::end::{CloseRequest, End};
use super::login::RenewalId;
use super::session::Session;
use super::settings::SessionQuota;
use crate::authentication::Revocations;
use crate::exchange::Initiator;
use crate::exchange::{UserId, UserIdOrigin};
use crate::identity::VerifiedIdentity;
use live::RegistryEntry;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidegate_http::websocket::close_code;

/// All live sessions, from their handshake on.
///
/// Sessions of one route share a lock, taken when a session starts and when it ends; frames take none.
#[derive(Debug, Default)]
pub(crate) struct SessionRegistry {
    routes: Mutex<BTreeMap<Arc<str>, Arc<RouteSessions>>>,
    numbers: AtomicU64,
    draining: AtomicBool,
    /// The logins that were revoked. They are here so that no session escapes: it registers, and then asks.
    revocations: Revocations,
}

/// The sessions of one route, by its name; they outlive reloads.
#[derive(Debug, Default)]
struct RouteSessions {
    live: Mutex<RegistryEntry>,
    totals: Mutex<SessionTotals>,
}

/// Keeps a session in the registry, from its handshake on; dropping it removes the session.
#[derive(Debug)]
pub(crate) struct SessionPermit {
    route: Arc<RouteSessions>,
    number: u64,
    session: Arc<Session>,
}

/// Selects sessions; all given conditions must hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct SessionSelector {
    /// The id of a session.
    pub id: Option<String>,
    /// A user id.
    pub user: Option<String>,
    /// The name of a route.
    pub route: Option<String>,
}

impl SessionSelector {
    /// `whole` is the id of a request whose client sends `user`: long ids are kept in a short form, and `user` may be
    /// either.
    fn selects(&self, session: &Session, whole: Option<&UserId>) -> bool {
        let identity = &session.identity;
        let user = identity.user.as_ref().map(UserId::as_str);
        let is_user = |wanted| user == Some(wanted) || user == whole.map(UserId::as_str);
        self.id.as_deref().is_none_or(|id| &*identity.id == id)
            && self.user.as_deref().is_none_or(|wanted| user.is_some() && is_user(wanted))
            && self.route.as_deref().is_none_or(|route| *identity.route == *route)
    }
}

impl SessionRegistry {
    /// Registers a handshake, unless it cannot become a session. No limit counts it until the upstream
    /// accepts it ([`SessionRegistry::accept`]).
    ///
    /// One user or address may have as many handshakes in flight as sessions (at least four); after that
    /// the oldest is refused.
    pub(crate) fn register(
        &self,
        session: Arc<Session>,
        quota: &SessionQuota,
    ) -> Result<SessionPermit, QuotaExceeded> {
        let route = self.route(&session.identity.route);
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let mut live = lock(&route.live);
        if let Some(exceeded) = live.exceeded_limit(&session, quota) {
            lock(&route.totals).refused += 1;
            return Err(exceeded);
        }
        let displaced = live.add_pending(number, &session, quota);
        drop(live);
        for session in displaced {
            let reason = "too many handshakes in flight; a newer handshake replaces this one";
            session.request_close(End::new(Initiator::Limit, close_code::POLICY_VIOLATION, reason));
        }
        Ok(SessionPermit { route, number, session })
    }

    /// Counts a handshake that the upstream has accepted, if there is room; the oldest session makes room
    /// where the route says so. Exact for concurrent handshakes.
    pub(crate) fn accept(
        &self,
        permit: &mut SessionPermit,
        quota: &SessionQuota,
    ) -> Result<(), QuotaExceeded> {
        let SessionPermit { route, number, session } = permit;
        let mut live = lock(&route.live);
        live.remove_pending(*number);
        let evicted = match live.make_room(session, quota) {
            Ok(evicted) => evicted,
            Err(exceeded) => {
                lock(&route.totals).refused += 1;
                return Err(exceeded);
            }
        };
        *number = self.numbers.fetch_add(1, Ordering::Relaxed);
        live.add_counted(*number, session);
        drop(live);
        for session in evicted {
            session.request_close(End::replaced());
        }
        Ok(())
    }

    fn route(&self, name: &Arc<str>) -> Arc<RouteSessions> {
        Arc::clone(lock(&self.routes).entry(Arc::clone(name)).or_default())
    }

    /// Records the refusal of a handshake by a limit that the registry does not keep.
    pub(crate) fn record_refusal(&self, route: &Arc<str>) {
        lock(&self.route(route).totals).refused += 1;
    }

    /// The selected sessions, oldest first within their route.
    pub(crate) fn select(&self, selector: &SessionSelector) -> Vec<Arc<Session>> {
        let mut found = Vec::new();
        let whole = selector.user.as_deref();
        let whole = whole.and_then(|user| UserId::new(user, UserIdOrigin::Query));
        for (name, route) in self.snapshot() {
            if selector.route.as_deref().is_some_and(|wanted| *wanted != *name) {
                continue;
            }
            let live = lock(&route.live);
            let all = live.counted.values().chain(live.displaced.values());
            let all = all.chain(live.pending.values());
            found.extend(all.filter(|session| selector.selects(session, whole.as_ref())).cloned());
        }
        found
    }

    /// The open session of this route that this id renews.
    pub(crate) fn find_renewable(&self, route: &str, id: RenewalId) -> Option<Arc<Session>> {
        let route = lock(&self.routes).get(route).map(Arc::clone)?;
        lock(&route.live).find_renewable(id).cloned()
    }

    /// Number of sessions.
    pub(crate) fn count(&self) -> usize {
        self.snapshot().iter().map(|(_, route)| lock(&route.live).len()).sum()
    }

    /// Routes with their current number of sessions and their totals.
    pub(crate) fn counts_by_route(&self) -> Vec<(Arc<str>, usize, SessionTotals)> {
        let routes = self.snapshot().into_iter();
        routes
            .map(|(name, route)| (name, lock(&route.live).len(), lock(&route.totals).clone()))
            .collect()
    }

    /// Requests the selected sessions to close; returns their number.
    pub(crate) fn close(&self, selector: &SessionSelector, request: &CloseRequest) -> usize {
        let sessions = self.select(selector);
        for session in &sessions {
            session.request_close(request.clone());
        }
        sessions.len()
    }

    /// The logins that were revoked.
    pub(crate) fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Requests the sessions whose logins are revoked to close; returns their number.
    pub(crate) fn close_revoked(&self) -> usize {
        let sessions = self.select(&SessionSelector::default());
        sessions.iter().filter(|session| self.close_if_revoked(session)).count()
    }

    /// Requests the sessions to close whose logins are not admitted any more; returns their number.
    pub(crate) fn close_dismissed(&self, admits: impl Fn(&VerifiedIdentity) -> bool) -> usize {
        let sessions = self.select(&SessionSelector::default());
        sessions.iter().filter(|session| Self::close_if_dismissed(session, &admits)).count()
    }

    /// Requests a session to close if its login is not admitted any more. Returns whether it has asked for that now.
    pub(crate) fn close_if_dismissed(
        session: &Session,
        admits: impl Fn(&VerifiedIdentity) -> bool,
    ) -> bool {
        let Some(login) = session.login() else { return false };
        let is_dismissed = session.close_request().is_none() && !admits(&login.identity());
        if is_dismissed {
            session.request_close(login.revoked());
        }
        is_dismissed
    }

    /// Requests a session to close if its login is revoked. Returns whether it has asked for that now.
    pub(crate) fn close_if_revoked(&self, session: &Session) -> bool {
        let Some(login) = session.login() else { return false };
        let identity = login.identity();
        let user = session.identity.user.as_ref().filter(|user| user.is_verified());
        let user = user.map(UserId::as_str).or_else(|| identity.subject());
        let is_revoked =
            session.close_request().is_none() && self.revocations.refuse(&identity, user);
        if is_revoked {
            session.request_close(login.revoked());
        }
        is_revoked
    }

    /// Whether the gateway drains and refuses new sessions.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Starts or stops refusing new sessions.
    pub(crate) fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
    }

    fn snapshot(&self) -> Vec<(Arc<str>, Arc<RouteSessions>)> {
        let routes = lock(&self.routes);
        routes.iter().map(|(name, route)| (Arc::clone(name), Arc::clone(route))).collect()
    }
}

impl SessionPermit {
    /// The session.
    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }
}

impl Drop for SessionPermit {
    fn drop(&mut self) {
        let mut live = lock(&self.route.live);
        let number = self.number;
        live.remove_pending(number);
        let has_counted =
            live.remove_counted(number).is_some() || live.displaced.remove(&number).is_some();
        drop(live);
        if !has_counted {
            return;
        }
        let Some(handshake) = self.session.handshake() else { return };
        lock(&self.route.totals).add_ended(&self.session, handshake);
    }
}

/// Locks a mutex; its value is consistent even if a holder panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
