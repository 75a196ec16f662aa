//! All live sessions, found by id, user and route, and the limits on their number. Knows nothing of tunnels: it
//! asks a session to close and waits for its permit to be dropped.

use super::session::{CloseRequest, End, Session};
use super::settings::SessionQuota;
use crate::exchange::Initiator;
use crate::exchange::{UserId, UserIdOrigin};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tidegate_http::address;
use tidegate_http::websocket::close_code;
use tidegate_http::websocket::frame::{Direction, FrameCounts};

/// All live sessions, from their handshake on.
///
/// Sessions of one route share a lock, taken when a session starts and when it ends; frames take none.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    routes: Mutex<BTreeMap<Arc<str>, Arc<RouteSessions>>>,
    numbers: AtomicU64,
    draining: AtomicBool,
}

/// The sessions of one route, by its name; they outlive reloads.
#[derive(Debug, Default)]
struct RouteSessions {
    live: Mutex<RegistryEntry>,
    totals: Mutex<SessionTotals>,
}

/// Totals of a route since the gateway started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SessionTotals {
    /// Handshakes that became sessions.
    pub opened: u64,
    /// Sessions that ended, by who ended them and with which close code (0 for none).
    pub closed: BTreeMap<(Initiator, u16), u64>,
    /// Handshakes that were refused for a limit.
    pub refused: u64,
    /// What clients sent in sessions that have ended.
    pub client_to_upstream: TrafficTotals,
    /// What clients got in sessions that have ended.
    pub upstream_to_client: TrafficTotals,
    /// Protocol errors in sessions that have ended.
    pub errors: u64,
    /// Handshakes, and how long they took together.
    pub handshakes: (u64, Duration),
    /// Sessions that ended, and how long they lasted together.
    pub lifetimes: (u64, Duration),
}

/// Frames and bytes of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TrafficTotals {
    /// Frames.
    pub frames: u64,
    /// Bytes on the wire.
    pub bytes: u64,
}

impl TrafficTotals {
    fn add(&mut self, counts: &FrameCounts) {
        self.frames += counts.frames();
        self.bytes += counts.bytes;
    }
}

#[derive(Debug, Default)]
struct RegistryEntry {
    /// Handshakes that no upstream has accepted yet: no limit on sessions counts them.
    pending: BTreeMap<u64, Arc<Session>>,
    /// Their numbers by user and address, or by address, in order; only where that is limited.
    pending_by_client: HashMap<PendingKey, Vec<u64>>,
    /// Open sessions by number: the first is the oldest.
    counted: BTreeMap<u64, Arc<Session>>,
    /// Sessions that make room for others: they are closing, and no limit counts them.
    leaving: BTreeMap<u64, Arc<Session>>,
    /// Numbers of the open sessions of a user, in order; a user has few.
    by_user: HashMap<Box<str>, Vec<u64>>,
    by_address: HashMap<IpAddr, BTreeSet<u64>>,
}

/// Handshakes with the same key are limited together. A client can claim any user id, so the key always has
/// the address too: a stranger's claim must not keep the user out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct PendingKey {
    user: Option<Box<str>>,
    client: Option<IpAddr>,
}

/// Minimum number of concurrent handshakes with one [`PendingKey`], however low the limit on sessions.
const MIN_PENDING: usize = 4;

/// The limit on sessions that a new one would exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QuotaExceeded {
    /// `max_sessions`.
    Route(usize),
    /// `max_sessions_per_user`.
    User(usize),
    /// `max_sessions_per_address`.
    Address(usize),
}

impl fmt::Display for QuotaExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(limit) => {
                write!(f, "the route has reached its limit of {limit} sessions (max_sessions)")
            }
            Self::User(limit) => {
                write!(
                    f,
                    "the user has reached the limit of {limit} sessions (max_sessions_per_user)"
                )
            }
            Self::Address(limit) => {
                write!(
                    f,
                    "the client has reached the limit of {limit} sessions \
                     (max_sessions_per_address)"
                )
            }
        }
    }
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
    /// `whole` is the id that a request would have which says `user`: it may be a long one.
    fn takes(&self, session: &Session, whole: Option<&UserId>) -> bool {
        let identity = &session.identity;
        let user = identity.user.as_ref().map(UserId::as_str);
        let is_user = |wanted| user == Some(wanted) || user == whole.map(UserId::as_str);
        self.id.as_deref().is_none_or(|id| &*identity.id == id)
            && self.user.as_deref().is_none_or(|wanted| user.is_some() && is_user(wanted))
            && self.route.as_deref().is_none_or(|route| *identity.route == *route)
    }
}

