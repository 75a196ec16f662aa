use super::session::Session;
use super::settings::Bounds;
use super::watch::Watch;
use tidegate_http::websocket::frame::{
    Close, Event, Header, Opcode, ProtocolError, Scanner, Side, Tally, close_error, unmask,
};
use tokio::time::Instant;

/// Why a session must end for what one side sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Violation {
    /// A protocol error, where the route is strict.
    Protocol(ProtocolError),
    /// `max_frame_size`.
    FrameSize(u64),
    /// `max_message_size`.
    MessageSize(u64),
    /// `max_messages_per_second`.
    Rate(u32),
}

impl Violation {
    /// The close code for it (RFC 6455, section 7.4.1), and the reason.
    pub(super) fn close(self) -> (u16, String) {
        match self {
            Self::Protocol(error) => (1002, error.to_string()),
            Self::FrameSize(limit) => (1009, format!("a frame is over {limit} bytes")),
            Self::MessageSize(limit) => (1009, format!("a message is over {limit} bytes")),
            Self::Rate(limit) => (1008, format!("over {limit} messages a second")),
        }
    }

    /// Whether it is the close frame itself that is wrong.
    pub(super) fn is_of_close(self) -> bool {
        use ProtocolError::{CloseCode, ClosePayload, CloseReason};
        matches!(self, Self::Protocol(ClosePayload | CloseCode | CloseReason))
    }
}

/// A ping of ours that has not been answered yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outstanding {
    pub(super) payload: [u8; 8],
    pub(super) sent: Instant,
}

/// One direction of a tunnel: what has come by, and what is ours in it.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) scanner: Scanner,
    pub(super) tally: Tally,
    /// The close frame that came by.
    pub(super) close: Option<Box<Close>>,
    /// When anything last came this way.
    pub(super) last: Instant,
    own: Option<Box<Own>>,
    /// Our close frame has gone this way: nothing may follow it.
    pub(super) is_closed: bool,
    /// Who sends into it is gone: no message will be finished.
    pub(super) is_cut: bool,
    /// Whether the frame at the front has been judged: what can't be written comes again.
    is_judged: bool,
    /// Bytes of the message under way.
    message: u64,
    /// Who wants to know of it.
    pub(super) watch: Option<Box<Watch>>,
    /// Messages that may still come, and when that was so.
    allowance: (f64, Instant),
}

/// What few lanes have at a time, so that the others need no room for it.
#[derive(Debug, Default)]
struct Own {
    /// Bytes that go before anything else does.
    out: Vec<u8>,
    /// A frame of ours that waits for its place.
    waiting: Option<Waiting>,
    /// Our ping to the side that sends into this lane: its pong is for us.
    ping: Option<Outstanding>,
    /// A frame of which too little has come to be judged.
    held: Vec<u8>,
}

#[derive(Debug)]
enum Waiting {
    /// May stand between two fragments.
    Ping(Vec<u8>),
    /// Must stand between two messages.
    Close(Vec<u8>),
}

/// What becomes of the bytes at the front.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Screened {
    /// So many go on.
    Pass(usize),
    /// So many have been kept or swallowed.
    Taken(usize),
    /// None of them may go on.
    Violation(Violation),
}

impl Lane {
    pub(super) fn new(side: Side, allow_rsv1: bool, now: Instant) -> Self {
        Self {
            scanner: Scanner::new(side, allow_rsv1),
            tally: Tally::default(),
            close: None,
            last: now,
            own: None,
            is_closed: false,
            is_cut: false,
            is_judged: false,
            message: 0,
            watch: None,
            allowance: (f64::INFINITY, now),
        }
    }

    fn own(&mut self) -> &mut Own {
        self.own.get_or_insert_default()
    }

    /// Gives the room back when there is nothing in it.
    fn tidy(&mut self) {
        let is_empty = self.own.as_ref().is_some_and(|own| {
            own.out.is_empty() && own.waiting.is_none() && own.ping.is_none() && own.held.is_empty()
        });
        if is_empty {
            self.own = None;
        }
    }

    /// Bytes that go before anything else does.
    pub(super) fn out(&self) -> &[u8] {
        self.own.as_ref().map_or(&[], |own| &own.out)
    }

    /// So many of them have gone.
    pub(super) fn gone(&mut self, count: usize) {
        if let Some(own) = &mut self.own {
            own.out.drain(..count.min(own.out.len()));
        }
        self.tidy();
    }

