//! The login that a session lives by: the verified identity, its expiry on the wall clock, and the id for its renewal.
//! Closes nothing itself; the session and its tunnel do.

use super::end::End;
use super::settings::{Renewal, Warning, WebSocketSettings};
use crate::authentication::HandshakeTarget;
use crate::exchange::Initiator;
use crate::identity::VerifiedIdentity;
use arc_swap::ArcSwap;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use subtle::ConstantTimeEq;

/// Maximum time between two looks at the wall clock for the expiry of a session. The expiry is a time of the wall clock,
/// timers run on the monotonic one: after a step of the wall clock, a session ends at most so much too late, and never
/// too early.
pub(super) const WALL_CLOCK_INTERVAL: Duration = Duration::from_secs(30);

/// The cookie that has the id of a session for its renewal.
pub(crate) const RENEWAL_COOKIE: &str = "tidegate_session";

/// The login of a session, for its whole life.
pub(crate) struct SessionLogin {
    identity: ArcSwap<VerifiedIdentity>,
    settings: Arc<WebSocketSettings>,
    renewal_id: Option<RenewalId>,
    /// The place of its handshake, where its renewal needs that.
    target: Option<Box<HandshakeTarget>>,
    /// Whether the client has been warned of the current expiry.
    is_warned: AtomicBool,
}

/// The id of a session for its renewal, which nobody but its client has: 128 random bits. It is never logged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct RenewalId([u8; 16]);

/// What a registry finds a session by: a part of the hash of its id, so that the time of a search tells nothing of the
/// ids.
pub(super) type RenewalKey = [u8; 16];

impl RenewalId {
    fn generate() -> Option<Self> {
        let mut bytes = [0; 16];
        SystemRandom::new().fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// The id in this text, if it has the form of one.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// The text that only the client of the session gets.
    pub(crate) fn to_text(self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0)
    }

    /// What a registry finds it by.
    pub(super) fn key(self) -> RenewalKey {
        let hash = digest(&SHA256, &self.0);
        let mut key = [0; 16];
        key.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
        key
    }
}

impl fmt::Debug for RenewalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RenewalId")
    }
}

impl SessionLogin {
    /// The login of a new session on a route with these settings.
    pub(crate) fn new(identity: Arc<VerifiedIdentity>, settings: Arc<WebSocketSettings>) -> Self {
        // A credential that does not expire needs no renewal.
        let is_renewable = settings.renewal.is_some() && identity.expires_at().is_some();
        Self {
            identity: ArcSwap::new(identity),
            settings,
            renewal_id: is_renewable.then(RenewalId::generate).flatten(),
            target: None,
            is_warned: AtomicBool::new(false),
        }
    }

    /// With the place of its handshake.
    pub(crate) fn with_target(self, target: Option<HandshakeTarget>) -> Self {
        Self { target: target.map(Box::new), ..self }
    }

    /// The place of its handshake, if it is known.
    pub(crate) fn target(&self) -> Option<&HandshakeTarget> {
        self.target.as_deref()
    }

    /// The identity that is verified now.
    pub(crate) fn identity(&self) -> Arc<VerifiedIdentity> {
        self.identity.load_full()
    }

    /// Puts a fresh identity in the place of the previous one.
    pub(super) fn renew(&self, identity: Arc<VerifiedIdentity>) {
        self.identity.store(identity);
        self.is_warned.store(false, Ordering::Release);
    }

    /// The id for its renewal, where it can be renewed.
    pub(crate) fn renewal_id(&self) -> Option<RenewalId> {
        self.renewal_id
    }

    /// Where it is renewed, and by which id.
    pub(crate) fn renewal(&self) -> Option<(&Renewal, RenewalId)> {
        self.settings.renewal.as_ref().zip(self.renewal_id)
    }

    /// Whether this is its id; takes the same time whatever differs.
    pub(super) fn is_renewed_by(&self, id: RenewalId) -> bool {
        self.renewal_id.is_some_and(|own| own.0.ct_eq(&id.0).into())
    }

    /// Time until the session must end, zero if it must have ended; `None` if the credential does not expire.
    pub(super) fn time_left(&self, now: SystemTime) -> Option<Duration> {
        let ends_at = self.ends_at()?;
        Some(ends_at.duration_since(now).unwrap_or_default())
    }

    /// For how long the session should have ended already.
    pub(super) fn overdue(&self, now: SystemTime) -> Option<Duration> {
        now.duration_since(self.ends_at()?).ok()
    }

    fn ends_at(&self) -> Option<SystemTime> {
        self.identity.load().expires_at()?.checked_add(self.settings.on_expiry.grace)
    }

    /// The warning, if it is due and has not been sent; otherwise the time until it is.
    pub(super) fn take_warning(&self, now: SystemTime) -> Option<Result<String, Duration>> {
        let (Renewal { warning, .. }, id) = self.renewal()?;
        let warning: &Warning = warning.as_ref()?;
        if self.is_warned.load(Ordering::Acquire) {
            return None;
        }
        let left = self.identity.load().expires_at()?.duration_since(now).unwrap_or_default();
        if let Some(wait) = left.checked_sub(warning.before).filter(|wait| !wait.is_zero()) {
            return Some(Err(wait));
        }
        self.is_warned.store(true, Ordering::Release);
        Some(Ok(warning.render(&id.to_text(), left)))
    }

    /// The end of a session whose credential has expired.
    pub(super) fn expired(&self) -> End {
        self.end("the login has expired")
    }

    /// The end of a session whose login was revoked.
    pub(crate) fn revoked(&self) -> End {
        self.end("the login was revoked")
    }

    /// The end of a session whose renewed login allows less than it needs.
    pub(crate) fn narrowed(&self) -> End {
        self.end("the renewed login does not allow this session")
    }

    fn end(&self, reason: &'static str) -> End {
        End::new(Initiator::Expiry, self.settings.on_expiry.code, reason)
    }
}

impl fmt::Debug for SessionLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identity = self.identity.load();
        let expires_at = identity.expires_at();
        f.debug_struct("SessionLogin")
            .field("scheme", &identity.scheme())
            .field("expires_at", &expires_at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
