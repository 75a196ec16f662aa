use super::frame::Tally;
use super::settings::{LogFrames, OnChange};
use crate::exchange::UserId;
use crate::http::address::Address;
use atomic_waker::AtomicWaker;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant, SystemTime};

/// Who ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Initiator {
    /// The client: by its close frame, or by closing its connection.
    Client,
    /// The upstream: by its close frame, or by closing its connection.
    Upstream,
    /// Neither side sent anything for `websocket.idle_timeout`.
    Idle,
    /// It had lasted for `websocket.max_lifetime`.
    Lifetime,
    /// One of the route's limits.
    Limit,
    /// The gateway stops, or was told to drain.
    Drain,
    /// A reload changed its route or its endpoint.
    Reload,
    /// Somebody at the admin endpoint.
    Kick,
    /// The upstream did not answer the handshake within `timeouts.read`.
    Handshake,
    /// A connection broke, or a peer answered no ping.
    Network,
}

impl Initiator {
    /// As it stands in logs (`websocket.close.initiator`).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Idle => "idle",
            Self::Lifetime => "lifetime",
            Self::Limit => "limit",
            Self::Drain => "drain",
            Self::Reload => "reload",
            Self::Kick => "kick",
            Self::Handshake => "handshake",
            Self::Network => "network",
        }
    }
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Who ended it.
    pub initiator: Initiator,
    /// The code of the first close frame (RFC 6455, section 7.4), if there was one with a code.
    pub code: Option<u16>,
    /// The close frame's reason, or what happened.
    pub reason: Cow<'static, str>,
}

/// What a session is told from outside: to close, with this code and reason.
pub type Order = End;

impl End {
    /// It makes room for another (RFC 6455, section 7.4.1: 1008, policy violation).
    pub fn replaced() -> Self {
        Self::new(Initiator::Limit, 1008, "a newer session takes the place of this one")
    }

    /// With a code and a reason of ours.
    pub fn new(initiator: Initiator, code: u16, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { initiator, code: Some(code), reason: reason.into() }
    }
}

/// Who a session belongs to and where it goes: what is known before it opens.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The id of the request that opened it.
    pub id: String,
    /// The name of its route.
    pub route: Arc<str>,
    /// The route's fingerprint, to see whether a reload changed it.
    pub fingerprint: u64,
    /// What becomes of it when the route changes.
    pub on_change: OnChange,
    /// Who it says it speaks for.
    pub user: Option<UserId>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The normalised path.
    pub path: String,
    /// The name of the upstream.
    pub upstream: Arc<str>,
}

/// One session. The tunnel writes here what it sees, and reads what it is told; nobody waits
/// for a lock to do so.
#[derive(Debug)]
pub struct Session {
    /// Who and where.
    pub identity: Identity,
    /// When its handshake came.
    pub started: Instant,
    /// The same, by the calendar.
    pub started_at: SystemTime,
    endpoint: Mutex<Option<(Address, Box<str>)>>,
    /// Milliseconds from `started` until the 101; 0 before.
    opened: AtomicU64,
    from_client: Lane,
    to_client: Lane,
    order: OnceLock<Box<Order>>,
    end: OnceLock<End>,
    waker: AtomicWaker,
    log_frames: AtomicU8,
}

/// What has gone one way, as the tunnel last told.
#[derive(Debug, Default)]
struct Lane {
    counts: [AtomicU64; 9],
    /// Milliseconds from the start until the last bytes.
    last: AtomicU64,
}

impl Session {
    /// A session whose handshake has come.
    pub fn new(identity: Identity, log_frames: LogFrames) -> Self {
        Self {
            identity,
            started: Instant::now(),
            started_at: SystemTime::now(),
            endpoint: Mutex::new(None),
            opened: AtomicU64::new(0),
            from_client: Lane::default(),
            to_client: Lane::default(),
            order: OnceLock::new(),
            end: OnceLock::new(),
            waker: AtomicWaker::new(),
            log_frames: AtomicU8::new(log_frames as u8),
        }
    }

    /// The endpoint that it is connected to, and how the configuration names it.
    pub fn endpoint(&self) -> Option<(Address, Box<str>)> {
        self.endpoint.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes the endpoint, its address and how the configuration names it, for each attempt to
    /// connect.
    pub fn set_endpoint(&self, address: Address, written: &str) {
        let endpoint = Some((address, written.into()));
        *self.endpoint.lock().unwrap_or_else(PoisonError::into_inner) = endpoint;
    }

    /// The handshake is done.
    pub fn open(&self) {
        self.opened.store(self.elapsed().max(1), Ordering::Relaxed);
    }

    /// How long the handshake took; `None` before it is done.
    pub fn handshake(&self) -> Option<Duration> {
        let opened = self.opened.load(Ordering::Relaxed);
        (opened > 0).then(|| Duration::from_millis(opened))
    }

    /// What the client sent.
    pub fn received(&self) -> Tally {
        self.from_client.tally()
    }

    /// What went to the client.
    pub fn sent(&self) -> Tally {
        self.to_client.tally()
    }

    /// How long ago anything came by, either way.
    pub fn idle(&self) -> Duration {
        let last = self.last_received().max(self.last_sent());
        self.started.elapsed().saturating_sub(last)
    }

    /// When the client last sent something, from `started` on.
    pub fn last_received(&self) -> Duration {
        Duration::from_millis(self.from_client.last.load(Ordering::Relaxed))
    }

    /// When the upstream last sent something, from `started` on.
    pub fn last_sent(&self) -> Duration {
        Duration::from_millis(self.to_client.last.load(Ordering::Relaxed))
    }

    /// How many milliseconds ago it started.
    fn elapsed(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Tells what has come from the client so far.
    pub(super) fn publish_received(&self, tally: &Tally) {
        self.from_client.publish(tally, self.elapsed());
    }

    /// Tells what has gone to the client so far.
    pub(super) fn publish_sent(&self, tally: &Tally) {
        self.to_client.publish(tally, self.elapsed());
    }

    /// Tells the session to close; the first order is the one that counts.
    pub fn order(&self, order: Order) {
        if self.order.set(Box::new(order)).is_ok() {
            self.wake();
        }
    }

    pub(super) fn ordered(&self) -> Option<&Order> {
        self.order.get().map(|order| &**order)
    }

    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    pub(super) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Notes how the session ended; the first to say so is right.
    pub fn finish(&self, end: End) {
        let _ = self.end.set(end);
    }

    /// How it ended, if it has.
    pub fn end(&self) -> Option<&End> {
        self.end.get()
    }

    /// How much of its frames is logged.
    pub fn log_frames(&self) -> LogFrames {
        match self.log_frames.load(Ordering::Relaxed) {
            0 => LogFrames::Off,
            1 => LogFrames::Headers,
            _ => LogFrames::Text,
        }
    }

    /// Switches the logging of frames.
    pub fn set_log_frames(&self, level: LogFrames) {
        self.log_frames.store(level as u8, Ordering::Relaxed);
    }
}

impl Lane {
    fn publish(&self, tally: &Tally, now: u64) {
        for (count, value) in self.counts.iter().zip(tally.to_array()) {
            count.store(value, Ordering::Relaxed);
        }
        self.last.store(now, Ordering::Relaxed);
    }

    fn tally(&self) -> Tally {
        let mut values = [0; 9];
        for (value, count) in values.iter_mut().zip(&self.counts) {
            *value = count.load(Ordering::Relaxed);
        }
        Tally::from_array(values)
    }
}