    /// Forgets what is ours in it, and what was held back.
    pub(super) fn drop_own(&mut self) {
        self.own = None;
    }

    /// Our ping to the side that sends into this lane.
    pub(super) fn ping(&self) -> Option<Outstanding> {
        self.own.as_ref().and_then(|own| own.ping)
    }

    /// Notes a ping to the side that sends into this lane: its pong is for us.
    pub(super) fn pinged(&mut self, ping: Outstanding) {
        self.own().ping = Some(ping);
    }

    fn is_holding(&self) -> bool {
        self.own.as_ref().is_some_and(|own| !own.held.is_empty())
    }

    /// Puts a close frame in line; it is the last thing to go this way.
    pub(super) fn put_close(&mut self, frame: Vec<u8>) {
        self.own().waiting = Some(Waiting::Close(frame));
    }

    /// Puts a ping in line, unless something waits already.
    pub(super) fn put_ping(&mut self, frame: Vec<u8>) {
        if !self.is_closed {
            self.own().waiting.get_or_insert(Waiting::Ping(frame));
        }
    }

    /// Lets a frame of ours go, if its place is here.
    pub(super) fn place(&mut self) {
        let Some(own) = &mut self.own else { return };
        let fits = match &own.waiting {
            None => false,
            Some(Waiting::Ping(_)) => self.scanner.is_between_frames() && own.held.is_empty(),
            // RFC 6455, section 5.4: between fragments is in order too, if not as kind.
            Some(Waiting::Close(_)) if self.is_cut => self.scanner.is_between_frames(),
            Some(Waiting::Close(_)) => self.scanner.is_between_messages(),
        };
        if !fits || self.is_closed {
            return;
        }
        match own.waiting.take() {
            None => {}
            Some(Waiting::Ping(mut frame)) => own.out.append(&mut frame),
            Some(Waiting::Close(mut frame)) => {
                own.held.clear();
                own.out.append(&mut frame);
                self.is_closed = true;
            }
        }
    }

    /// How many bytes may go on at a time: while a frame of ours waits, none beyond the frame
    /// under way.
    pub(super) fn stride(&self) -> usize {
        if self.own.as_ref().is_none_or(|own| own.waiting.is_none()) {
            return usize::MAX;
        }
        usize::try_from(self.scanner.outstanding()).unwrap_or(usize::MAX).max(1)
    }

    /// Whether frames must be judged before they go on.
    pub(super) fn is_careful(&self, bounds: &Bounds) -> bool {
        bounds.judge() || self.ping().is_some() || self.is_holding()
    }

    /// Judges the bytes at the front, up to the end of a frame.
    pub(super) fn screen(&mut self, bytes: &[u8], bounds: &Bounds, session: &Session) -> Screened {
        let outstanding = self.scanner.outstanding();
        if outstanding > 0 && !self.is_holding() {
            let most = usize::try_from(outstanding).unwrap_or(usize::MAX);
            return Screened::Pass(most.min(bytes.len()));
        }
        if !self.is_holding()
            && let Some((header, length)) = Header::read(bytes)
        {
            if let Err(violation) = self.judge(&header, bounds) {
                return Screened::Violation(violation);
            }
            if !self.needs_payload(&header, bounds) {
                let whole = (length as u64).saturating_add(header.length);
                return Screened::Pass(
                    usize::try_from(whole).unwrap_or(usize::MAX).min(bytes.len()),
                );
            }
        }
        // Byte by byte: what is kept here is a header, a pong of eight bytes or a close frame.
        for (index, &byte) in bytes.iter().enumerate() {
            let held = &mut self.own().held;
            held.push(byte);
            let have = held.len();
            let Some((header, length)) = Header::read(held) else { continue };
            if have == length
                && let Err(violation) = self.judge(&header, bounds)
            {
                self.own().held.clear();
                return Screened::Violation(violation);
            }
            if !self.needs_payload(&header, bounds) {
                self.release(session);
                return Screened::Taken(index + 1);
            }
            if (have - length) as u64 == header.length {
                let own = self.own();
                let mut payload = own.held.get(length..).unwrap_or_default().to_vec();
                unmask(&mut payload, header.mask);
                if header.opcode == Opcode::Close {
                    if let Some(error) = close_error(&payload) {
                        own.held.clear();
                        return Screened::Violation(Violation::Protocol(error));
                    }
                    self.release(session);
                } else if own.ping.is_some_and(|ping| payload.starts_with(&ping.payload[..4])) {
                    // One that comes late answers an earlier ping, and is ours as well.
                    own.ping = own.ping.filter(|ping| ping.payload != *payload);
                    own.held.clear();
                    self.is_judged = false;
                } else {
                    self.release(session);
                }
                self.tidy();
                return Screened::Taken(index + 1);
            }
        }
        Screened::Taken(bytes.len())
    }

