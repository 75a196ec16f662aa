//! Logins that were revoked before they expired: a bounded list, remembered until their tokens have expired. Knows
//! nothing of sessions and of other gateways; these read what it has.

mod logout_token;
mod sharing;

use logout_token::LogoutTokens;

use super::Scheme;
use crate::identity::VerifiedIdentity;
use ring::digest::{Context, SHA256};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tidegate_config::defaults;
use tokio::sync::Notify;

/// Maximum number of revocations that are remembered; beyond it, those that end first are forgotten. Only issuers and
/// operators add any.
const MAX_REVOCATIONS: usize = 100_000;

/// For how long a scheme may admit a credential that has expired, in seconds: longer than the maximum of `leeway`.
const EXPIRY_MARGIN: u64 = 10 * 60;

/// Who or what is revoked, each at its issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RevokedLogin<'l> {
    /// A login session: the claim `sid` (OpenID Connect Front-Channel Logout 1.0, section 3).
    Session { issuer: &'l str, id: &'l str },
    /// A user: the claim `sub`.
    Subject { issuer: &'l str, id: &'l str },
    /// A token: the claim `jti`.
    Token { issuer: &'l str, id: &'l str },
    /// A user, by the user id of the gateway (`identity.user_id`), whatever scheme verifies it.
    User { id: &'l str },
}

/// A part of the hash of what is revoked: it takes the same space for each, and tells nobody who logged out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RevocationKey(pub(crate) [u8; 16]);

/// A revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Revocation {
    /// What is revoked.
    pub(crate) key: RevocationKey,
    /// Tokens that were issued until this time are refused, in seconds since 1970; `None` for all tokens.
    pub(crate) issued_until: Option<u64>,
    /// When it is forgotten, in seconds since 1970.
    pub(crate) until: u64,
}

/// The revoked logins, as one gateway knows them.
#[derive(Debug)]
pub(crate) struct Revocations {
    /// Their number: a request reads nothing else while there are none.
    count: AtomicUsize,
    /// For how long they are remembered, in seconds.
    remember: AtomicU64,
    list: Mutex<List>,
    /// The logout tokens of late. They are here because the revocations outlive reloads.
    logout_tokens: LogoutTokens,
    /// Wakes the task that tells other gateways.
    pub(crate) added: Notify,
}

#[derive(Debug, Default)]
struct List {
    entries: HashMap<RevocationKey, Revocation>,
    by_end: BTreeSet<(u64, RevocationKey)>,
    /// Those that other gateways have not been told of.
    untold: Vec<Revocation>,
}

impl RevokedLogin<'_> {
    /// What it is remembered by.
    pub(crate) fn key(self) -> RevocationKey {
        let (kind, issuer, id) = match self {
            Self::Session { issuer, id } => (b"sid", issuer, id),
            Self::Subject { issuer, id } => (b"sub", issuer, id),
            Self::Token { issuer, id } => (b"jti", issuer, id),
            Self::User { id } => (b"uid", "", id),
        };
        let mut context = Context::new(&SHA256);
        context.update(kind);
        context.update(&(issuer.len() as u64).to_be_bytes());
        context.update(issuer.as_bytes());
        context.update(id.as_bytes());
        let mut key = [0; 16];
        key.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        RevocationKey(key)
    }

    /// Whether tokens that are issued later are accepted again: a user may log in anew.
    fn depends_on_time(self) -> bool {
        matches!(self, Self::Subject { .. } | Self::User { .. })
    }
}

impl Default for Revocations {
    fn default() -> Self {
        Self {
            count: AtomicUsize::new(0),
            remember: AtomicU64::new(defaults::revocation::REMEMBER.0.as_secs()),
            list: Mutex::default(),
            logout_tokens: LogoutTokens::default(),
            added: Notify::new(),
        }
    }
}

impl Revocations {
    /// Sets for how long later revocations are remembered.
    pub(crate) fn set_remember(&self, time: Duration) {
        self.remember.store(time.as_secs().max(1), Ordering::Relaxed);
    }

