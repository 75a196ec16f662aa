use super::session::{End, Order, Session};
use super::settings::Quota;
use crate::exchange::Initiator;
use crate::exchange::{UserId, UserIdOrigin};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tidegate_http::address;

/// All live sessions, from their handshake on.
///
/// Sessions of one route share a lock, taken when one comes and when one goes; what they carry
/// takes none.
#[derive(Debug, Default)]
pub struct Registry {
    routes: Mutex<BTreeMap<Arc<str>, Arc<Route>>>,
    numbers: AtomicU64,
    draining: AtomicBool,
}

/// The sessions of one route, by its name; they outlive reloads.
#[derive(Debug, Default)]
struct Route {
    live: Mutex<Live>,
    tallies: Mutex<Totals>,
}

/// What has been since the gateway started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Handshakes that became sessions.
    pub opened: u64,
    /// Sessions that ended, by who ended them and with which close code (0 for none).
    pub closed: BTreeMap<(Initiator, u16), u64>,
    /// Handshakes that were refused for a limit.
    pub refused: u64,
    /// Frames from clients of sessions that have ended.
    pub frames_received: u64,
    /// Frames to clients of sessions that have ended.
    pub frames_sent: u64,
    /// Bytes from clients of sessions that have ended.
    pub bytes_received: u64,
    /// Bytes to clients of sessions that have ended.
    pub bytes_sent: u64,
    /// Protocol errors in sessions that have ended.
    pub errors: u64,
    /// Handshakes, and how long they took together.
    pub handshakes: (u64, Duration),
    /// Sessions that ended, and how long they lasted together.
    pub lifetimes: (u64, Duration),
}

#[derive(Debug, Default)]
struct Live {
    /// Handshakes that no upstream has accepted yet: they count for no limit of sessions.
    pending: BTreeMap<u64, Arc<Session>>,
    /// Those of one user from one address, or of one address, in order; only where that is limited.
    pending_of: HashMap<Claim, Vec<u64>>,
    /// By number, so the first is the oldest.
    counted: BTreeMap<u64, Arc<Session>>,
    /// Those that make room: on their way out, and counted no more.
    leaving: BTreeMap<u64, Arc<Session>>,
    /// In order, as the numbers themselves are: a user has few.
    by_user: HashMap<Box<str>, Vec<u64>>,
    by_address: HashMap<IpAddr, BTreeSet<u64>>,
}

/// Whose handshakes are bounded together. A user id is what a client says, and so is never a key
/// without the client's address: what a stranger says must not keep the user out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Claim {
    user: Option<Box<str>>,
    client: Option<IpAddr>,
}

/// How many handshakes there may be at least for one [`Claim`], however low the limit of sessions.
const LEAST_PENDING: usize = 4;

/// Why there is no room for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// `max_sessions`.
    Route(usize),
    /// `max_sessions_per_user`.
    User(usize),
    /// `max_sessions_per_address`.
    Address(usize),
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(limit) => write!(f, "the route has {limit} sessions, its `max_sessions`"),
            Self::User(limit) => {
                write!(f, "the user has {limit} sessions, the route's `max_sessions_per_user`")
            }
            Self::Address(limit) => {
                write!(f, "the client has {limit} sessions, the route's `max_sessions_per_address`")
            }
        }
    }
}

/// Keeps a session in the registry, from its handshake on; it leaves with the ticket.
#[derive(Debug)]
pub struct Ticket {
    route: Arc<Route>,
    number: u64,
    session: Arc<Session>,
}

/// Which sessions are meant; all that is given must hold.
#[derive(Debug, Clone, Default)]
pub struct Selector {
    /// The id of a session.
    pub id: Option<String>,
    /// A user id.
    pub user: Option<String>,
    /// The name of a route.
    pub route: Option<String>,
}