    /// Lets go what was held.
    fn release(&mut self, session: &Session) {
        let mut held = std::mem::take(&mut self.own().held);
        self.scan(&held, session);
        self.own().out.append(&mut held);
    }

    /// Whether a frame's payload decides what happens to it. `judge` has found its length in order.
    fn needs_payload(&self, header: &Header, bounds: &Bounds) -> bool {
        self.may_be_ours(header) || bounds.strict && header.opcode == Opcode::Close
    }

    /// Whether it may be the pong that answers a ping of ours.
    fn may_be_ours(&self, header: &Header) -> bool {
        self.ping().is_some() && header.opcode == Opcode::Pong && header.fin && header.length == 8
    }

    fn judge(&mut self, header: &Header, bounds: &Bounds) -> Result<(), Violation> {
        if std::mem::replace(&mut self.is_judged, true) {
            return Ok(());
        }
        if bounds.strict
            && let Some(error) = self.scanner.errors(header).into_iter().flatten().next()
        {
            return Err(Violation::Protocol(error));
        }
        if header.opcode.is_control() {
            return Ok(());
        }
        if let Some(limit) = bounds.frame_size
            && header.length > limit
        {
            return Err(Violation::FrameSize(limit));
        }
        let is_first = header.opcode != Opcode::Continuation;
        let so_far = if is_first { 0 } else { self.message };
        self.message = so_far.saturating_add(header.length);
        if let Some(limit) = bounds.message_size
            && self.message > limit
        {
            return Err(Violation::MessageSize(limit));
        }
        match bounds.messages_per_second {
            Some(limit) if is_first => self.spend(limit),
            _ => Ok(()),
        }
    }

    /// Takes one message off the allowance, which refills all the time.
    fn spend(&mut self, limit: u32) -> Result<(), Violation> {
        let (left, then) = self.allowance;
        let now = Instant::now();
        let refill = now.duration_since(then).as_secs_f64() * f64::from(limit);
        let left = (left + refill).min(f64::from(limit));
        if left < 1.0 {
            return Err(Violation::Rate(limit));
        }
        self.allowance = (left - 1.0, now);
        Ok(())
    }

    /// Follows bytes that go on.
    pub(super) fn scan(&mut self, bytes: &[u8], session: &Session) {
        self.is_judged = false;
        let Self { scanner, tally, close, watch, .. } = self;
        scanner.feed(bytes, |event, _| {
            tally.note(&event);
            if let Some(watch) = watch {
                watch.note(session, &event);
            }
            if let Event::Close(seen) = event {
                close.get_or_insert_with(|| Box::new(seen));
            }
            true
        });
        tally.bytes += bytes.len() as u64;
    }

    /// Judges bytes that have been received, and follows those that go on. Tells how many of them
    /// go on as they lie there, or, when some had to be taken out, `None`: then all is in `out`.
    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        bounds: &Bounds,
        session: &Session,
    ) -> (Option<usize>, Option<Violation>) {
        let (mut at, mut in_place) = (0, self.out().is_empty());
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match self.screen(rest, bounds, session) {
                Screened::Pass(count) => {
                    let passed = rest.get(..count).unwrap_or_default();
                    self.scan(passed, session);
                    if !in_place {
                        self.own().out.extend_from_slice(passed);
                    }
                    at += count;
                }
                Screened::Taken(count) => {
                    if in_place {
                        in_place = false;
                        let out = &mut self.own().out;
                        let released = std::mem::take(out);
                        out.extend_from_slice(bytes.get(..at).unwrap_or_default());
                        out.extend_from_slice(&released);
                    }
                    at += count;
                }
                Screened::Violation(violation) => {
                    return (in_place.then_some(at), Some(violation));
                }
            }
        }
        (in_place.then_some(at), None)
    }
}
