use super::frame::{self, Side};
use super::head::{Answer, Heads};
use super::lane::{Lane, Outstanding, Screened, Violation};
use super::session::{End, Initiator, Session};
use super::settings::{LogFrames, Settings};
use super::watch::{Watch, Watcher};
use super::wire::Wire;
use pingora::protocols::l4::ext::set_tcp_keepalive;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How long the closing handshake may take once the gateway has begun it.
const CLOSING: Duration = Duration::from_secs(5);

/// How the reason begins with which a client gets [`INTERNAL_ERROR`].
pub const UPSTREAM_GONE: &str = "the upstream's connection";

/// RFC 6455, section 7.4.1: an endpoint goes away.
const GOING_AWAY: u16 = 1001;

/// RFC 6455, section 7.4.1: what a client gets whose upstream broke off.
const INTERNAL_ERROR: u16 = 1011;

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
    /// Both have said that they close, and yet neither may end its connection: by then it is ended.
    linger: Option<Instant>,
    /// When the session has lasted long enough.
    lifetime_end: Option<Instant>,
    handshake_end: Instant,
    /// How the payloads of this session's pings begin, and how many there have been.
    ping_key: [u8; 4],
    pings: u32,
    /// When to look at the clock again; none when nothing is bounded.
    alarm: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum Phase {
    /// The upstream has not answered the handshake.
    Handshake(Heads),
    /// It has refused: the rest is HTTP.
    Refused,
    /// Frames.
    Open,
}

impl Tap {
    pub(super) fn new(
        socket: Wire,
        session: Arc<Session>,
        settings: Arc<Settings>,
        watcher: Option<Arc<dyn Watcher>>,
        handshake_timeout: Duration,
    ) -> Self {
        let now = Instant::now();
        Self {
            socket,
            session,
            settings,
            watcher,
            is_warm: false,
            phase: Phase::Handshake(Heads::default()),
            from_client: Lane::new(Side::Client, false, now),
            from_upstream: Lane::new(Side::Upstream, false, now),
            upstream_has_ended: false,
            upstream_is_broken: false,
            closing: None,
            linger: None,
            lifetime_end: None,
            handshake_end: now + handshake_timeout,
            ping_key: mask(),
            pings: 0,
            alarm: None,
        }
    }

    fn open(&mut self, deflate: bool) {
        let now = Instant::now();
        self.phase = Phase::Open;
        self.from_client = Lane::new(Side::Client, deflate, now);
        self.from_upstream = Lane::new(Side::Upstream, deflate, now);
        self.watch(deflate);
        self.lifetime_end = self.settings.max_lifetime.map(|lifetime| now + jittered(lifetime));
        self.alarm = None;
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
        self.closing = Some(Instant::now() + CLOSING);
        self.alarm = None;
        self.session.wake();
    }

    /// A frame may not go on; the message that it may belong to will never be whole.
    fn violated(&mut self, side: Side, violation: Violation) {
        match side {
            Side::Client => self.from_client.is_cut = true,
            Side::Upstream => self.from_upstream.is_cut = true,
        }
        let (code, reason) = violation.close();
        self.close(End::new(Initiator::Limit, code, reason));
    }

    /// The upstream's connection has ended, in good order or not.
    fn upstream_gone(&mut self, error: Option<&io::Error>) {
        self.upstream_has_ended = true;
        self.upstream_is_broken |= error.is_some();
        self.from_upstream.is_cut = true;
        if self.from_upstream.close.is_some() && self.from_client.close.is_none() {
            // It has closed as it should, and still waits for the client's answer.
            self.closing.get_or_insert(Instant::now() + CLOSING);
            self.alarm = None;
        }
        if self.from_upstream.close.is_some() || self.from_upstream.is_closed {
            return;
        }
        // What the client has asked for already is answered in the upstream's place.
        let asked = self.from_client.close.as_ref().map(|close| close.code.unwrap_or(1000));
        let reason = match error {
            None => format!("{UPSTREAM_GONE} ended without a close frame"),
            Some(error) => format!("{UPSTREAM_GONE} broke: {}", error.kind()),
        };
        let code = asked.filter(|&code| frame::is_sendable(code)).unwrap_or(INTERNAL_ERROR);
        // Within a frame there is no place for a close frame: then no code is sent, nor logged.
        let code = self.from_upstream.scanner.is_between_frames().then_some(code);
        let reason = reason.into();
        self.close(End { initiator: Initiator::Upstream, code, reason });
    }

