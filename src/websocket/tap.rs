use super::HandshakeTimeout;
use super::lane::{Lane, Outstanding, Screened, Violation};
use super::session::{CLOSE_TIMEOUT, End, GOING_AWAY, Limit, REFUSAL_STOPPED, Session};
use super::settings::{LogFrames, Settings};
use super::watch::{Watch, Watcher};
use super::wire::Wire;
use crate::exchange::Initiator;
use crate::upstream::PIECE;
use pingora::protocols::l4::ext::set_tcp_keepalive;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tidegate_http::websocket::close_reason::UPSTREAM_GONE;
use tidegate_http::websocket::frame::{self, Side};
use tidegate_http::websocket::response_head::{Answer, Heads};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Why a session ends whose client has said nothing about it.
pub(crate) const CLIENT_GONE: &str = "the client's connection ended without a close frame";

/// The upstream's socket of a tunnel. It passes on what Pingora and the upstream send each other,
/// follows the frames in it, and puts frames of the gateway's own between them.
///
/// Pingora tunnels natively; this stands where it would have the bare socket.
#[derive(Debug)]
pub(super) struct Tap {
    socket: Wire,
    session: Arc<Session>,
    settings: Arc<Settings>,
    watcher: Option<Arc<dyn Watcher>>,
    /// Whether reading has been tried once; see `poll_read`.
    is_warm: bool,
    phase: Phase,
    /// What the client sends; its `out` goes to the upstream.
    from_client: Lane,
    /// What the upstream sends; its `out` goes to the client.
    from_upstream: Lane,
    /// The upstream sends no more.
    upstream_has_ended: bool,
    /// Nor does it take anything.
    upstream_is_broken: bool,
    /// The gateway ends the session: by then at the latest.
    closing: Option<Instant>,
    /// One side has closed, or both have, and yet neither may end its connection: it is ended soon.
    lingers: bool,
    /// The client has ended its side without a close frame: nobody is left to send anything to.
    client_has_ended: bool,
    /// The upstream's time for its pong is over: its socket must be read before that counts, for
    /// nothing was read while the client took nothing.
    must_drain: bool,
    /// That was done, and no pong was there.
    is_drained: bool,
    /// When the phase has lasted long enough: the handshake, or a session with a longest time.
    phase_end: Option<Instant>,
    /// How the payloads of this session's pings begin, and how many there have been.
    ping_key: [u8; 4],
    pings: u32,
    /// Since when the upstream has taken nothing of what waits for it.
    blocked_since: Option<Instant>,
    /// How long that may be.
    write_timeout: Duration,
}

/// How long the upstream may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// For its answer to the handshake.
    pub(super) handshake: HandshakeTimeout,
    /// For more of a refusal.
    pub(super) read: Duration,
    /// To take what the client sends.
    pub(super) write: Duration,
}

/// What is known until the handshake is answered. A session has no need of it.
#[derive(Debug)]
struct Awaiting {
    heads: Heads,
    /// What bounds the answer.
    timeout: HandshakeTimeout,
    /// How long the upstream may send nothing of a refusal.
    read_timeout: Duration,
}

#[derive(Debug)]
enum Phase {
    /// The upstream has not answered the handshake.
    Handshake(Box<Awaiting>),
    /// It has refused: the rest is HTTP, more of which must come within this time.
    Refused(Duration),
    /// Frames.
    Open,
}

impl Tap {
    pub(super) fn new(
        socket: Wire,
        session: Arc<Session>,
        settings: Arc<Settings>,
        watcher: Option<Arc<dyn Watcher>>,
        times: Times,
    ) -> Self {
        let now = Instant::now();
        let (mut end, mut timeout) = (now + times.handshake.time, times.handshake);
        if let Some(bound) = settings.handshake_bound() {
            let of_session = Instant::from_std(session.started + bound.time);
            if of_session < end {
                (end, timeout) = (of_session, bound);
            }
        }
        let heads = Heads::default();
        let awaiting = Box::new(Awaiting { heads, timeout, read_timeout: times.read });
        Self {
            socket,
            session,
            settings,
            watcher,
            is_warm: false,
            phase: Phase::Handshake(awaiting),
            from_client: Lane::new(Side::Client, false, now),
            from_upstream: Lane::new(Side::Upstream, false, now),
            upstream_has_ended: false,
            upstream_is_broken: false,
            closing: None,
            lingers: false,
            client_has_ended: false,
            must_drain: false,
            is_drained: false,
            phase_end: Some(end),
            ping_key: mask(),
            pings: 0,
            blocked_since: None,
            write_timeout: times.write,
        }
    }