impl Selector {
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
    /// Takes a handshake in, unless it can't become a session: it counts for no limit until the
    /// upstream has accepted it ([`Registry::accept`]).
    ///
    /// Of the handshakes in flight of one user or address there are no more than sessions may be (at
    /// least four); beyond them the oldest is refused.
    pub fn begin(&self, session: Arc<Session>, quota: &Quota) -> Result<Ticket, Full> {
        let route = self.route(&session.identity.route);
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let mut live = lock(&route.live);
        if let Some(full) = live.is_full(&session, quota) {
            lock(&route.tallies).refused += 1;
            return Err(full);
        }
        let displaced = live.pend(number, &session, quota);
        drop(live);
        for session in displaced {
            let reason = "too many handshakes in flight; a newer one takes the place of this one";
            session.order(End::new(Initiator::Limit, 1008, reason));
        }
        Ok(Ticket { route, number, session })
    }

    /// The upstream has accepted a handshake: it counts from now on, if there is room, and the oldest
    /// makes room where the route says so. Exact, however many come concurrently.
    pub fn accept(&self, ticket: &mut Ticket, quota: &Quota) -> Result<(), Full> {
        let Ticket { route, number, session } = ticket;
        let mut live = lock(&route.live);
        live.unpend(*number);
        let evicted = match live.make_room(session, quota) {
            Ok(evicted) => evicted,
            Err(full) => {
                lock(&route.tallies).refused += 1;
                return Err(full);
            }
        };
        *number = self.numbers.fetch_add(1, Ordering::Relaxed);
        live.add(*number, session);
        drop(live);
        for session in evicted {
            session.order(End::replaced());
        }
        Ok(())
    }

    fn route(&self, name: &Arc<str>) -> Arc<Route> {
        Arc::clone(lock(&self.routes).entry(Arc::clone(name)).or_default())
    }

    /// A handshake on this route was refused for a limit that is not the registry's own.
    pub fn refused(&self, route: &Arc<str>) {
        lock(&self.route(route).tallies).refused += 1;
    }

    /// The sessions that are meant, oldest first within their route.
    pub fn select(&self, selector: &Selector) -> Vec<Arc<Session>> {
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

    /// How many sessions there are.
    pub fn count(&self) -> usize {
        self.snapshot().iter().map(|(_, route)| lock(&route.live).len()).sum()
    }

    /// Routes with the sessions that they have now and what has been.
    pub fn routes(&self) -> Vec<(Arc<str>, usize, Totals)> {
        let routes = self.snapshot().into_iter();
        routes
            .map(|(name, route)| (name, lock(&route.live).len(), lock(&route.tallies).clone()))
            .collect()
    }

    /// Tells all these sessions to close.
    pub fn close(&self, selector: &Selector, order: &Order) -> usize {
        let sessions = self.select(selector);
        for session in &sessions {
            session.order(order.clone());
        }
        sessions.len()
    }

    /// Whether new sessions are refused, for the gateway drains.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Begins, or ends, the time in which new sessions are refused.
    pub fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
    }

    fn snapshot(&self) -> Vec<(Arc<str>, Arc<Route>)> {
        let routes = lock(&self.routes);
        routes.iter().map(|(name, route)| (Arc::clone(name), Arc::clone(route))).collect()
    }
}

impl Live {
    fn len(&self) -> usize {
        self.counted.len() + self.leaving.len() + self.pending.len()
    }

    /// Why a handshake can't become a session, whatever the upstream says.
    fn is_full(&self, new: &Session, quota: &Quota) -> Option<Full> {
        let identity = &new.identity;
        let of_user = identity.user.as_ref().map(|user| self.by_user.get(user.as_str()));
        let of_user = of_user.map(|numbers| numbers.map_or(0, Vec::len));
        let of_address = client_of(new).map(|client| self.by_address.get(&client));
        let of_address = of_address.map(|numbers| numbers.map_or(0, BTreeSet::len));
        let exceeded = |limit: Option<usize>, count: Option<usize>| {
            let (limit, count) = (limit?, count?);
            let is_full = count >= limit && (limit == 0 || !quota.evicts_oldest);
            is_full.then_some(limit)
        };
        exceeded(quota.per_user, of_user)
            .map(Full::User)
            .or_else(|| exceeded(quota.per_address, of_address).map(Full::Address))
            .or_else(|| exceeded(quota.sessions, Some(self.counted.len())).map(Full::Route))
    }

