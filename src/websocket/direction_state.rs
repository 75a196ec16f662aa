//! One direction of a tunnel: what has passed, what the gateway injects, and what it holds back to check.
//! Knows nothing of sockets, of the other direction and of the clock's deadlines.

use super::observer::MessageObserver;
use super::session::Session;
use super::settings::FrameLimits;
use super::violation::Violation;
use tidegate_http::websocket::frame::{
    ClosePayload, Direction, Event, FrameCounts, FrameHeader, Opcode, Scanner, close_error, unmask,
};
use tokio::time::Instant;

/// A ping from the gateway that is not answered yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct OutstandingPing {
    pub(super) payload: [u8; 8],
    pub(super) sent_at: Instant,
}

/// The state of one direction of a tunnel.
///
/// "The sender" is the peer whose frames go this way; "the receiver" gets them.
#[derive(Debug)]
pub(super) struct DirectionState {
    pub(super) scanner: Scanner,
    pub(super) counts: FrameCounts,
    /// The close frame that the sender sent.
    pub(super) close: Option<Box<ClosePayload>>,
    /// When the sender last sent anything.
    pub(super) last_activity: Instant,
    injected: Option<Box<InjectionState>>,
    /// The gateway has sent a close frame of its own this way: nothing may follow it.
    pub(super) is_closed: bool,
    /// The sender is gone, or the gateway ignores it: no message will be finished.
    pub(super) is_cut: bool,
    /// Whether the frame at the front has been checked: bytes that cannot be written come again.
    is_checked: bool,
    /// Length of the current message so far, in bytes.
    message_length: u64,
    /// The observer of its messages, if there is one.
    pub(super) observer: Option<Box<MessageObserver>>,
    /// Messages that the sender may still send, and when that was counted.
    allowance: (f64, Instant),
}

/// State that few directions need at the same moment. It is boxed, so that the others use no memory for it.
#[derive(Debug, Default)]
struct InjectionState {
    /// Bytes that go to the receiver before anything else.
    pending: Vec<u8>,
    /// A frame of the gateway that waits for a border of frames or messages.
    waiting: Option<WaitingFrame>,
    /// A message of the gateway that waits for a border of messages. Pings do not wait for it.
    message: Option<Vec<u8>>,
    /// The gateway's ping to the sender: its pong is for the gateway.
    ping: Option<OutstandingPing>,
    /// The beginning of a frame that cannot be checked yet.
    held_back: Vec<u8>,
}

#[derive(Debug)]
enum WaitingFrame {
    /// May go between two fragments.
    Ping(Vec<u8>),
    /// Must go between two messages.
    Close(Vec<u8>),
}

/// The result of [`DirectionState::inspect`] for the bytes at the front.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum InspectionOutcome {
    /// This many bytes go to the receiver unchanged.
    Forward(usize),
    /// This many bytes have been held back or dropped.
    Taken(usize),
    /// None of them may go to the receiver.
    Violation(Violation),
}

impl DirectionState {
    pub(super) fn new(direction: Direction, allow_rsv1: bool, now: Instant) -> Self {
        Self {
            scanner: Scanner::new(direction, allow_rsv1),
            counts: FrameCounts::default(),
            close: None,
            last_activity: now,
            injected: None,
            is_closed: false,
            is_cut: false,
            is_checked: false,
            message_length: 0,
            observer: None,
            allowance: (f64::INFINITY, now),
        }
    }

    fn injected_mut(&mut self) -> &mut InjectionState {
        self.injected.get_or_insert_default()
    }

    /// Frees the box when nothing is in it.
    fn free_if_empty(&mut self) {
        let is_empty = self.injected.as_ref().is_some_and(|injected| {
            injected.pending.is_empty()
                && injected.waiting.is_none()
                && injected.message.is_none()
                && injected.ping.is_none()
                && injected.held_back.is_empty()
        });
        if is_empty {
            self.injected = None;
        }
    }

    /// Bytes that go to the receiver before anything else.
    pub(super) fn pending(&self) -> &[u8] {
        self.injected.as_ref().map_or(&[], |injected| &injected.pending)
    }

    /// Removes this many of the pending bytes, which have been written.
    pub(super) fn consume(&mut self, count: usize) {
        if let Some(injected) = &mut self.injected {
            injected.pending.drain(..count.min(injected.pending.len()));
        }
        self.free_if_empty();
    }

    /// Drops the gateway's own frames, and what was held back.
    pub(super) fn discard_injected(&mut self) {
        self.injected = None;
    }

    /// The gateway's ping to the sender.
    pub(super) fn ping(&self) -> Option<OutstandingPing> {
        self.injected.as_ref().and_then(|injected| injected.ping)
    }

    /// Records a ping to the sender: its pong is for the gateway.
    pub(super) fn record_ping(&mut self, ping: OutstandingPing) {
        self.injected_mut().ping = Some(ping);
    }

