//! One WebSocket session: its identity, counters, deadlines and end. The tunnel writes it and all others read it; it
//! knows nothing of sockets and of other sessions.

use super::HandshakeLimit;
use super::end::{CloseRequest, End};
use super::login::{SessionLogin, WALL_CLOCK_INTERVAL};
use super::settings::{LogFrames, OnChange};
use crate::exchange::{Initiator, UserId};
use crate::identity::VerifiedIdentity;
use atomic_waker::AtomicWaker;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};
use tidegate_http::address::Address;
use tidegate_http::websocket::close_code;
use tidegate_http::websocket::frame::{Direction, FrameCounts};
use tokio::time::Sleep;

/// Maximum time until a session has ended once it must: for the closing handshake, or to be cut off.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum time after a deadline for the tunnel to end by itself with a close frame.
const TUNNEL_CLOSE_TIMEOUT: Duration = Duration::from_millis(100);

/// Why the gateway breaks off the refusal of a handshake.
pub(super) const REFUSAL_STOPPED: &str =
    "the upstream did not complete its response to the handshake (timeouts.read)";

/// How often a session without a deadline is checked.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_secs(3600);

/// A limit in time that ends a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeLimit {
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

/// How many bits of a number hold a [`TimeLimit`].
const TIME_LIMIT_BITS: u32 = 3;

impl TimeLimit {
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
        match bits & ((1 << TIME_LIMIT_BITS) - 1) {
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

    /// The end of a session that has reached it.
    pub(super) fn end(self) -> End {
        match self {
            Self::Handshake(limit) => {
                End { initiator: Initiator::Handshake, code: None, reason: limit.reason().into() }
            }
            Self::Refusal => {
                End { initiator: Initiator::Handshake, code: None, reason: REFUSAL_STOPPED.into() }
            }
            Self::Idle => End::new(Initiator::Idle, close_code::GOING_AWAY, "idle for too long"),
            Self::Lifetime => End::new(
                Initiator::Lifetime,
                close_code::GOING_AWAY,
                "the session reached its maximum lifetime",
            ),
            Self::Ping => End {
                initiator: Initiator::Network,
                code: None,
                reason: "the client read nothing, not even a ping (websocket.ping)".into(),
            },
        }
    }
}

/// Whose session it is and where it goes, as known before it opens.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Identity {
    /// The id of the request that opened it.
    pub id: Box<str>,
    /// The name of its route.
    pub route: Arc<str>,
    /// The route's fingerprint, to see whether a reload changed it.
    pub(crate) fingerprint: u64,
    /// What a reload that changes its route does to it.
    pub on_change: OnChange,
    /// The user id that the client claims.
    pub user: Option<UserId>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The normalised path.
    pub path: Box<str>,
    /// The name of the upstream.
    pub upstream: Arc<str>,
}

/// One session. The tunnel publishes its counters here and reads close requests; neither waits for a lock.
#[derive(Debug)]
pub struct Session {
    /// Whose session it is and where it goes.
    pub identity: Identity,
    /// When its handshake arrived.
    pub started: Instant,
    /// When its handshake arrived, as wall-clock time.
    pub started_at: SystemTime,
    endpoint: Mutex<Option<(Address, Box<str>)>>,
    /// Milliseconds from `started` until the 101; 0 before.
    opened: AtomicU64,
    client_to_upstream: DirectionCounters,
    upstream_to_client: DirectionCounters,
    close_request: OnceLock<Box<CloseRequest>>,
    end: OnceLock<End>,
    waker: AtomicWaker,
    /// Milliseconds from `started` until the next deadline of its tunnel; 0 for none.
    next_deadline: AtomicU64,
    /// Milliseconds from `started` until a limit ends it whatever its tunnel does, and above them
    /// which [`TimeLimit`]; 0 for never.
    limit: AtomicU64,
    /// Milliseconds from `started` until it is cut off; 0 while nothing ends it.
    ends_at: AtomicU64,
    log_frames: AtomicU8,
    /// The login that it lives by, if its sender is verified. In a box, so that the others pay for a pointer alone.
    login: Option<Box<SessionLogin>>,
}

/// What has passed in one direction, as the tunnel last published it.
#[derive(Debug, Default)]
struct DirectionCounters {
    counts: [AtomicU64; 9],
    /// Milliseconds from the start of the session until the last bytes.
    last_activity: AtomicU64,
}

impl Session {
    /// A session whose handshake has arrived.
    pub(crate) fn new(identity: Identity, log_frames: LogFrames) -> Self {
        Self {
            identity,
            started: Instant::now(),
            started_at: SystemTime::now(),
            endpoint: Mutex::new(None),
            opened: AtomicU64::new(0),
            client_to_upstream: DirectionCounters::default(),
            upstream_to_client: DirectionCounters::default(),
            close_request: OnceLock::new(),
            end: OnceLock::new(),
            waker: AtomicWaker::new(),
            next_deadline: AtomicU64::new(0),
            limit: AtomicU64::new(0),
            ends_at: AtomicU64::new(0),
            log_frames: AtomicU8::new(log_frames as u8),
            login: None,
        }
    }