    fn open(&mut self, deflate: bool) {
        let now = Instant::now();
        self.phase = Phase::Open;
        self.from_client = Lane::new(Side::Client, deflate, now);
        self.from_upstream = Lane::new(Side::Upstream, deflate, now);
        self.watch(deflate);
        self.phase_end = self.settings.max_lifetime.map(|lifetime| now + jittered(lifetime));
        self.session.open();
    }

    /// Lets the frames be watched from here on, if anybody wants to.
    fn watch(&mut self, inflates: bool) {
        let Some(watcher) = &self.watcher else { return };
        let wants = watcher.wants(&self.session);
        if wants == LogFrames::Off || self.from_client.watch.is_some() {
            return;
        }
        let inflates = inflates && wants == LogFrames::Text;
        for (lane, from) in
            [(&mut self.from_client, Side::Client), (&mut self.from_upstream, Side::Upstream)]
        {
            lane.watch = Some(Box::new(Watch::new(Arc::clone(watcher), from, inflates)));
        }
    }

    /// Begins the closing handshake with both sides.
    fn close(&mut self, end: End) {
        if self.closing.is_some() {
            return;
        }
        let code = end.code.unwrap_or(GOING_AWAY);
        if self.from_client.close.is_none() {
            self.from_client.put_close(frame::close(code, &end.reason, Some(mask())));
        }
        if self.from_upstream.close.is_none() {
            self.from_upstream.put_close(frame::close(code, &end.reason, None));
        }
        self.session.finish(end);
        self.closing = Some(self.end_soon());
        self.session.wake();
    }

    /// By when the session has ended, whatever its peers do.
    fn end_soon(&self) -> Instant {
        Instant::from_std(self.session.end_within(CLOSE_TIMEOUT))
    }

    /// A frame may not go on; the message that it may belong to will never be whole.
    fn violated(&mut self, side: Side, violation: Violation) {
        match side {
            Side::Client => self.from_client.is_cut = true,
            Side::Upstream => self.from_upstream.is_cut = true,
        }
        let (code, reason) = violation.close();
        self.close(End::new(Initiator::Limit, code, reason));
        if violation.is_of_close() {
            // No other close frame will come from there.
            let lane = match side {
                Side::Client => &mut self.from_client,
                Side::Upstream => &mut self.from_upstream,
            };
            lane.close.get_or_insert_default();
        }
    }

    /// The upstream's connection has ended, in good order or not.
    fn upstream_gone(&mut self, error: Option<&io::Error>) {
        self.upstream_has_ended = true;
        self.upstream_is_broken |= error.is_some();
        self.from_upstream.is_cut = true;
        if self.from_upstream.close.is_some()
            && self.from_client.close.is_none()
            && !self.client_has_ended
        {
            // It has closed as it should, and still waits for the client's answer.
            let deadline = self.end_soon();
            self.closing.get_or_insert(deadline);
        }
        if self.from_upstream.close.is_some() || self.from_upstream.is_closed {
            return;
        }
        let reason = match error {
            None => format!("{UPSTREAM_GONE} ended without a close frame"),
            Some(error) => format!("{UPSTREAM_GONE} broke: {}", error.kind()),
        };
        self.lose_upstream(Initiator::Upstream, reason);
    }

    /// Ends the session of a client whose upstream is gone, with the code that the route has for it.
    fn lose_upstream(&mut self, initiator: Initiator, reason: String) {
        self.upstream_has_ended = true;
        self.from_upstream.is_cut = true;
        // What the client has asked for already is answered in the upstream's place.
        let asked = self.from_client.close.as_ref().map(|close| close.code.unwrap_or(1000));
        let asked = asked.filter(|&code| frame::is_sendable(code));
        // Within a frame there is no place for a close frame: then no code is sent, nor logged.
        let is_between = self.from_upstream.scanner.is_between_frames();
        let code = asked.or(self.settings.upstream_lost.code()).filter(|_| is_between);
        let end = End { initiator, code, reason: reason.into() };
        if code.is_none() && is_between && self.closing.is_none() {
            self.session.finish(end);
            self.end_soon();
            self.closing = Some(Instant::now());
            self.session.wake();
        } else {
            self.close(end);
        }
    }