    /// The client's connection has ended: the upstream is told so, if nobody has.
    fn client_gone(&mut self) {
        let is_open = matches!(self.phase, Phase::Open);
        if !is_open || self.from_client.close.is_some() || self.from_client.is_closed {
            return;
        }
        let reason = "the client's connection ended without a close frame";
        if self.closing.is_none() {
            let end = End { initiator: Initiator::Client, code: None, reason: reason.into() };
            self.session.finish(end);
        }
        self.from_client.is_cut = true;
        self.from_client.put_close(frame::close(GOING_AWAY, reason, Some(mask())));
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

    /// Notes what a peer's close frame says; the first one ends the session.
    fn note_closes(&mut self) {
        if self.linger.is_none()
            && self.from_client.close.is_some()
            && self.from_upstream.close.is_some()
        {
            self.linger = Some(Instant::now() + CLOSING);
            self.alarm = None;
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

    /// Does what the clock and orders from outside ask for. Ready when the session must end now.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if matches!(self.phase, Phase::Open)
                && let Some(order) = self.session.ordered()
                && self.closing.is_none()
            {
                let order = order.clone();
                self.close(order);
            }
            let now = Instant::now();
            let Some(next) = self.next_deadline(now)? else { return Poll::Pending };
            if let Some(due) = next {
                let alarm = match &mut self.alarm {
                    Some(alarm) => {
                        if alarm.deadline() > due {
                            alarm.as_mut().reset(due);
                        }
                        alarm
                    }
                    none => none.insert(Box::pin(tokio::time::sleep_until(due))),
                };
                ready!(alarm.as_mut().poll(cx));
                self.alarm = None;
                continue;
            }
            return Poll::Ready(Ok(()));
        }
    }

    /// What is due next: `None` for nothing ever, `Some(None)` for the end of the session now.
    /// What is due already is done.
    fn next_deadline(&mut self, now: Instant) -> io::Result<Option<Option<Instant>>> {
        match self.phase {
            Phase::Refused => return Ok(None),
            Phase::Handshake(_) if self.handshake_end <= now => {
                self.session.finish(End {
                    initiator: Initiator::Handshake,
                    code: None,
                    reason: "the upstream did not answer the handshake".into(),
                });
                return Err(io::ErrorKind::TimedOut.into());
            }
            Phase::Handshake(_) => return Ok(Some(Some(self.handshake_end))),
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
        let is_old = self.lifetime_end.is_some_and(&mut due);
        if self.linger.is_some_and(&mut due) {
            return Ok(Some(None));
        }
        if is_idle {
            self.close(End::new(Initiator::Idle, GOING_AWAY, "idle for too long"));
        } else if is_old {
            self.close(End::new(Initiator::Lifetime, GOING_AWAY, "it has lasted long enough"));
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
            self.upstream_has_ended = true;
            self.upstream_is_broken = true;
            self.from_upstream.is_cut = true;
            let reason = format!("the upstream answered no ping within {timeout}");
            self.close(End::new(Initiator::Network, INTERNAL_ERROR, reason));
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
            ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        }
        if buffer.filled().len() == start {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        let mut frames = start;
        if let Phase::Handshake(heads) = &mut self.phase {
            let bytes = buffer.filled().get(start..).unwrap_or_default();
            match heads.feed(bytes) {
                None => return Poll::Ready(Ok(true)),
                Some((_, Answer::Refusal)) => self.phase = Phase::Refused,
                Some((length, Answer::Frames { deflate })) => {
                    frames += length;
                    self.open(deflate);
                }
            }
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
        loop {
            let is_over = match tap.poll_clock(cx) {
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
            if is_over {
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
            return Pin::new(&mut tap.socket).poll_write(cx, bytes);
        }
        tap.watch(false);
        let written = loop {
            if !tap.upstream_is_broken && ready!(tap.poll_own(cx)).is_err() {
                tap.upstream_is_broken = true;
            }
            if tap.from_client.is_closed || tap.upstream_is_broken {
                // Nothing follows a close frame; the client's own is what is waited for.
                tap.from_client.scan(bytes, &tap.session);
                break bytes.len();
            }
            let stride = tap.from_client.stride().min(bytes.len());
            let front = bytes.get(..stride).unwrap_or_default();
            let count = match tap.from_client.is_careful(&tap.settings.bounds) {
                false => front.len(),
                true => match tap.from_client.screen(front, &tap.settings.bounds, &tap.session) {
                    Screened::Pass(count) => count,
                    Screened::Taken(count) => break count,
                    Screened::Violation(violation) => {
                        tap.violated(Side::Client, violation);
                        continue;
                    }
                },
            };
            let front = front.get(..count).unwrap_or_default();
            let Ok(count) = ready!(Pin::new(&mut tap.socket).poll_write(cx, front)) else {
                // Reading will tell why, behind all that the upstream has still said; the client
                // then gets a close frame instead of a bare cut.
                tap.upstream_is_broken = true;
                continue;
            };
            tap.from_client.scan(front.get(..count).unwrap_or_default(), &tap.session);
            break count;
        };
        tap.followed_client();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.upstream_is_broken && ready!(self.poll_own(cx)).is_err() {
            self.upstream_is_broken = true;
        }
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.client_gone();
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

/// A key that a stranger can't foresee (RFC 6455, section 5.3).
fn mask() -> [u8; 4] {
    let [a, b, c, d, ..] = *uuid::Uuid::new_v4().as_bytes();
    [a, b, c, d]
}

/// Up to a tenth more or less, so that what began together does not end together.
fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.9 + 0.2 * super::chance())
}