    /// With the login that it lives by.
    pub(crate) fn with_login(self, login: SessionLogin) -> Self {
        Self { login: Some(Box::new(login)), ..self }
    }

    /// The login that it lives by, if its sender is verified.
    pub(crate) fn login(&self) -> Option<&SessionLogin> {
        self.login.as_deref()
    }

    /// Who opened it, as a scheme of `authentication` has verified it; after a renewal, by the last credential.
    pub fn verified_identity(&self) -> Option<Arc<VerifiedIdentity>> {
        Some(self.login()?.identity())
    }

    /// Puts a fresh identity in the place of the one that it lives by.
    pub(crate) fn renew_login(&self, identity: Arc<VerifiedIdentity>) {
        if let Some(login) = self.login() {
            login.renew(identity);
            // The tunnel computes its deadlines again.
            self.wake();
        }
    }

    /// The endpoint that it is connected to, and how the configuration names it.
    pub fn endpoint(&self) -> Option<(Address, Box<str>)> {
        self.endpoint.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records the endpoint, its address and how the configuration names it, for each attempt to
    /// connect.
    pub(crate) fn set_endpoint(&self, address: Address, written: &str) {
        let endpoint = Some((address, written.into()));
        *self.endpoint.lock().unwrap_or_else(PoisonError::into_inner) = endpoint;
    }

    /// Records that the handshake is complete.
    pub(crate) fn record_open(&self) {
        self.opened.store(self.elapsed().max(1), Ordering::Relaxed);
    }

    /// How long the handshake took; `None` until it is complete.
    pub fn handshake(&self) -> Option<Duration> {
        let opened = self.opened.load(Ordering::Relaxed);
        (opened > 0).then(|| Duration::from_millis(opened))
    }

    fn counters(&self, direction: Direction) -> &DirectionCounters {
        match direction {
            Direction::ClientToUpstream => &self.client_to_upstream,
            Direction::UpstreamToClient => &self.upstream_to_client,
        }
    }

    /// What has passed in a direction so far.
    pub fn counts(&self, direction: Direction) -> FrameCounts {
        self.counters(direction).load()
    }

    /// Time since the last bytes in either direction.
    pub fn idle(&self) -> Duration {
        let [client, upstream] = [Direction::ClientToUpstream, Direction::UpstreamToClient]
            .map(|direction| self.last_activity(direction));
        self.started.elapsed().saturating_sub(client.max(upstream))
    }

    /// When the last bytes passed in a direction, counted from `started`.
    pub fn last_activity(&self, direction: Direction) -> Duration {
        let last = self.counters(direction).last_activity.load(Ordering::Relaxed);
        Duration::from_millis(last)
    }

    /// How many milliseconds ago it started.
    fn elapsed(&self) -> u64 {
        millis(self.started.elapsed())
    }

    /// Publishes what has passed in a direction so far.
    pub(super) fn publish(&self, direction: Direction, counts: &FrameCounts) {
        self.counters(direction).publish(counts, self.elapsed());
    }

    /// Asks the session to close; the first request is the one that counts. It has ended after
    /// `CLOSE_TIMEOUT`, whatever its peers do.
    pub(crate) fn request_close(&self, request: CloseRequest) {
        if self.close_request.set(Box::new(request)).is_ok() {
            self.end_within(CLOSE_TIMEOUT);
            self.wake();
        }
    }

    /// The request to close it, if there is one.
    pub fn close_request(&self) -> Option<&End> {
        self.close_request.get().map(|request| &**request)
    }

    /// Waits until somebody asks it to close.
    pub(crate) async fn close_requested(&self) -> &CloseRequest {
        poll_fn(|cx| {
            self.register_waker(cx.waker());
            self.close_request().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Limits the time until its end, unless it is limited already. Returns the deadline.
    pub(crate) fn end_within(&self, time: Duration) -> Instant {
        let at = self.elapsed().saturating_add(millis(time)).max(1);
        let set = self.ends_at.compare_exchange(0, at, Ordering::AcqRel, Ordering::Acquire);
        self.started + Duration::from_millis(set.err().unwrap_or(at))
    }

    /// Records the next deadline of the tunnel, and the limit that ends the session even if the tunnel is
    /// not polled.
    pub(super) fn schedule(&self, due: Option<Instant>, limit: Option<(Instant, TimeLimit)>) {
        // Not earlier: the tunnel would find nothing to do.
        let since = |at: Instant| millis(at.saturating_duration_since(self.started)) + 1;
        self.next_deadline.store(due.map_or(0, since), Ordering::Relaxed);
        let limit = limit.map_or(0, |(at, limit)| since(at) << TIME_LIMIT_BITS | limit.to_bits());
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Checks the deadlines for a tunnel that cannot do so itself: Pingora polls it neither for reading
    /// nor for writing while a client takes nothing. Ready when the session must be cut off.
    ///
    /// The task of the tunnel polls this after the tunnel, so that the tunnel comes first.
    pub(crate) fn poll_overdue(
        &self,
        cx: &mut Context<'_>,
        alarm: &mut Pin<Box<Sleep>>,
    ) -> Poll<()> {
        let Some(next) = self.next_check(SystemTime::now) else { return Poll::Ready(()) };
        let next = tokio::time::Instant::from_std(next);
        if alarm.is_elapsed() || alarm.deadline() > next {
            alarm.as_mut().reset(next);
        }
        if alarm.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// When to check the deadlines again; `None` when the session must be cut off now.
    pub(super) fn next_check(&self, wall_clock: impl Fn() -> SystemTime) -> Option<Instant> {
        let grace = millis(TUNNEL_CLOSE_TIMEOUT);
        let now = self.elapsed();
        let mut ends_at = self.ends_at.load(Ordering::Acquire);
        let (mut limit, mut expiry) = (0, 0);
        if ends_at == 0 {
            if let Some(login) = self.login() {
                expiry = self.next_look_at_login(login, now, wall_clock());
                ends_at = self.ends_at.load(Ordering::Acquire);
            }
            let packed = self.limit.load(Ordering::Relaxed);
            limit = packed >> TIME_LIMIT_BITS;
            if packed != 0 && now >= limit.saturating_add(grace) {
                // The tunnel has not seen it, so it is stuck.
                let reached = TimeLimit::from_bits(packed);
                self.request_close(reached.end());
                if reached == TimeLimit::Ping {
                    // A client that takes nothing answers nothing either.
                    return None;
                }
                (ends_at, limit) = (self.ends_at.load(Ordering::Acquire), 0);
            }
        }
        if ends_at != 0 && now >= ends_at.saturating_add(grace) {
            return None;
        }
        let due = self.next_deadline.load(Ordering::Relaxed);
        // It may have become due since the tunnel checked. A tunnel that is stuck does not check at all.
        let due = [due, due.saturating_add(grace)].into_iter().find(|&at| due != 0 && at > now);
        let bounds = [ends_at, limit, expiry].into_iter().filter(|&at| at != 0);
        let bounds = bounds.map(|at| if at > now { at } else { at.saturating_add(grace) });
        let next = bounds.chain(due).min();
        let next = next.unwrap_or_else(|| now.saturating_add(millis(IDLE_CHECK_INTERVAL)));
        Some(self.started + Duration::from_millis(next))
    }

    /// When to look at the wall clock again, in milliseconds from `started`; 0 for never. Ends a session whose login
    /// has expired and whose tunnel has not seen it, so that it is stuck.
    fn next_look_at_login(&self, login: &SessionLogin, now: u64, wall_clock: SystemTime) -> u64 {
        let Some(left) = login.time_left(wall_clock) else { return 0 };
        let wait = match login.overdue(wall_clock) {
            Some(overdue) if overdue >= TUNNEL_CLOSE_TIMEOUT => {
                self.request_close(login.expired());
                return 0;
            }
            Some(overdue) => TUNNEL_CLOSE_TIMEOUT.saturating_sub(overdue),
            None => left.min(WALL_CLOCK_INTERVAL),
        };
        now.saturating_add(millis(wait)).saturating_add(1)
    }

    /// Records the end of a session whose tunnel is dropped, if no end is recorded yet.
    pub(crate) fn record_cut_off(&self, otherwise: impl FnOnce() -> End) {
        if self.end().is_some() {
            return;
        }
        self.record_end(match self.close_request() {
            // The client has not got the close frame.
            Some(request) => End { code: None, ..request.clone() },
            None => otherwise(),
        });
    }

    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    /// Lets a close request wake this task.
    pub(crate) fn register_waker(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Records how the session ended; the first record counts.
    pub(crate) fn record_end(&self, end: End) {
        let _ = self.end.set(end);
    }

    /// How it ended, if it has.
    pub fn end(&self) -> Option<&End> {
        self.end.get()
    }

    /// Which of its frames are logged.
    pub fn log_frames(&self) -> LogFrames {
        match self.log_frames.load(Ordering::Relaxed) {
            0 => LogFrames::Off,
            1 => LogFrames::Headers,
            _ => LogFrames::Text,
        }
    }

    /// Switches the logging of frames.
    pub(crate) fn set_log_frames(&self, level: LogFrames) {
        self.log_frames.store(level as u8, Ordering::Relaxed);
    }
}

impl DirectionCounters {
    fn publish(&self, counts: &FrameCounts, now: u64) {
        for (count, value) in self.counts.iter().zip(counts.to_array()) {
            count.store(value, Ordering::Relaxed);
        }
        self.last_activity.store(now, Ordering::Relaxed);
    }

    fn load(&self) -> FrameCounts {
        let mut values = [0; 9];
        for (value, count) in values.iter_mut().zip(&self.counts) {
            *value = count.load(Ordering::Relaxed);
        }
        FrameCounts::from_array(values)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