impl Registry {
    /// Registers a handshake, unless it cannot become a session. No limit counts it until the upstream
    /// accepts it ([`Registry::accept`]).
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
            let all = live.counted.values().chain(live.leaving.values());
            let all = all.chain(live.pending.values());
            found.extend(all.filter(|session| selector.takes(session, whole.as_ref())).cloned());
        }
        found
    }

    /// Number of sessions.
    pub(crate) fn count(&self) -> usize {
        self.snapshot().iter().map(|(_, route)| lock(&route.live).len()).sum()
    }

    /// Routes with their current number of sessions and their totals.
    pub(crate) fn routes(&self) -> Vec<(Arc<str>, usize, SessionTotals)> {
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

impl RegistryEntry {
    fn len(&self) -> usize {
        self.counted.len() + self.leaving.len() + self.pending.len()
    }

    /// The limit for which a handshake cannot become a session, whatever the upstream answers.
    fn exceeded_limit(&self, new: &Session, quota: &SessionQuota) -> Option<QuotaExceeded> {
        let identity = &new.identity;
        let of_user = identity.user.as_ref().map(|user| self.by_user.get(user.as_str()));
        let of_user = of_user.map(|numbers| numbers.map_or(0, Vec::len));
        let of_address = client_of(new).map(|client| self.by_address.get(&client));
        let of_address = of_address.map(|numbers| numbers.map_or(0, BTreeSet::len));
        let exceeded = |limit: Option<usize>, count: Option<usize>| {
            let (limit, count) = (limit?, count?);
            let is_exceeded = count >= limit && (limit == 0 || !quota.evicts_oldest);
            is_exceeded.then_some(limit)
        };
        exceeded(quota.per_user, of_user)
            .map(QuotaExceeded::User)
            .or_else(|| exceeded(quota.per_address, of_address).map(QuotaExceeded::Address))
            .or_else(|| {
                exceeded(quota.sessions, Some(self.counted.len())).map(QuotaExceeded::Route)
            })
    }

    /// Adds a handshake; returns those that are displaced by it.
    fn add_pending(
        &mut self,
        number: u64,
        new: &Arc<Session>,
        quota: &SessionQuota,
    ) -> Vec<Arc<Session>> {
        self.pending.insert(number, Arc::clone(new));
        let mut displaced = Vec::new();
        for (key, limit) in pending_keys(new, quota) {
            let numbers = self.pending_by_client.entry(key).or_default();
            numbers.push(number);
            let most = limit.max(MIN_PENDING);
            if numbers.len() > most {
                let oldest = numbers.remove(0);
                displaced.extend(self.pending.get(&oldest).cloned());
            }
        }
        displaced
    }

    /// Removes a handshake that is no longer in flight.
    fn remove_pending(&mut self, number: u64) {
        let Some(session) = self.pending.remove(&number) else { return };
        if !self.pending_by_client.is_empty() {
            let identity = &session.identity;
            let user = identity.user.as_ref().map(|user| user.as_str().into());
            for user in [user, None] {
                let key = PendingKey { user, client: client_of(&session) };
                let Some(numbers) = self.pending_by_client.get_mut(&key) else { continue };
                numbers.retain(|&other| other != number);
                if numbers.is_empty() {
                    self.pending_by_client.remove(&key);
                }
            }
        }
    }

    /// The sessions that make room for a new one, or the limit that refuses it.
    fn make_room(
        &mut self,
        new: &Session,
        quota: &SessionQuota,
    ) -> Result<Vec<Arc<Session>>, QuotaExceeded> {
        let of_user = |live: &Self| {
            let user = new.identity.user.as_ref()?;
            let numbers = live.by_user.get(user.as_str());
            Some(numbers.map_or((0, None), |numbers| (numbers.len(), numbers.first().copied())))
        };
        let of_address = |live: &Self| Some(count(live.by_address.get(&client_of(new)?)));
        let of_route =
            |live: &Self| Some((live.counted.len(), live.counted.keys().next().copied()));
        type SelectorRule<'r> = (
            Option<usize>,
            &'r dyn Fn(&RegistryEntry) -> Option<(usize, Option<u64>)>,
            fn(usize) -> QuotaExceeded,
        );
        // The user's own sessions first: others stay if one of these is enough.
        let rules: [SelectorRule<'_>; 3] = [
            (quota.per_user, &of_user, QuotaExceeded::User),
            (quota.per_address, &of_address, QuotaExceeded::Address),
            (quota.sessions, &of_route, QuotaExceeded::Route),
        ];
        let mut evicted = Vec::new();
        for (limit, state, exceeded) in rules {
            let Some(limit) = limit else { continue };
            while let Some((count, oldest)) = state(self)
                && count >= limit
            {
                let oldest = oldest.filter(|_| quota.evicts_oldest && limit > 0);
                match oldest.and_then(|oldest| self.mark_leaving(oldest)) {
                    Some(session) => evicted.push(session),
                    None => {
                        // The sessions that were to make room stay.
                        return Err(exceeded(limit)).inspect_err(|_| self.restore(&evicted));
                    }
                }
            }
        }
        Ok(evicted)
    }

    fn add_counted(&mut self, number: u64, session: &Arc<Session>) {
        if let Some(user) = &session.identity.user {
            let numbers = self.by_user.entry(user.as_str().into()).or_default();
            let at = numbers.partition_point(|&earlier| earlier < number);
            numbers.insert(at, number);
        }
        if let Some(client) = client_of(session) {
            self.by_address.entry(client).or_default().insert(number);
        }
        self.counted.insert(number, Arc::clone(session));
    }

    /// Stops counting a session that is still open.
    fn mark_leaving(&mut self, number: u64) -> Option<Arc<Session>> {
        let session = self.remove_counted(number)?;
        self.leaving.insert(number, Arc::clone(&session));
        Some(session)
    }

    fn restore(&mut self, sessions: &[Arc<Session>]) {
        let numbers: Vec<u64> = self
            .leaving
            .iter()
            .filter(|(_, leaving)| sessions.iter().any(|session| Arc::ptr_eq(leaving, session)))
            .map(|(&number, _)| number)
            .collect();
        for number in numbers {
            if let Some(session) = self.leaving.remove(&number) {
                self.add_counted(number, &session);
            }
        }
    }

    fn remove_counted(&mut self, number: u64) -> Option<Arc<Session>> {
        let session = self.counted.remove(&number)?;
        if let Some(user) = &session.identity.user
            && let Some(numbers) = self.by_user.get_mut(user.as_str())
        {
            numbers.retain(|&other| other != number);
            if numbers.is_empty() {
                self.by_user.remove(user.as_str());
            }
        }
        if let Some(client) = client_of(&session)
            && let Some(numbers) = self.by_address.get_mut(&client)
        {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_address.remove(&client);
            }
        }
        Some(session)
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
            live.remove_counted(number).is_some() || live.leaving.remove(&number).is_some();
        drop(live);
        if !has_counted {
            return;
        }
        let Some(handshake) = self.session.handshake() else { return };
        let client_to_upstream = self.session.counts(Direction::ClientToUpstream);
        let upstream_to_client = self.session.counts(Direction::UpstreamToClient);
        let mut totals = lock(&self.route.totals);
        totals.opened += 1;
        let end = self.session.end();
        let initiator = end.map_or(Initiator::Network, |end| end.initiator);
        let code = end.and_then(|end| end.code).unwrap_or(0);
        *totals.closed.entry((initiator, code)).or_default() += 1;
        totals.client_to_upstream.add(&client_to_upstream);
        totals.upstream_to_client.add(&upstream_to_client);
        totals.errors += client_to_upstream.errors + upstream_to_client.errors;
        totals.handshakes = (totals.handshakes.0 + 1, totals.handshakes.1 + handshake);
        let lasted = self.session.started.elapsed().saturating_sub(handshake);
        totals.lifetimes = (totals.lifetimes.0 + 1, totals.lifetimes.1 + lasted);
    }
}

