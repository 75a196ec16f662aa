use super::frame::{Close, Event, Header, Opcode, ProtocolError, Scanner, Side, Tally, unmask};
use super::session::Session;
use super::settings::Bounds;
use super::watch::Watch;
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
    pub(super) close: Option<Close>,
    /// When anything last came this way.
    pub(super) last: Instant,
    /// Bytes that go before anything else does.
    pub(super) out: Vec<u8>,
    /// A frame of ours that waits for its place.
    waiting: Option<Waiting>,
    /// Our close frame has gone this way: nothing may follow it.
    pub(super) is_closed: bool,
    /// Who sends into it is gone: no message will be finished.
    pub(super) is_cut: bool,
    /// Our ping to the side that sends into this lane: its pong is for us.
    pub(super) ping: Option<Outstanding>,
    /// A frame of which too little has come to be judged.
    held: Vec<u8>,
    /// Whether the frame at the front has been judged: what can't be written comes again.
    is_judged: bool,
    /// Bytes of the message under way.
    message: u64,
    /// Who wants to know of it.
    pub(super) watch: Option<Box<Watch>>,
    /// Messages that may still come, and when that was so.
    allowance: (f64, Instant),
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
            out: Vec::new(),
            waiting: None,
            is_closed: false,
            is_cut: false,
            ping: None,
            held: Vec::new(),
            is_judged: false,
            message: 0,
            watch: None,
            allowance: (f64::INFINITY, now),
        }
    }

    /// Puts a close frame in line; it is the last thing to go this way.
    pub(super) fn put_close(&mut self, frame: Vec<u8>) {
        self.waiting = Some(Waiting::Close(frame));
    }

    /// Puts a ping in line, unless something waits already.
    pub(super) fn put_ping(&mut self, frame: Vec<u8>) {
        if !self.is_closed {
            self.waiting.get_or_insert(Waiting::Ping(frame));
        }
    }

    /// Lets a frame of ours go, if its place is here.
    pub(super) fn place(&mut self) {
        let fits = match &self.waiting {
            None => false,
            Some(Waiting::Ping(_)) => self.scanner.is_between_frames() && self.held.is_empty(),
            // RFC 6455, section 5.4: between fragments is in order too, if not as kind.
            Some(Waiting::Close(_)) if self.is_cut => self.scanner.is_between_frames(),
            Some(Waiting::Close(_)) => self.scanner.is_between_messages(),
        };
        if fits && !self.is_closed {
            match self.waiting.take() {
                None => {}
                Some(Waiting::Ping(mut frame)) => self.out.append(&mut frame),
                Some(Waiting::Close(mut frame)) => {
                    self.held.clear();
                    self.out.append(&mut frame);
                    self.is_closed = true;
                }
            }
        }
    }

    /// How many bytes may go on at a time: while a frame of ours waits, none beyond the frame
    /// under way.
    pub(super) fn stride(&self) -> usize {
        if self.waiting.is_none() {
            return usize::MAX;
        }
        usize::try_from(self.scanner.outstanding()).unwrap_or(usize::MAX).max(1)
    }

    /// Whether frames must be judged before they go on.
    pub(super) fn is_careful(&self, bounds: &Bounds) -> bool {
        bounds.judge() || self.ping.is_some() || !self.held.is_empty()
    }

    /// Judges the bytes at the front, up to the end of a frame.
    pub(super) fn screen(&mut self, bytes: &[u8], bounds: &Bounds, session: &Session) -> Screened {
        let outstanding = self.scanner.outstanding();
        if outstanding > 0 && self.held.is_empty() {
            let most = usize::try_from(outstanding).unwrap_or(usize::MAX);
            return Screened::Pass(most.min(bytes.len()));
        }
        if self.held.is_empty()
            && let Some((header, length)) = Header::read(bytes)
        {
            if let Err(violation) = self.judge(&header, bounds) {
                return Screened::Violation(violation);
            }
            if !self.may_be_ours(&header) {
                let whole = (length as u64).saturating_add(header.length);
                return Screened::Pass(
                    usize::try_from(whole).unwrap_or(usize::MAX).min(bytes.len()),
                );
            }
        }
        // Byte by byte: what is kept here is a header, or a pong of eight bytes.
        for (index, &byte) in bytes.iter().enumerate() {
            self.held.push(byte);
            let Some((header, length)) = Header::read(&self.held) else { continue };
            if self.held.len() == length
                && let Err(violation) = self.judge(&header, bounds)
            {
                self.held.clear();
                return Screened::Violation(violation);
            }
            if !self.may_be_ours(&header) {
                let mut held = std::mem::take(&mut self.held);
                self.scan(&held, session);
                self.out.append(&mut held);
                return Screened::Taken(index + 1);
            }
            if (self.held.len() - length) as u64 == header.length {
                let mut held = std::mem::take(&mut self.held);
                let mut payload = held.split_off(length);
                unmask(&mut payload, header.mask);
                if self.ping.is_some_and(|ping| ping.payload == *payload) {
                    self.ping = None;
                } else {
                    unmask(&mut payload, header.mask);
                    held.append(&mut payload);
                    self.scan(&held, session);
                    self.out.append(&mut held);
                }
                return Screened::Taken(index + 1);
            }
        }
        Screened::Taken(bytes.len())
    }

    /// Whether it may be the pong that answers a ping of ours.
    fn may_be_ours(&self, header: &Header) -> bool {
        self.ping.is_some() && header.opcode == Opcode::Pong && header.fin && header.length == 8
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
                close.get_or_insert(seen);
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
        let (mut at, mut in_place) = (0, self.out.is_empty());
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match self.screen(rest, bounds, session) {
                Screened::Pass(count) => {
                    let passed = rest.get(..count).unwrap_or_default();
                    self.scan(passed, session);
                    if !in_place {
                        self.out.extend_from_slice(passed);
                    }
                    at += count;
                }
                Screened::Taken(count) => {
                    if in_place {
                        in_place = false;
                        let released = std::mem::take(&mut self.out);
                        self.out.extend_from_slice(bytes.get(..at).unwrap_or_default());
                        self.out.extend_from_slice(&released);
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
