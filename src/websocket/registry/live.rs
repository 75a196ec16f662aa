//! The sessions of one route, by number, user and address, and the limits on their number. Takes no lock and closes
//! no session: it names the sessions that must make room.

use super::super::login::{RenewalId, RenewalKey};
use super::super::session::Session;
use super::super::settings::SessionQuota;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use tidegate_http::address;

/// The live sessions of one route, indexed for its limits.
#[derive(Debug, Default)]
pub(super) struct RegistryEntry {
    /// Handshakes that no upstream has accepted yet: no limit on sessions counts them.
    pub(super) pending: BTreeMap<u64, Arc<Session>>,
    /// Their numbers by user and address, or by address, in order; only where that is limited.
    pending_by_client: HashMap<PendingKey, Vec<u64>>,
    /// Open sessions by number: the first is the oldest.
    pub(super) counted: BTreeMap<u64, Arc<Session>>,
    /// Sessions that make room for others: they are closing, and no limit counts them.
    pub(super) displaced: BTreeMap<u64, Arc<Session>>,
    /// Numbers of the open sessions of a user, in order; a user has few.
    by_user: HashMap<Box<str>, Vec<u64>>,
    by_address: HashMap<IpAddr, BTreeSet<u64>>,
    /// Numbers of the open sessions whose login can be renewed.
    by_renewal: HashMap<RenewalKey, u64>,
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

impl RegistryEntry {
    /// Whether no user and no address has an entry left.
    #[cfg(test)]
    pub(super) fn has_empty_indexes(&self) -> bool {
        self.by_user.is_empty()
            && self.by_address.is_empty()
            && self.pending_by_client.is_empty()
            && self.by_renewal.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.counted.len() + self.displaced.len() + self.pending.len()
    }

    /// The limit for which a handshake cannot become a session, whatever the upstream answers.
    pub(super) fn exceeded_limit(
        &self,
        new: &Session,
        quota: &SessionQuota,
    ) -> Option<QuotaExceeded> {
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
    pub(super) fn add_pending(
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
            let max_pending = limit.max(MIN_PENDING);
            if numbers.len() > max_pending {
                let oldest = numbers.remove(0);
                displaced.extend(self.pending.get(&oldest).cloned());
            }
        }
        displaced
    }

    /// Removes a handshake that is no longer in flight.
    pub(super) fn remove_pending(&mut self, number: u64) {
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
    pub(super) fn make_room(
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

    pub(super) fn add_counted(&mut self, number: u64, session: &Arc<Session>) {
        if let Some(user) = &session.identity.user {
            let numbers = self.by_user.entry(user.as_str().into()).or_default();
            let at = numbers.partition_point(|&earlier| earlier < number);
            numbers.insert(at, number);
        }
        if let Some(client) = client_of(session) {
            self.by_address.entry(client).or_default().insert(number);
        }
        if let Some(key) = renewal_key(session) {
            self.by_renewal.insert(key, number);
        }
        self.counted.insert(number, Arc::clone(session));
    }

    /// The open session that this id renews.
    pub(super) fn find_renewable(&self, id: RenewalId) -> Option<&Arc<Session>> {
        let session = self.counted.get(self.by_renewal.get(&id.key())?)?;
        let is_closing = session.close_request().is_some() || session.end().is_some();
        (session.login()?.is_renewed_by(id) && !is_closing).then_some(session)
    }

    /// Stops counting a session that is still open.
    fn mark_leaving(&mut self, number: u64) -> Option<Arc<Session>> {
        let session = self.remove_counted(number)?;
        self.displaced.insert(number, Arc::clone(&session));
        Some(session)
    }

    fn restore(&mut self, sessions: &[Arc<Session>]) {
        let numbers: Vec<u64> = self
            .displaced
            .iter()
            .filter(|(_, leaving)| sessions.iter().any(|session| Arc::ptr_eq(leaving, session)))
            .map(|(&number, _)| number)
            .collect();
        for number in numbers {
            if let Some(session) = self.displaced.remove(&number) {
                self.add_counted(number, &session);
            }
        }
    }

    pub(super) fn remove_counted(&mut self, number: u64) -> Option<Arc<Session>> {
        let session = self.counted.remove(&number)?;
        if let Some(user) = &session.identity.user
            && let Some(numbers) = self.by_user.get_mut(user.as_str())
        {
            numbers.retain(|&other| other != number);
            if numbers.is_empty() {
                self.by_user.remove(user.as_str());
            }
        }
        if let Some(key) = renewal_key(&session) {
            self.by_renewal.remove(&key);
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

fn renewal_key(session: &Session) -> Option<RenewalKey> {
    Some(session.login()?.renewal_id()?.key())
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