    /// The client's connection has ended: the upstream is told so, if nobody has.
    fn client_gone(&mut self) {
        let is_open = matches!(self.phase, Phase::Open);
        if !is_open || self.from_client.close.is_some() || self.from_client.is_closed {
            return;
        }
        // A session that is cut off has been told why.
        let (code, reason) = match self.session.ordered() {
            Some(order) => (order.code.unwrap_or(GOING_AWAY), &*order.reason),
            None => (GOING_AWAY, CLIENT_GONE),
        };
        self.from_client.is_cut = true;
        self.from_client.put_close(frame::close(code, reason, Some(mask())));
        self.from_client.place();
        // Nothing can be waited for here; the socket nearly always has room.
        let _ = self.socket.try_write(self.from_client.out());
        self.from_client.gone(usize::MAX);
    }

    /// Whether both sides have had, and given, what the closing handshake asks for.
    fn is_finished(&self) -> bool {
        let client = self.from_client.close.is_some() && self.from_upstream.is_closed
            || self.from_client.close.is_some() && self.from_upstream.close.is_some();
        let upstream = self.upstream_has_ended
            || self.from_upstream.close.is_some() && self.from_client.is_closed
            || self.from_upstream.close.is_some() && self.from_client.close.is_some();
        self.closing.is_some() && client && upstream
    }

    /// Notes what a peer's close frame says; the first one ends the session, soon even if the other
    /// peer never answers it.
    fn note_closes(&mut self) {
        let has_close = self.from_client.close.is_some() || self.from_upstream.close.is_some();
        if has_close && !self.lingers {
            self.lingers = true;
            self.end_soon();
            self.session.wake();
        }
        for (lane, initiator) in
            [(&self.from_client, Initiator::Client), (&self.from_upstream, Initiator::Upstream)]
        {
            if let Some(close) = &lane.close
                && self.session.end().is_none()
            {
                self.session.finish(End {
                    initiator,
                    code: close.code,
                    reason: close.reason.clone().into(),
                });
            }
        }
    }

    /// Answers the close frame of one side in place of the other, which has not answered in time.
    fn answer_close(&mut self) {
        let code = |lane: &Lane| {
            let close = lane.close.as_ref()?;
            Some(close.code.filter(|&code| frame::is_sendable(code)).unwrap_or(1000))
        };
        let (client, upstream) = (code(&self.from_client), code(&self.from_upstream));
        for (lane, own, other, mask) in [
            (&mut self.from_upstream, upstream, client, None),
            (&mut self.from_client, client, upstream, Some(mask())),
        ] {
            if let (None, Some(code)) = (own, other)
                && !lane.is_closed
            {
                lane.is_cut = true;
                lane.put_close(frame::close(code, "", mask));
            }
        }
    }