    fn is_holding_back(&self) -> bool {
        self.injected.as_ref().is_some_and(|injected| !injected.held_back.is_empty())
    }

    /// Queues a close frame, the last one to go this way.
    pub(super) fn inject_close(&mut self, frame: Vec<u8>) {
        self.injected_mut().waiting = Some(WaitingFrame::Close(frame));
    }

    /// Queues a ping, unless a frame waits already.
    pub(super) fn inject_ping(&mut self, frame: Vec<u8>) {
        if !self.is_closed {
            self.injected_mut().waiting.get_or_insert(WaitingFrame::Ping(frame));
        }
    }

    /// Queues a message of the gateway, in the place of one that waits already.
    pub(super) fn inject_message(&mut self, frame: Vec<u8>) {
        if !self.is_closed {
            self.injected_mut().message = Some(frame);
        }
    }

    /// Moves the waiting message and the waiting frame to the pending bytes, if the receiver is at a border where they
    /// may go.
    pub(super) fn flush_injected(&mut self) {
        let Some(injected) = &mut self.injected else { return };
        if self.close.is_some() || matches!(injected.waiting, Some(WaitingFrame::Close(_))) {
            // The session ends: nobody needs the message any more, and none may follow a close frame.
            injected.message = None;
        } else if self.scanner.is_between_messages()
            && injected.held_back.is_empty()
            && let Some(mut frame) = injected.message.take()
        {
            injected.pending.append(&mut frame);
        }
        self.flush_waiting();
    }

    /// Moves the waiting frame to the pending bytes, if the receiver is at a border where it may go.
    fn flush_waiting(&mut self) {
        let Some(injected) = &mut self.injected else { return };
        let fits = match &injected.waiting {
            None => false,
            Some(WaitingFrame::Ping(_)) => {
                self.scanner.is_between_frames() && injected.held_back.is_empty()
            }
            // RFC 6455, section 5.4: between fragments is allowed too, if less kind.
            Some(WaitingFrame::Close(_)) if self.is_cut => self.scanner.is_between_frames(),
            Some(WaitingFrame::Close(_)) => self.scanner.is_between_messages(),
        };
        if !fits || self.is_closed {
            return;
        }
        match injected.waiting.take() {
            None => {}
            Some(WaitingFrame::Ping(mut frame)) => injected.pending.append(&mut frame),
            Some(WaitingFrame::Close(mut frame)) => {
                injected.held_back.clear();
                injected.pending.append(&mut frame);
                self.is_closed = true;
            }
        }
    }

    /// How many bytes may be forwarded in one step: while a frame or message of the gateway waits, none beyond
    /// the current frame.
    pub(super) fn max_step(&self) -> usize {
        let is_waiting =
            |injected: &InjectionState| injected.waiting.is_some() || injected.message.is_some();
        if !self.injected.as_deref().is_some_and(is_waiting) {
            return usize::MAX;
        }
        usize::try_from(self.scanner.outstanding()).unwrap_or(usize::MAX).max(1)
    }

    /// Whether frames must be inspected before they are forwarded.
    pub(super) fn must_inspect(&self, limits: &FrameLimits) -> bool {
        limits.is_enabled() || self.ping().is_some() || self.is_holding_back()
    }

    /// Decides about the bytes at the front, up to the end of a frame.
    pub(super) fn inspect(
        &mut self,
        bytes: &[u8],
        limits: &FrameLimits,
        session: &Session,
    ) -> InspectionOutcome {
        let outstanding = self.scanner.outstanding();
        if outstanding > 0 && !self.is_holding_back() {
            let most = usize::try_from(outstanding).unwrap_or(usize::MAX);
            return InspectionOutcome::Forward(most.min(bytes.len()));
        }
        if !self.is_holding_back()
            && let Some((header, length)) = FrameHeader::parse(bytes)
        {
            if let Err(violation) = self.check_limits(&header, limits) {
                return InspectionOutcome::Violation(violation);
            }
            if !self.needs_payload(&header, limits) {
                let whole = (length as u64).saturating_add(header.length);
                return InspectionOutcome::Forward(
                    usize::try_from(whole).unwrap_or(usize::MAX).min(bytes.len()),
                );
            }
        }
        // Byte by byte: only a header, a pong of eight bytes or a close frame is held back.
        for (index, &byte) in bytes.iter().enumerate() {
            let held_back = &mut self.injected_mut().held_back;
            held_back.push(byte);
            let have = held_back.len();
            let Some((header, length)) = FrameHeader::parse(held_back) else { continue };
            if have == length
                && let Err(violation) = self.check_limits(&header, limits)
            {
                self.injected_mut().held_back.clear();
                return InspectionOutcome::Violation(violation);
            }
            if !self.needs_payload(&header, limits) {
                self.release(session);
                return InspectionOutcome::Taken(index + 1);
            }
            if (have - length) as u64 == header.length {
                let injected = self.injected_mut();
                let mut payload = injected.held_back.get(length..).unwrap_or_default().to_vec();
                unmask(&mut payload, header.mask);
                if header.opcode == Opcode::Close {
                    if let Some(error) = close_error(&payload) {
                        injected.held_back.clear();
                        return InspectionOutcome::Violation(Violation::Protocol(error));
                    }
                    self.release(session);
                } else if injected.ping.is_some_and(|ping| payload.starts_with(&ping.payload[..4]))
                {
                    // A late pong answers an earlier ping, and is for the gateway as well.
                    injected.ping = injected.ping.filter(|ping| ping.payload != *payload);
                    injected.held_back.clear();
                    self.is_checked = false;
                } else {
                    self.release(session);
                }
                self.free_if_empty();
                return InspectionOutcome::Taken(index + 1);
            }
        }
        InspectionOutcome::Taken(bytes.len())
    }

