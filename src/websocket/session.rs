use super::HandshakeLimit;
use super::settings::{LogFrames, OnChange};
use crate::exchange::{Initiator, UserId};
use atomic_waker::AtomicWaker;
use std::borrow::Cow;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};
use tidegate_http::address::Address;
use tidegate_http::websocket::frame::Tally;
use tokio::time::Sleep;

/// How long a session may take to end once it must: for the closing handshake, or to be cut off.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long after a deadline the tunnel is left alone: it ends in better order by itself.
const TUNNEL_LEAD: Duration = Duration::from_millis(100);

/// Why a refusal of a handshake is broken off.
pub(super) const REFUSAL_STOPPED: &str =
    "the upstream sent nothing more of its answer (timeouts.read)";

/// RFC 6455, section 7.4.1: an endpoint goes away.
pub(super) const GOING_AWAY: u16 = 1001;

/// IANA's registry of close codes: the server is overloaded.
pub(crate) const TRY_AGAIN_LATER: u16 = 1013;

/// How often a session is looked at that has no deadline.
const IDLE_LOOK_INTERVAL: Duration = Duration::from_secs(3600);

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
pub(crate) type Order = End;

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

/// What ends a session by the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// The upstream must have answered the handshake.
    Handshake(HandshakeLimit),
    /// The upstream must have sent more of its refusal.
    Refusal,
    /// `websocket.idle_timeout`.
    Idle,
    /// `websocket.max_lifetime`.
    Lifetime,
    /// `websocket.ping`.
    Ping,
}

/// How many bits of a number hold a [`Limit`].
const LIMIT_BITS: u32 = 3;

impl Limit {
    fn to_bits(self) -> u64 {
        match self {
            Self::Ping => 0,
            Self::Idle => 1,
            Self::Lifetime => 2,
            Self::Handshake(HandshakeLimit::FirstByte) => 3,
            Self::Handshake(HandshakeLimit::Read) => 4,
            Self::Handshake(HandshakeLimit::Idle) => 5,
            Self::Handshake(HandshakeLimit::Lifetime) => 6,
            Self::Refusal => 7,
        }
    }

    fn from_bits(bits: u64) -> Self {
        match bits & ((1 << LIMIT_BITS) - 1) {
            1 => Self::Idle,
            2 => Self::Lifetime,
            3 => Self::Handshake(HandshakeLimit::FirstByte),
            4 => Self::Handshake(HandshakeLimit::Read),
            5 => Self::Handshake(HandshakeLimit::Idle),
            6 => Self::Handshake(HandshakeLimit::Lifetime),
            7 => Self::Refusal,
            _ => Self::Ping,
        }
    }

    /// How a session ends that has reached it.
    pub(super) fn end(self) -> End {
        match self {
            Self::Handshake(limit) => {
                End { initiator: Initiator::Handshake, code: None, reason: limit.reason().into() }
            }
            Self::Refusal => {
                End { initiator: Initiator::Handshake, code: None, reason: REFUSAL_STOPPED.into() }
            }
            Self::Idle => End::new(Initiator::Idle, GOING_AWAY, "idle for too long"),
            Self::Lifetime => {
                End::new(Initiator::Lifetime, GOING_AWAY, "it has lasted long enough")
            }
            Self::Ping => End {
                initiator: Initiator::Network,
                code: None,
                reason: "the client took nothing, no ping either (websocket.ping)".into(),
            },
        }
    }
}