    /// Revokes a login as of this time, for all gateways.
    pub(crate) fn revoke(&self, login: RevokedLogin<'_>, at: SystemTime) {
        let now = seconds(SystemTime::now());
        let revocation = Revocation {
            key: login.key(),
            issued_until: login.depends_on_time().then(|| seconds(at)),
            until: now.saturating_add(self.remember.load(Ordering::Relaxed)),
        };
        let mut list = self.lock();
        list.add(revocation, now);
        list.tell(revocation);
        self.count.store(list.entries.len(), Ordering::Release);
        drop(list);
        self.added.notify_one();
    }

    /// Revokes the login that a logout token of an issuer names, if one of these schemes trusts that issuer. Otherwise
    /// returns why not: a sentence without any part of the token.
    pub(crate) fn accept_logout(
        &self,
        token: &str,
        schemes: &[Arc<dyn Scheme>],
    ) -> Result<(), &'static str> {
        self.logout_tokens.accept(token, schemes, self)
    }

    /// Whether this identity is refused. `user` is its user id. What refuses it is remembered until it has expired.
    pub(crate) fn refuse(&self, identity: &VerifiedIdentity, user: Option<&str>) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let claims = identity.claims();
        let text = |name: &str| claims.get(name).and_then(|value| value.as_str());
        let issuer = text("iss").unwrap_or_default();
        let issued_at = claims.get("iat").and_then(|value| value.as_f64());
        let logins = [
            text("sid").map(|id| RevokedLogin::Session { issuer, id }),
            text("sub").map(|id| RevokedLogin::Subject { issuer, id }),
            text("jti").map(|id| RevokedLogin::Token { issuer, id }),
            user.map(|id| RevokedLogin::User { id }),
        ];
        let keys = logins.map(|login| login.map(RevokedLogin::key));
        let now = seconds(SystemTime::now());
        let mut list = self.lock();
        let found = keys.iter().flatten().filter_map(|key| list.entries.get(key));
        let refusing = found.filter(|revocation| {
            let is_issued_later = revocation
                .issued_until
                .zip(issued_at)
                // A token without `iat` may be older.
                .is_some_and(|(until, issued_at)| issued_at > until as f64);
            revocation.until > now && !is_issued_later
        });
        let Some(revocation) = refusing.max_by_key(|it| it.until).copied() else { return false };
        let expires = identity.expires_at().map(|at| seconds(at).saturating_add(EXPIRY_MARGIN));
        if let Some(until) = expires.filter(|until| *until > revocation.until) {
            let revocation = Revocation { until, ..revocation };
            list.add(revocation, now);
            list.tell(revocation);
            drop(list);
            self.added.notify_one();
        }
        true
    }

    /// Locks the list; its state is consistent between any two statements.
    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List {
    /// Lets the other gateways know of a revocation, unless too many wait for that already.
    fn tell(&mut self, revocation: Revocation) {
        if self.untold.len() < MAX_REVOCATIONS {
            self.untold.push(revocation);
        }
    }

    /// Adds a revocation, and forgets those that are over or too many. Returns whether it changes anything.
    fn add(&mut self, revocation: Revocation, now: u64) -> bool {
        while let Some(&(until, key)) = self.by_end.first()
            && (until <= now || self.entries.len() >= MAX_REVOCATIONS)
        {
            self.by_end.remove(&(until, key));
            self.entries.remove(&key);
        }
        if revocation.until <= now {
            return false;
        }
        let before = self.entries.get(&revocation.key).copied();
        let merged = match before {
            None => revocation,
            Some(before) => Revocation {
                key: revocation.key,
                issued_until: before.issued_until.max(revocation.issued_until),
                until: before.until.max(revocation.until),
            },
        };
        if before == Some(merged) {
            return false;
        }
        if let Some(before) = before {
            self.by_end.remove(&(before.until, before.key));
        }
        self.by_end.insert((merged.until, merged.key));
        self.entries.insert(merged.key, merged);
        true
    }
}

/// Seconds since 1970.
fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests;