    /// Forwards what was held back.
    fn release(&mut self, session: &Session) {
        let mut held_back = std::mem::take(&mut self.injected_mut().held_back);
        self.track(&held_back, session);
        self.injected_mut().pending.append(&mut held_back);
    }

    /// Whether the payload of a frame decides about it. `check_limits` has accepted its length.
    fn needs_payload(&self, header: &FrameHeader, limits: &FrameLimits) -> bool {
        self.may_answer_ping(header) || limits.strict && header.opcode == Opcode::Close
    }

    /// Whether it may be the pong that answers the gateway's ping.
    fn may_answer_ping(&self, header: &FrameHeader) -> bool {
        self.ping().is_some() && header.opcode == Opcode::Pong && header.fin && header.length == 8
    }

    /// Checks a frame against the limits of the route, once.
    fn check_limits(
        &mut self,
        header: &FrameHeader,
        limits: &FrameLimits,
    ) -> Result<(), Violation> {
        if std::mem::replace(&mut self.is_checked, true) {
            return Ok(());
        }
        if limits.strict
            && let Some(error) = self.scanner.errors(header).into_iter().flatten().next()
        {
            return Err(Violation::Protocol(error));
        }
        if header.opcode.is_control() {
            return Ok(());
        }
        if let Some(limit) = limits.frame_size
            && header.length > limit
        {
            return Err(Violation::FrameSize(limit));
        }
        let is_first = header.opcode != Opcode::Continuation;
        let so_far = if is_first { 0 } else { self.message_length };
        self.message_length = so_far.saturating_add(header.length);
        if let Some(limit) = limits.message_size
            && self.message_length > limit
        {
            return Err(Violation::MessageSize(limit));
        }
        match limits.messages_per_second {
            Some(limit) if is_first => self.take_allowance(limit),
            _ => Ok(()),
        }
    }

    /// Takes one message off the allowance, which refills continuously.
    fn take_allowance(&mut self, limit: u32) -> Result<(), Violation> {
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

    /// Counts and observes bytes that are forwarded.
    pub(super) fn track(&mut self, bytes: &[u8], session: &Session) {
        self.is_checked = false;
        let Self { scanner, counts, close, observer, .. } = self;
        scanner.feed(bytes, |event, _| {
            event.count_in(counts);
            if let Some(observer) = observer {
                observer.record(session, &event);
            }
            if let Event::Close(seen) = event {
                close.get_or_insert_with(|| Box::new(seen));
            }
            true
        });
        counts.bytes += bytes.len() as u64;
    }

    /// Inspects bytes that the sender sent, and tracks those that are forwarded. Returns how many can be
    /// forwarded in place; `None` if some had to be taken out, and all are in the pending bytes.
    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        limits: &FrameLimits,
        session: &Session,
    ) -> (Option<usize>, Option<Violation>) {
        let (mut at, mut in_place) = (0, self.pending().is_empty());
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match self.inspect(rest, limits, session) {
                InspectionOutcome::Forward(count) => {
                    let passed = rest.get(..count).unwrap_or_default();
                    self.track(passed, session);
                    if !in_place {
                        self.injected_mut().pending.extend_from_slice(passed);
                    }
                    at += count;
                }
                InspectionOutcome::Taken(count) => {
                    if in_place {
                        in_place = false;
                        let out = &mut self.injected_mut().pending;
                        let released = std::mem::take(out);
                        out.extend_from_slice(bytes.get(..at).unwrap_or_default());
                        out.extend_from_slice(&released);
                    }
                    at += count;
                }
                InspectionOutcome::Violation(violation) => {
                    return (in_place.then_some(at), Some(violation));
                }
            }
        }
        (in_place.then_some(at), None)
    }
}