/// Who a session belongs to and where it goes: what is known before it opens.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The id of the request that opened it.
    pub id: Box<str>,
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
    pub path: Box<str>,
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
    /// Milliseconds from `started` until its tunnel has something to do next; 0 for never.
    due: AtomicU64,
    /// Milliseconds from `started` until a limit ends it whatever its tunnel does, and above them
    /// which [`Limit`]; 0 for never.
    limit: AtomicU64,
    /// Milliseconds from `started` until it is cut off; 0 while nothing ends it.
    ends_at: AtomicU64,
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
            due: AtomicU64::new(0),
            limit: AtomicU64::new(0),
            ends_at: AtomicU64::new(0),
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
        millis(self.started.elapsed())
    }

    /// Tells what has come from the client so far.
    pub(super) fn publish_received(&self, tally: &Tally) {
        self.from_client.publish(tally, self.elapsed());
    }

    /// Tells what has gone to the client so far.
    pub(super) fn publish_sent(&self, tally: &Tally) {
        self.to_client.publish(tally, self.elapsed());
    }

    /// Tells the session to close; the first order is the one that counts. It has ended after
    /// `CLOSE_TIMEOUT`, whatever its peers do.
    pub fn order(&self, order: Order) {
        if self.order.set(Box::new(order)).is_ok() {
            self.end_within(CLOSE_TIMEOUT);
            self.wake();
        }
    }

    /// What it was told, if anything.
    pub fn ordered(&self) -> Option<&Order> {
        self.order.get().map(|order| &**order)
    }

    /// Waits until it is told to close.
    pub(crate) async fn until_ordered(&self) -> &Order {
        poll_fn(|cx| {
            self.register(cx.waker());
            self.ordered().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Lets it last no longer than this; a deadline that it has already stays. Returns the deadline.
    pub fn end_within(&self, time: Duration) -> Instant {
        let at = self.elapsed().saturating_add(millis(time)).max(1);
        let set = self.ends_at.compare_exchange(0, at, Ordering::AcqRel, Ordering::Acquire);
        self.started + Duration::from_millis(set.err().unwrap_or(at))
    }

    /// Notes when the tunnel has something to do next, and when a limit ends the session whether or
    /// not the tunnel gets to see it.
    pub(super) fn schedule(&self, due: Option<Instant>, limit: Option<(Instant, Limit)>) {
        // Not before it: the tunnel would find that it has nothing to do yet.
        let since = |at: Instant| millis(at.saturating_duration_since(self.started)) + 1;
        self.due.store(due.map_or(0, since), Ordering::Relaxed);
        let limit = limit.map_or(0, |(at, limit)| since(at) << LIMIT_BITS | limit.to_bits());
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Looks at the clock for a tunnel that can't do so itself: Pingora polls it neither for reading
    /// nor for writing while a client takes nothing. Ready when the session must be cut off.
    ///
    /// The task of the tunnel polls it after the tunnel, which thus comes first.
    pub fn poll_overdue(&self, cx: &mut Context<'_>, alarm: &mut Pin<Box<Sleep>>) -> Poll<()> {
        let Some(next) = self.next_look() else { return Poll::Ready(()) };
        let next = tokio::time::Instant::from_std(next);
        if alarm.is_elapsed() || alarm.deadline() > next {
            alarm.as_mut().reset(next);
        }
        if alarm.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// When to look at the clock again; `None` when the session must be cut off now.
    fn next_look(&self) -> Option<Instant> {
        let lead = millis(TUNNEL_LEAD);
        let now = self.elapsed();
        let mut ends_at = self.ends_at.load(Ordering::Acquire);
        let mut limit = 0;
        if ends_at == 0 {
            let packed = self.limit.load(Ordering::Relaxed);
            limit = packed >> LIMIT_BITS;
            if packed != 0 && now >= limit.saturating_add(lead) {
                // The tunnel would have seen it, were it not stuck.
                let reached = Limit::from_bits(packed);
                self.order(reached.end());
                if reached == Limit::Ping {
                    // A client that takes nothing answers nothing either.
                    return None;
                }
                (ends_at, limit) = (self.ends_at.load(Ordering::Acquire), 0);
            }
        }
        if ends_at != 0 && now >= ends_at.saturating_add(lead) {
            return None;
        }
        let due = self.due.load(Ordering::Relaxed);
        // It may have become due since the tunnel looked. One that is stuck does not look at all.
        let due = [due, due.saturating_add(lead)].into_iter().find(|&at| due != 0 && at > now);
        let bounds = [ends_at, limit].into_iter().filter(|&at| at != 0);
        let bounds = bounds.map(|at| if at > now { at } else { at.saturating_add(lead) });
        let next = bounds.chain(due).min();
        let next = next.unwrap_or_else(|| now.saturating_add(millis(IDLE_LOOK_INTERVAL)));
        Some(self.started + Duration::from_millis(next))
    }

    /// Notes how it ended, for a tunnel that is dropped as it stands.
    pub fn cut_off(&self, otherwise: impl FnOnce() -> End) {
        if self.end().is_some() {
            return;
        }
        self.finish(match self.ordered() {
            // The client has not got the close frame.
            Some(order) => End { code: None, ..order.clone() },
            None => otherwise(),
        });
    }

    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    /// Lets an order wake this task.
    pub fn register(&self, waker: &Waker) {
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