/// The address that limits count by: for IPv6, its /64 network.
fn client_of(session: &Session) -> Option<IpAddr> {
    session.identity.client.map(address::client)
}

/// The keys that a new handshake is counted under, and their limits on sessions.
fn pending_keys(new: &Session, quota: &SessionQuota) -> impl Iterator<Item = (PendingKey, usize)> {
    let (user, client) = (new.identity.user.as_ref(), client_of(new));
    let of_user = quota.per_user.zip(user).map(|(limit, user)| {
        let user = Some(user.as_str().into());
        (PendingKey { user, client }, limit)
    });
    let of_address = quota.per_address.filter(|_| client.is_some());
    let of_address = of_address.map(|limit| (PendingKey { user: None, client }, limit));
    of_user.into_iter().chain(of_address)
}

/// Their number, and the oldest.
fn count(numbers: Option<&BTreeSet<u64>>) -> (usize, Option<u64>) {
    numbers.map_or((0, None), |numbers| (numbers.len(), numbers.first().copied()))
}

/// Locks a mutex; its value is consistent even if a holder panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::session::Identity;
    use crate::websocket::settings::{LogFrames, OnChange};

    fn session(id: &str, user: &str, client: &str) -> Arc<Session> {
        let identity = Identity {
            id: id.into(),
            route: "ws".into(),
            fingerprint: 1,
            on_change: OnChange::Keep,
            user: UserId::new(user, UserIdOrigin::Query),
            client: client.parse().ok(),
            path: "/ws".into(),
            upstream: "notifications".into(),
        };
        Arc::new(Session::new(identity, LogFrames::Off))
    }

    impl Registry {
        /// A handshake that the upstream accepts at once.
        fn admit(
            &self,
            session: Arc<Session>,
            quota: &SessionQuota,
        ) -> Result<SessionPermit, QuotaExceeded> {
            let mut permit = self.register(session, quota)?;
            self.accept(&mut permit, quota)?;
            Ok(permit)
        }
    }

    fn evicting(quota: SessionQuota) -> SessionQuota {
        SessionQuota { evicts_oldest: true, ..quota }
    }

    #[test]
    fn session_limits_are_exact_under_concurrency_and_counters_reset() {
        let registry = Registry::default();
        let quota =
            SessionQuota { sessions: Some(50), per_user: Some(7), ..SessionQuota::default() };
        let permits: Vec<SessionPermit> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|thread| {
                    let registry = &registry;
                    scope.spawn(move || {
                        (0..40)
                            .filter_map(|index| {
                                let user = format!("user-{}", index % 10);
                                let id = format!("{thread}-{index}");
                                registry.admit(session(&id, &user, "192.0.2.1"), &quota).ok()
                            })
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("joined")).collect()
        });
        assert_eq!(permits.len(), 50);
        for user in 0..10 {
            let selector = SessionSelector {
                user: Some(format!("user-{user}")),
                ..SessionSelector::default()
            };
            assert!(registry.select(&selector).len() <= 7);
        }
        drop(permits);
        assert_eq!(registry.count(), 0);
        let routes = lock(&registry.routes);
        let live = lock(&routes.get("ws").expect("the route").live);
        assert!(live.by_user.is_empty() && live.by_address.is_empty() && live.leaving.is_empty());
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_client() {
        let registry = Registry::default();
        let quota = SessionQuota { per_address: Some(1), ..SessionQuota::default() };
        let admit = |client| registry.admit(session("id", "", client), &quota);
        let first = admit("2001:db8::1").expect("room");
        assert_eq!(admit("2001:db8::2").map(drop), Err(QuotaExceeded::Address(1)));
        admit("2001:db8:0:1::1").expect("another network");
        drop(first);
        admit("2001:db8::2").expect("room again");
    }

    #[test]
    fn oldest_session_is_closed_where_the_route_evicts() {
        let registry = Registry::default();
        let quota = evicting(SessionQuota { per_user: Some(2), ..SessionQuota::default() });
        let sessions = ["a", "b", "c"].map(|id| session(id, "user-1", "192.0.2.1"));
        let _tickets = sessions.clone().map(|session| registry.admit(session, &quota));
        let requested = sessions.map(|session| session.close_request().map(|request| request.code));
        assert_eq!(requested, [Some(Some(1008)), None, None]);
        assert_eq!(registry.count(), 3, "it is still there until it has closed");
    }

    #[test]
    fn refused_session_evicts_nobody() {
        let registry = Registry::default();
        let none = SessionQuota::default();
        let old = session("old", "user-1", "192.0.2.1");
        let _old = registry.admit(Arc::clone(&old), &none).expect("room");
        let quota = evicting(SessionQuota {
            per_user: Some(1),
            per_address: Some(0),
            ..SessionQuota::default()
        });
        let refused = registry.admit(session("new", "user-1", "192.0.2.1"), &quota);
        assert_eq!(refused.map(drop), Err(QuotaExceeded::Address(0)));
        assert_eq!(old.close_request(), None);
        let quota = SessionQuota { per_user: Some(1), ..SessionQuota::default() };
        let refused = registry.admit(session("new", "user-1", "192.0.2.1"), &quota);
        assert_eq!(refused.map(drop), Err(QuotaExceeded::User(1)), "the old one is counted again");
    }

    #[test]
    fn handshake_evicts_only_after_the_upstream_accepts() {
        let registry = Registry::default();
        let quota = evicting(SessionQuota { per_user: Some(1), ..SessionQuota::default() });
        let old = session("old", "user-1", "192.0.2.1");
        let _old = registry.admit(Arc::clone(&old), &quota).expect("room");
        let refused = registry.register(session("stranger", "user-1", "192.0.2.9"), &quota);
        drop(refused.expect("in flight"));
        assert_eq!(old.close_request(), None, "its upstream has not accepted it");
        let quota = SessionQuota { per_user: Some(2), ..SessionQuota::default() };
        let _strangers = ["a", "b", "c"].map(|id| {
            registry.register(session(id, "user-1", "192.0.2.9"), &quota).expect("begun")
        });
        registry.admit(session("new", "user-1", "192.0.2.1"), &quota).expect("room");
    }

    #[test]
    fn excess_handshakes_displace_the_oldest_of_the_same_address() {
        let registry = Registry::default();
        let quota = SessionQuota { per_user: Some(2), ..SessionQuota::default() };
        let own = session("own", "user-1", "192.0.2.1");
        let _own = registry.register(Arc::clone(&own), &quota).expect("begun");
        let strangers = ["a", "b", "c", "d", "e"].map(|id| session(id, "user-1", "192.0.2.9"));
        let permits =
            strangers.clone().map(|it| registry.register(it, &quota).expect("one always begins"));
        let displaced = strangers.map(|session| session.close_request().is_some());
        assert_eq!(displaced, [true, false, false, false, false]);
        assert_eq!(own.close_request(), None);
        drop(permits);
        drop(_own);
        let routes = lock(&registry.routes);
        let live = lock(&routes.get("ws").expect("the route").live);
        assert!(live.pending.is_empty() && live.pending_by_client.is_empty());
    }

    #[test]
    fn sessions_are_found_by_user_route_and_id() {
        let registry = Registry::default();
        let quota = SessionQuota::default();
        let _tickets = [("a", "user-1"), ("b", "user-1"), ("c", "user-2")]
            .map(|(id, user)| registry.admit(session(id, user, "192.0.2.1"), &quota));
        let count = |user: Option<&str>, id: Option<&str>, route: Option<&str>| {
            let [user, id, route] = [user, id, route].map(|text| text.map(str::to_owned));
            registry.select(&SessionSelector { id, user, route }).len()
        };
        assert_eq!(count(None, None, None), 3);
        assert_eq!(count(Some("user-1"), None, None), 2);
        assert_eq!(count(Some("user-1"), Some("b"), Some("ws")), 1);
        assert_eq!(count(Some("user-2"), Some("b"), None), 0);
        let long = "k".repeat(299);
        let _long = registry.admit(session("d", &format!("{long}A"), "192.0.2.1"), &quota);
        assert_eq!(count(Some(&format!("{long}A")), None, None), 1);
        assert_eq!(count(Some(&format!("{long}B")), None, None), 0);
        assert_eq!(count(None, None, Some("other")), 0);
    }
}