    /// Does what the clock and orders from outside ask for. Ready when the session must end now.
    fn poll_clock(&mut self) -> Poll<io::Result<()>> {
        match (&self.phase, self.session.ordered()) {
            (Phase::Open, Some(order)) if self.closing.is_none() => {
                let order = order.clone();
                self.close(order);
            }
            (Phase::Handshake(awaiting), Some(order))
                if order.initiator == Initiator::Handshake =>
            {
                return Poll::Ready(Err(awaiting.timeout.into()));
            }
            (Phase::Refused(_), Some(order)) if order.initiator == Initiator::Handshake => {
                return Poll::Ready(Err(refusal_stopped()));
            }
            (Phase::Handshake(_) | Phase::Refused(_), Some(_)) => {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            _ => {}
        }
        match self.next_deadline(Instant::now())? {
            Some(None) => Poll::Ready(Ok(())),
            due => {
                self.session.schedule(due.flatten().map(Instant::into_std), self.limit());
                Poll::Pending
            }
        }
    }

    /// What ends the session by the clock, should Pingora not poll this until then.
    fn limit(&self) -> Option<(std::time::Instant, Limit)> {
        let limit = match &self.phase {
            Phase::Handshake(awaiting) => {
                self.phase_end.map(|at| (at, Limit::Handshake(awaiting.timeout.limit)))
            }
            Phase::Refused(_) => self.phase_end.map(|at| (at, Limit::Refusal)),
            Phase::Open if self.closing.is_none() => {
                let quiet_since = self.from_client.last.max(self.from_upstream.last);
                let idle = self.settings.idle_timeout.map(|time| (quiet_since + time, Limit::Idle));
                let age = self.phase_end.map(|at| (at, Limit::Lifetime));
                // An upstream's pong can't be seen while the client takes nothing.
                let silence = self.settings.ping.filter(|ping| ping.client).map(|ping| {
                    let lane = &self.from_client;
                    let sent = lane.ping().map(|ping| ping.sent).filter(|&sent| lane.last <= sent);
                    let pinged = sent.unwrap_or(lane.last + ping.interval);
                    (pinged + ping.timeout, Limit::Ping)
                });
                idle.into_iter().chain(age).chain(silence).min_by_key(|(at, _)| *at)
            }
            Phase::Open => None,
        };
        limit.map(|(at, limit)| (at.into_std(), limit))
    }

    /// What is due next: `None` for nothing ever, `Some(None)` for the end of the session now.
    /// What is due already is done.
    fn next_deadline(&mut self, now: Instant) -> io::Result<Option<Option<Instant>>> {
        let is_over = self.phase_end.is_some_and(|at| at <= now);
        match &self.phase {
            Phase::Refused(_) if is_over => return Err(refusal_stopped()),
            Phase::Handshake(awaiting) if is_over => {
                // Another attempt has a time of its own.
                self.session.schedule(None, None);
                return Err(awaiting.timeout.into());
            }
            Phase::Handshake(_) | Phase::Refused(_) => return Ok(self.phase_end.map(Some)),
            Phase::Open => {}
        }
        if let Some(deadline) = self.closing {
            // Within a frame there is no place for a close frame.
            let is_cut = self.upstream_has_ended
                && self.from_upstream.close.is_none()
                && !self.from_upstream.is_closed
                && !self.from_upstream.scanner.is_between_frames();
            let is_over = deadline <= now || is_cut || self.is_finished();
            return Ok(Some((!is_over).then_some(deadline)));
        }
        let mut next: Option<Instant> = None;
        let mut due = |at: Instant| {
            if at > now {
                next = Some(next.map_or(at, |next| next.min(at)));
            }
            at <= now
        };
        let quiet_since = self.from_client.last.max(self.from_upstream.last);
        let is_idle = self.settings.idle_timeout.is_some_and(|timeout| due(quiet_since + timeout));
        let is_old = self.phase_end.is_some_and(&mut due);
        if self.lingers && due(self.end_soon()) {
            self.answer_close();
            return Ok(Some(None));
        }
        if is_idle {
            self.close(Limit::Idle.end());
        } else if is_old {
            self.close(Limit::Lifetime.end());
        } else if let Some(ping) = self.settings.ping {
            for (lane, wanted) in [(0, ping.client), (1, ping.upstream)] {
                if !wanted {
                    continue;
                }
                let (lane, other, side) = match lane {
                    0 => (&mut self.from_client, &mut self.from_upstream, Side::Client),
                    _ => (&mut self.from_upstream, &mut self.from_client, Side::Upstream),
                };
                // Whatever comes shows that the peer is there; only its pong must be kept back.
                let silent = lane.ping().filter(|sent| lane.last <= sent.sent);
                match silent {
                    Some(sent)
                        if side == Side::Upstream
                            && sent.sent + ping.timeout <= now
                            && !self.is_drained =>
                    {
                        self.must_drain = true;
                    }
                    Some(sent) if due(sent.sent + ping.timeout) => {
                        self.peer_is_dead(side, ping.timeout)?;
                        break;
                    }
                    Some(_) => {}
                    None => {
                        let since = lane.ping().map_or(lane.last, |sent| lane.last.max(sent.sent));
                        if due(since + ping.interval) {
                            self.pings = self.pings.wrapping_add(1);
                            let [a, b, c, d] = self.ping_key;
                            let [e, f, g, h] = self.pings.to_be_bytes();
                            let payload = [a, b, c, d, e, f, g, h];
                            lane.pinged(Outstanding { payload, sent: now });
                            // A ping to the client goes among what the upstream sends.
                            let key = (side == Side::Upstream).then(mask);
                            other.put_ping(frame::ping(payload, key));
                            due(now + ping.timeout);
                        }
                    }
                }
            }
        }
        if self.closing.is_some() {
            return self.next_deadline(now);
        }
        Ok(next.map(Some))
    }

    /// A peer has answered no ping. The other side gets a close frame, the dead one is let go.
    fn peer_is_dead(&mut self, side: Side, timeout: Duration) -> io::Result<()> {
        let timeout = humantime::format_duration(timeout);
        if side == Side::Upstream {
            self.upstream_is_broken = true;
            let reason = format!("the upstream answered no ping within {timeout}");
            self.lose_upstream(Initiator::Network, reason);
            return Ok(());
        }
        let reason = format!("the client answered no ping within {timeout}");
        self.from_client.is_cut = true;
        self.from_client.put_close(frame::close(GOING_AWAY, &reason, Some(mask())));
        self.from_client.place();
        let _ = self.socket.try_write(self.from_client.out());
        self.from_client.gone(usize::MAX);
        let (initiator, code) = (Initiator::Network, None);
        self.session.finish(End { initiator, code, reason: reason.into() });
        Err(io::Error::new(io::ErrorKind::TimedOut, "the client is dead"))
    }

    /// Writes what is ours, or was held back, to the upstream.
    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.from_client.place();
        while !self.from_client.out().is_empty() {
            let socket = Pin::new(&mut self.socket);
            let count = ready!(socket.poll_write(cx, self.from_client.out()))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.from_client.gone(count);
        }
        Poll::Ready(Ok(()))
    }