    /// Adds a handshake; returns those that are too many now.
    fn pend(&mut self, number: u64, new: &Arc<Session>, quota: &Quota) -> Vec<Arc<Session>> {
        self.pending.insert(number, Arc::clone(new));
        let mut displaced = Vec::new();
        for (claim, limit) in claims(new, quota) {
            let numbers = self.pending_of.entry(claim).or_default();
            numbers.push(number);
            let most = limit.max(LEAST_PENDING);
            if numbers.len() > most {
                let oldest = numbers.remove(0);
                displaced.extend(self.pending.get(&oldest).cloned());
            }
        }
        displaced
    }

    /// A handshake is in flight no more.
    fn unpend(&mut self, number: u64) {
        let Some(session) = self.pending.remove(&number) else { return };
        if !self.pending_of.is_empty() {
            let identity = &session.identity;
            let user = identity.user.as_ref().map(|user| user.as_str().into());
            for user in [user, None] {
                let claim = Claim { user, client: client_of(&session) };
                let Some(numbers) = self.pending_of.get_mut(&claim) else { continue };
                numbers.retain(|&other| other != number);
                if numbers.is_empty() {
                    self.pending_of.remove(&claim);
                }
            }
        }
    }

    /// The sessions that have to go, or why the new one can't come.
    fn make_room(&mut self, new: &Session, quota: &Quota) -> Result<Vec<Arc<Session>>, Full> {
        let of_user = |live: &Self| {
            let user = new.identity.user.as_ref()?;
            let numbers = live.by_user.get(user.as_str());
            Some(numbers.map_or((0, None), |numbers| (numbers.len(), numbers.first().copied())))
        };
        let of_address = |live: &Self| Some(count(live.by_address.get(&client_of(new)?)));
        let of_route =
            |live: &Self| Some((live.counted.len(), live.counted.keys().next().copied()));
        type Rule<'r> =
            (Option<usize>, &'r dyn Fn(&Live) -> Option<(usize, Option<u64>)>, fn(usize) -> Full);
        // A user's own sessions first: nobody else has to go when one of theirs will do.
        let rules: [Rule<'_>; 3] = [
            (quota.per_user, &of_user, Full::User),
            (quota.per_address, &of_address, Full::Address),
            (quota.sessions, &of_route, Full::Route),
        ];
        let mut evicted = Vec::new();
        for (limit, state, full) in rules {
            let Some(limit) = limit else { continue };
            while let Some((count, oldest)) = state(self)
                && count >= limit
            {
                let oldest = oldest.filter(|_| quota.evicts_oldest && limit > 0);
                match oldest.and_then(|oldest| self.leave(oldest)) {
                    Some(session) => evicted.push(session),
                    None => {
                        // Whoever was to make room may stay after all.
                        return Err(full(limit)).inspect_err(|_| self.come_back(&evicted));
                    }
                }
            }
        }
        Ok(evicted)
    }

    fn add(&mut self, number: u64, session: &Arc<Session>) {
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

    /// Counts a session no more, though it is still there.
    fn leave(&mut self, number: u64) -> Option<Arc<Session>> {
        let session = self.uncount(number)?;
        self.leaving.insert(number, Arc::clone(&session));
        Some(session)
    }

    fn come_back(&mut self, sessions: &[Arc<Session>]) {
        let numbers: Vec<u64> = self
            .leaving
            .iter()
            .filter(|(_, leaving)| sessions.iter().any(|session| Arc::ptr_eq(leaving, session)))
            .map(|(&number, _)| number)
            .collect();
        for number in numbers {
            if let Some(session) = self.leaving.remove(&number) {
                self.add(number, &session);
            }
        }
    }

    fn uncount(&mut self, number: u64) -> Option<Arc<Session>> {
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

impl Ticket {
    /// The session.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut live = lock(&self.route.live);
        let number = self.number;
        live.unpend(number);
        let has_counted = live.uncount(number).is_some() || live.leaving.remove(&number).is_some();
        drop(live);
        if !has_counted {
            return;
        }
        let Some(handshake) = self.session.handshake() else { return };
        let (received, sent) = (self.session.received(), self.session.sent());
        let mut totals = lock(&self.route.tallies);
        totals.opened += 1;
        let end = self.session.end();
        let initiator = end.map_or(Initiator::Network, |end| end.initiator);
        let code = end.and_then(|end| end.code).unwrap_or(0);
        *totals.closed.entry((initiator, code)).or_default() += 1;
        totals.frames_received += received.frames();
        totals.frames_sent += sent.frames();
        totals.bytes_received += received.bytes;
        totals.bytes_sent += sent.bytes;
        totals.errors += received.errors + sent.errors;
        totals.handshakes = (totals.handshakes.0 + 1, totals.handshakes.1 + handshake);
        let lasted = self.session.started.elapsed().saturating_sub(handshake);
        totals.lifetimes = (totals.lifetimes.0 + 1, totals.lifetimes.1 + lasted);
    }
}

/// The client among whose sessions one counts: of IPv6, its /64 network.
fn client_of(session: &Session) -> Option<IpAddr> {
    session.identity.client.map(address::client)
}

/// Whose handshakes a new one is counted among, and how many sessions they may have.
fn claims(new: &Session, quota: &Quota) -> impl Iterator<Item = (Claim, usize)> {
    let (user, client) = (new.identity.user.as_ref(), client_of(new));
    let of_user = quota.per_user.zip(user).map(|(limit, user)| {
        let user = Some(user.as_str().into());
        (Claim { user, client }, limit)
    });
    let of_address = quota.per_address.filter(|_| client.is_some());
    let of_address = of_address.map(|limit| (Claim { user: None, client }, limit));
    of_user.into_iter().chain(of_address)
}

/// How many there are, and the oldest.
fn count(numbers: Option<&BTreeSet<u64>>) -> (usize, Option<u64>) {
    numbers.map_or((0, None), |numbers| (numbers.len(), numbers.first().copied()))
}

/// What a lock protects here is whole between any two statements.
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
        fn admit(&self, session: Arc<Session>, quota: &Quota) -> Result<Ticket, Full> {
            let mut ticket = self.begin(session, quota)?;
            self.accept(&mut ticket, quota)?;
            Ok(ticket)
        }
    }

    fn evicting(quota: Quota) -> Quota {
        Quota { evicts_oldest: true, ..quota }
    }

    #[test]
    fn session_limits_are_exact_under_concurrency_and_counters_reset() {
        let registry = Registry::default();
        let quota = Quota { sessions: Some(50), per_user: Some(7), ..Quota::default() };
        let tickets: Vec<Ticket> = std::thread::scope(|scope| {
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
        assert_eq!(tickets.len(), 50);
        for user in 0..10 {
            let selector = Selector { user: Some(format!("user-{user}")), ..Selector::default() };
            assert!(registry.select(&selector).len() <= 7);
        }
        drop(tickets);
        assert_eq!(registry.count(), 0);
        let routes = lock(&registry.routes);
        let live = lock(&routes.get("ws").expect("the route").live);
        assert!(live.by_user.is_empty() && live.by_address.is_empty() && live.leaving.is_empty());
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_client() {
        let registry = Registry::default();
        let quota = Quota { per_address: Some(1), ..Quota::default() };
        let admit = |client| registry.admit(session("id", "", client), &quota);
        let first = admit("2001:db8::1").expect("room");
        assert_eq!(admit("2001:db8::2").map(drop), Err(Full::Address(1)));
        admit("2001:db8:0:1::1").expect("another network");
        drop(first);
        admit("2001:db8::2").expect("room again");
    }

    #[test]
    fn oldest_session_is_closed_where_the_route_evicts() {
        let registry = Registry::default();
        let quota = evicting(Quota { per_user: Some(2), ..Quota::default() });
        let sessions = ["a", "b", "c"].map(|id| session(id, "user-1", "192.0.2.1"));
        let _tickets = sessions.clone().map(|session| registry.admit(session, &quota));
        let ordered = sessions.map(|session| session.ordered().map(|order| order.code));
        assert_eq!(ordered, [Some(Some(1008)), None, None]);
        assert_eq!(registry.count(), 3, "it is still there until it has closed");
    }

    #[test]
    fn refused_session_evicts_nobody() {
        let registry = Registry::default();
        let none = Quota::default();
        let old = session("old", "user-1", "192.0.2.1");
        let _old = registry.admit(Arc::clone(&old), &none).expect("room");
        let quota = evicting(Quota { per_user: Some(1), per_address: Some(0), ..Quota::default() });
        let refused = registry.admit(session("new", "user-1", "192.0.2.1"), &quota);
        assert_eq!(refused.map(drop), Err(Full::Address(0)));
        assert_eq!(old.ordered(), None);
        let quota = Quota { per_user: Some(1), ..Quota::default() };
        let refused = registry.admit(session("new", "user-1", "192.0.2.1"), &quota);
        assert_eq!(refused.map(drop), Err(Full::User(1)), "the old one is counted again");
    }

    #[test]
    fn handshake_evicts_only_after_the_upstream_accepts() {
        let registry = Registry::default();
        let quota = evicting(Quota { per_user: Some(1), ..Quota::default() });
        let old = session("old", "user-1", "192.0.2.1");
        let _old = registry.admit(Arc::clone(&old), &quota).expect("room");
        let refused = registry.begin(session("stranger", "user-1", "192.0.2.9"), &quota);
        drop(refused.expect("in flight"));
        assert_eq!(old.ordered(), None, "its upstream has not accepted it");
        let quota = Quota { per_user: Some(2), ..Quota::default() };
        let _strangers = ["a", "b", "c"]
            .map(|id| registry.begin(session(id, "user-1", "192.0.2.9"), &quota).expect("begun"));
        registry.admit(session("new", "user-1", "192.0.2.1"), &quota).expect("room");
    }

    #[test]
    fn excess_handshakes_displace_the_oldest_of_the_same_address() {
        let registry = Registry::default();
        let quota = Quota { per_user: Some(2), ..Quota::default() };
        let own = session("own", "user-1", "192.0.2.1");
        let _own = registry.begin(Arc::clone(&own), &quota).expect("begun");
        let strangers = ["a", "b", "c", "d", "e"].map(|id| session(id, "user-1", "192.0.2.9"));
        let tickets =
            strangers.clone().map(|it| registry.begin(it, &quota).expect("one always begins"));
        let displaced = strangers.map(|session| session.ordered().is_some());
        assert_eq!(displaced, [true, false, false, false, false]);
        assert_eq!(own.ordered(), None);
        drop(tickets);
        drop(_own);
        let routes = lock(&registry.routes);
        let live = lock(&routes.get("ws").expect("the route").live);
        assert!(live.pending.is_empty() && live.pending_of.is_empty());
    }

    #[test]
    fn sessions_are_found_by_user_route_and_id() {
        let registry = Registry::default();
        let quota = Quota::default();
        let _tickets = [("a", "user-1"), ("b", "user-1"), ("c", "user-2")]
            .map(|(id, user)| registry.admit(session(id, user, "192.0.2.1"), &quota));
        let count = |user: Option<&str>, id: Option<&str>, route: Option<&str>| {
            let [user, id, route] = [user, id, route].map(|text| text.map(str::to_owned));
            registry.select(&Selector { id, user, route }).len()
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