    /// Passes on what comes from the client. Ready with how many of the bytes have gone, or would have.
    fn poll_pass(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<usize> {
        loop {
            if !self.upstream_is_broken && ready!(self.poll_own(cx)).is_err() {
                self.upstream_is_broken = true;
            }
            if self.from_client.is_closed || self.upstream_is_broken {
                // Nothing follows a close frame; the client's own is what is waited for.
                self.from_client.scan(bytes, &self.session);
                return Poll::Ready(bytes.len());
            }
            let stride = self.from_client.stride().min(bytes.len());
            let front = bytes.get(..stride).unwrap_or_default();
            let count = match self.from_client.is_careful(&self.settings.bounds) {
                false => front.len(),
                true => {
                    match self.from_client.screen(front, &self.settings.bounds, &self.session) {
                        Screened::Pass(count) => count,
                        Screened::Taken(count) => return Poll::Ready(count),
                        Screened::Violation(violation) => {
                            self.violated(Side::Client, violation);
                            continue;
                        }
                    }
                }
            };
            let front = front.get(..count).unwrap_or_default();
            let Ok(count) = ready!(Pin::new(&mut self.socket).poll_write(cx, front)) else {
                // Reading will tell why, behind all that the upstream has still said; the client
                // then gets a close frame instead of a bare cut.
                self.upstream_is_broken = true;
                continue;
            };
            self.from_client.scan(front.get(..count).unwrap_or_default(), &self.session);
            return Poll::Ready(count);
        }
    }

    /// Whether the upstream, which takes nothing just now, is given up: from then on what the client
    /// sends goes nowhere, so that the client can be told. While Pingora waits for a write it does not
    /// read, so orders and clocks are looked at here.
    fn is_stuck(&mut self) -> bool {
        let now = Instant::now();
        let since = *self.blocked_since.get_or_insert(now);
        if self.closing.is_none()
            && let Some(order) = self.session.ordered()
        {
            let order = order.clone();
            self.close(order);
        }
        // The client gets the rest of the time for its answer.
        let give_up_at = |deadline: Instant| deadline.checked_sub(CLOSE_TIMEOUT / 2);
        let mut due = self.closing.and_then(give_up_at);
        if self.closing.is_none() {
            let write_end = since + self.write_timeout;
            let ping = self.settings.ping.filter(|ping| ping.upstream);
            let ping_end = ping.map(|ping| since + ping.interval + ping.timeout);
            let limit = self.limit().filter(|(_, limit)| *limit != Limit::Ping);
            let limit = limit.map(|(at, limit)| (Instant::from_std(at), limit));
            if write_end <= now {
                self.took_nothing(self.write_timeout, "timeouts.write");
            } else if ping_end.is_some_and(|at| at <= now) {
                self.took_nothing(now - since, "websocket.ping");
            } else if let Some((at, limit)) = limit
                && at <= now
            {
                self.close(limit.end());
                due = self.closing.and_then(give_up_at);
            } else {
                let limit = limit.map(|(at, _)| at);
                due = [Some(write_end), ping_end, limit].into_iter().flatten().min();
            }
        }
        if !self.upstream_is_broken && self.closing.is_some() && due.is_some_and(|due| due <= now) {
            self.give_up_upstream();
        }
        self.session.schedule(due.map(Instant::into_std), None);
        self.upstream_is_broken
    }

    /// The upstream has taken nothing for as long as this key lets it.
    fn took_nothing(&mut self, time: Duration, key: &str) {
        self.give_up_upstream();
        let time = humantime::format_duration(Duration::from_millis(
            u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
        ));
        let reason = format!("the upstream took nothing for {time} ({key})");
        self.lose_upstream(Initiator::Network, reason);
    }

    /// Sends the upstream nothing more: within a frame of the client's no other has a place.
    fn give_up_upstream(&mut self) {
        self.upstream_is_broken = true;
        self.upstream_has_ended = true;
        self.from_client.is_cut = true;
        self.from_client.is_closed = true;
        self.from_client.drop_own();
    }

    /// Hands Pingora what is ours, or was held back. Tells whether there was anything.
    fn hand_over(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        self.from_upstream.place();
        let out = self.from_upstream.out();
        let count = out.len().min(buffer.remaining());
        buffer.put_slice(out.get(..count).unwrap_or_default());
        self.from_upstream.gone(count);
        count > 0
    }

    /// Reads from the upstream. Ready with whether there is something for the client.
    fn poll_upstream(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let start = buffer.filled().len();
        let is_open = matches!(self.phase, Phase::Open);
        let stride = if is_open { self.from_upstream.stride() } else { usize::MAX };
        if stride < buffer.remaining() {
            let room = buffer.initialize_unfilled_to(stride);
            let mut room = ReadBuf::new(room);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut room))?;
            let count = room.filled().len();
            buffer.advance(count);
        } else {
            // Less than there is room for: what a client that takes nothing makes Pingora hold.
            let mut piece = (&mut self.socket).take(PIECE);
            ready!(Pin::new(&mut piece).poll_read(cx, buffer))?;
        }
        if buffer.filled().len() == start {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        let mut frames = start;
        if let Phase::Handshake(awaiting) = &mut self.phase {
            let bytes = buffer.filled().get(start..).unwrap_or_default();
            match awaiting.heads.feed(bytes) {
                None => return Poll::Ready(Ok(true)),
                Some((_, Answer::Refusal)) => self.phase = Phase::Refused(awaiting.read_timeout),
                Some((length, Answer::Frames { deflate })) => {
                    frames += length;
                    self.open(deflate);
                }
            }
        }
        if let Phase::Refused(read_timeout) = self.phase {
            self.phase_end = Some(Instant::now() + read_timeout);
        }
        if !matches!(self.phase, Phase::Open) {
            return Poll::Ready(Ok(true));
        }
        self.follow_upstream(buffer, frames);
        Poll::Ready(Ok(buffer.filled().len() > start))
    }

    /// Follows the frames that have been read, and takes out what is not for the client.
    fn follow_upstream(&mut self, buffer: &mut ReadBuf<'_>, start: usize) {
        self.watch(false);
        let lane = &mut self.from_upstream;
        let bytes = buffer.filled().get(start..).unwrap_or_default();
        if bytes.is_empty() {
            return;
        }
        lane.last = Instant::now();
        let mut violation = None;
        if lane.is_closed {
            // Nothing follows a close frame; the upstream's own is what is waited for.
            lane.scan(bytes, &self.session);
            buffer.set_filled(start);
        } else if lane.is_careful(&self.settings.bounds) {
            let (in_place, found) = lane.receive(bytes, &self.settings.bounds, &self.session);
            violation = found;
            buffer.set_filled(start + in_place.unwrap_or(0));
        } else {
            lane.scan(bytes, &self.session);
        }
        self.session.publish_sent(&lane.tally);
        self.note_closes();
        if let Some(violation) = violation {
            self.violated(Side::Upstream, violation);
        }
    }

    /// Follows what has gone, or would have gone, from the client to the upstream.
    fn followed_client(&mut self) {
        self.from_client.last = Instant::now();
        self.session.publish_received(&self.from_client.tally);
        self.note_closes();
        if self.closing.is_some() {
            self.session.wake();
        }
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let tap = &mut *self;
        if !tap.is_warm {
            // Pingora 0.9.1 polls, in random order, this read and the queue in which the end of
            // the request's empty body waits. When it sees a 101 before it sees that end, it
            // takes the end for the tunnel's. The first read finds nothing, and the queue comes
            // first.
            tap.is_warm = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        tap.session.register(cx.waker());
        (tap.must_drain, tap.is_drained) = (false, false);
        loop {
            let is_over = match tap.poll_clock() {
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => true,
                Poll::Pending => false,
            };
            if let Poll::Ready(Err(_)) = tap.poll_own(cx) {
                tap.upstream_is_broken = true;
                tap.from_client.gone(usize::MAX);
            }
            if tap.hand_over(buffer) {
                return Poll::Ready(Ok(()));
            }
            if is_over || tap.client_has_ended {
                // The end of the stream: Pingora closes the client's side in good order.
                return Poll::Ready(Ok(()));
            }
            if tap.upstream_has_ended {
                return Poll::Pending;
            }
            match tap.poll_upstream(cx, buffer) {
                Poll::Ready(Ok(true)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(false)) => {}
                Poll::Ready(Err(error)) if !matches!(tap.phase, Phase::Open) => {
                    return match error.kind() {
                        io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
                        _ => Poll::Ready(Err(error)),
                    };
                }
                Poll::Ready(Err(error)) => {
                    let is_end = error.kind() == io::ErrorKind::UnexpectedEof;
                    tap.upstream_gone((!is_end).then_some(&error));
                    if tap.closing.is_none() {
                        // It has closed as it should.
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Pending if std::mem::take(&mut tap.must_drain) => tap.is_drained = true,
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let tap = &mut *self;
        if !matches!(tap.phase, Phase::Open) {
            let written = Pin::new(&mut tap.socket).poll_write(cx, bytes);
            if written.is_pending()
                && let Poll::Ready(Err(error)) = tap.poll_clock()
            {
                return Poll::Ready(Err(error));
            }
            return written;
        }
        tap.watch(false);
        let written = loop {
            if let Poll::Ready(written) = tap.poll_pass(cx, bytes) {
                break written;
            }
            if !tap.is_stuck() {
                return Poll::Pending;
            }
        };
        tap.blocked_since = None;
        tap.followed_client();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tap = &mut *self;
        if !matches!(tap.phase, Phase::Open) {
            return Pin::new(&mut tap.socket).poll_flush(cx);
        }
        loop {
            if tap.upstream_is_broken {
                return Poll::Ready(Ok(()));
            }
            match tap.poll_own(cx) {
                Poll::Ready(Err(_)) => {
                    tap.upstream_is_broken = true;
                    continue;
                }
                Poll::Ready(Ok(())) => match Pin::new(&mut tap.socket).poll_flush(cx) {
                    Poll::Ready(Ok(())) => {
                        tap.blocked_since = None;
                        return Poll::Ready(Ok(()));
                    }
                    Poll::Ready(Err(_)) => {
                        tap.upstream_is_broken = true;
                        continue;
                    }
                    Poll::Pending => {}
                },
                Poll::Pending => {}
            }
            if !tap.is_stuck() {
                return Poll::Pending;
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_open = matches!(self.phase, Phase::Open);
        if is_open && self.closing.is_none() && self.from_client.close.is_none() {
            let (initiator, code) = (Initiator::Client, None);
            self.session.finish(End { initiator, code, reason: CLIENT_GONE.into() });
        }
        self.client_gone();
        if is_open {
            if self.from_client.close.is_none() {
                // Over HTTP/2 the response ends with the request.
                self.client_has_ended = true;
                self.session.wake();
            }
            self.end_soon();
            if self.upstream_is_broken {
                return Poll::Ready(Ok(()));
            }
        }
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.client_gone();
    }
}

impl VirtualSocket for Tap {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        let Some(socket) = self.socket.tcp() else { return Ok(()) };
        match option {
            VirtualSockOpt::NoDelay => socket.set_nodelay(true),
            VirtualSockOpt::KeepAlive(keepalive) => {
                set_tcp_keepalive(socket, &keepalive).map_err(io::Error::other)
            }
            _ => Ok(()),
        }
    }
}

fn refusal_stopped() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, REFUSAL_STOPPED)
}

/// A key that a stranger can't foresee (RFC 6455, section 5.3).
fn mask() -> [u8; 4] {
    let [a, b, c, d, ..] = *uuid::Uuid::new_v4().as_bytes();
    [a, b, c, d]
}

/// Up to a tenth more or less, so that what began together does not end together.
fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.9 + 0.2 * super::chance())
}
