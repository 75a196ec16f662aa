//! Frames (RFC 6455, section 5): parses their headers in a stream without copying or unmasking payloads. Knows nothing
//! of sessions.

mod counts;
mod encode;
#[cfg(test)]
mod tests;

pub use counts::FrameCounts;
pub use encode::{close, ping, text};

use super::close_code;
use std::fmt;

/// The longest header: two bytes, eight of length, four of mask.
const MAX_HEADER_BYTES: usize = 14;

/// The longest payload of a control frame (RFC 6455, section 5.5).
pub const MAX_CONTROL_PAYLOAD_BYTES: usize = 125;

/// The type of a frame (RFC 6455, section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// Continues a fragmented message.
    Continuation,
    /// Begins a message of text.
    Text,
    /// Begins a message of bytes.
    Binary,
    /// Begins, or answers, the closing handshake.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping, or stands for itself.
    Pong,
    /// Reserved by the RFC.
    Reserved(u8),
}

impl Opcode {
    fn from_bits(bits: u8) -> Self {
        match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            other => Self::Reserved(other),
        }
    }

    /// Whether it is a control frame, which may come between the fragments of a message.
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong | Self::Reserved(0x8..))
    }

    /// The name in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Continuation => "continuation",
            Self::Text => "text",
            Self::Binary => "binary",
            Self::Close => "close",
            Self::Ping => "ping",
            Self::Pong => "pong",
            Self::Reserved(_) => "reserved",
        }
    }
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether the message ends with this frame.
    pub fin: bool,
    /// The three bits that extensions may use; RSV1 is 4.
    pub rsv: u8,
    /// The type.
    pub opcode: Opcode,
    /// The key that its payload is masked with.
    pub mask: Option<[u8; 4]>,
    /// Bytes of payload.
    pub length: u64,
    /// Whether the length has its shortest encoding.
    is_minimal: bool,
}

impl FrameHeader {
    /// The header at the beginning of these bytes and how long it is; `None` while bytes are
    /// missing.
    pub fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let (&[first, second], rest) = bytes.split_first_chunk::<2>()?;
        let (length, least, rest) = match second & 0x7f {
            126 => {
                let (length, rest) = rest.split_first_chunk::<2>()?;
                (u64::from(u16::from_be_bytes(*length)), 126, rest)
            }
            127 => {
                let (length, rest) = rest.split_first_chunk::<8>()?;
                (u64::from_be_bytes(*length), 1 << 16, rest)
            }
            short => (u64::from(short), 0, rest),
        };
        let (mask, rest) = match second & 0x80 {
            0 => (None, rest),
            _ => rest.split_first_chunk::<4>().map(|(mask, rest)| (Some(*mask), rest))?,
        };
        let header = Self {
            fin: first & 0x80 != 0,
            rsv: (first >> 4) & 0x7,
            opcode: Opcode::from_bits(first & 0x0f),
            mask,
            length,
            is_minimal: length >= least,
        };
        Some((header, bytes.len() - rest.len()))
    }
}

/// A close frame's payload (RFC 6455, section 5.5.1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClosePayload {
    /// Its code; `None` when it carried none (RFC 6455, section 7.1.5: 1005).
    pub code: Option<u16>,
    /// Its reason; what is not UTF-8 in it is replaced.
    pub reason: String,
}

/// What has been seen.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// A frame begins.
    Header(FrameHeader),
    /// A part of its payload, as it is on the wire.
    Payload(&'b [u8]),
    /// A frame is complete.
    End(FrameHeader),
    /// A close frame is complete; comes before its [`Event::End`].
    Close(ClosePayload),
    /// The peers have a protocol error on their hands; comes before the frame that has it.
    Error(ProtocolError),
}

/// What is wrong with a frame. It is noticed, and passed on unless the route is strict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolError {
    /// RFC 6455, section 5.1: clients mask.
    Unmasked,
    /// RFC 6455, section 5.1: servers don't.
    Masked,
    /// RFC 6455, section 5.2: an opcode without a meaning.
    ReservedOpcode,
    /// RFC 6455, section 5.2: a bit of an extension that was not negotiated.
    ReservedBits,
    /// RFC 6455, section 5.5: a control frame in fragments.
    FragmentedControl,
    /// RFC 6455, section 5.5: a control frame over 125 bytes.
    LongControl,
    /// RFC 6455, section 5.4: a continuation of nothing.
    StrayContinuation,
    /// RFC 6455, section 5.4: a message within another.
    InterruptedMessage,
    /// RFC 6455, section 5.2: a length of 2^63 bytes or more; no frame can be found behind it.
    Length,
    /// RFC 6455, section 5.2: a length written longer than it need be.
    LengthNotMinimal,
    /// RFC 6455, section 5.5.1: a close frame with one byte.
    ClosePayload,
    /// RFC 6455, section 7.4: a code that must not be sent.
    CloseCode,
    /// RFC 6455, section 5.5.1: a reason that is not UTF-8.
    CloseReason,
    /// RFC 6455, section 5.5.1: a frame behind the close frame.
    AfterClose,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unmasked => "a client's frame is not masked",
            Self::Masked => "a server's frame is masked",
            Self::ReservedOpcode => "a frame has a reserved opcode",
            Self::ReservedBits => "a frame has a reserved bit set",
            Self::FragmentedControl => "a control frame is fragmented",
            Self::LongControl => "a control frame is longer than 125 bytes",
            Self::StrayContinuation => {
                "a continuation frame does not follow the start of a message"
            }
            Self::InterruptedMessage => "a message begins before the previous one ends",
            Self::Length => "the length of a frame is 2^63 bytes or more",
            Self::LengthNotMinimal => "the length of a frame is not in its shortest encoding",
            Self::ClosePayload => "a close frame has one byte of payload",
            Self::CloseCode => "a close frame has a code that must not be sent",
            Self::CloseReason => "the reason in a close frame is not UTF-8",
            Self::AfterClose => "a frame follows the close frame",
        })
    }
}

/// The direction of frames in a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Frames of the client, which are masked.
    ClientToUpstream,
    /// Frames of the upstream, which are not masked.
    UpstreamToClient,
}

/// Follows one direction of a tunnel, however its bytes are split.
#[derive(Debug, Clone)]
pub struct Scanner {
    direction: Direction,
    /// Whether permessage-deflate (RFC 7692) may set RSV1.
    allow_rsv1: bool,
    /// A header of which bytes are missing.
    partial: [u8; MAX_HEADER_BYTES],
    partial_length: u8,
    /// The frame under way and how much of its payload is still to come.
    frame: Option<(FrameHeader, u64)>,
    /// A fragmented message is under way.
    in_message: bool,
    close: CloseFrameProgress,
    /// Whether a malformed length makes the rest unreadable.
    out_of_sync: bool,
}

/// How much of the close frame was seen in this direction.
#[derive(Debug, Clone)]
enum CloseFrameProgress {
    NotSeen,
    Payload(Vec<u8>),
    Done,
}

impl Scanner {
    /// A scanner at the first frame; `allow_rsv1` when permessage-deflate was negotiated.
    pub fn new(direction: Direction, allow_rsv1: bool) -> Self {
        Self {
            direction,
            allow_rsv1,
            partial: [0; MAX_HEADER_BYTES],
            partial_length: 0,
            frame: None,
            in_message: false,
            close: CloseFrameProgress::NotSeen,
            out_of_sync: false,
        }
    }

    /// Looks at the bytes and tells `note` what is in them, each with how many of them have been
    /// looked at so far. Stops early when `note` says `false`, behind what it was told of.
    pub fn feed(&mut self, bytes: &[u8], mut note: impl FnMut(Event<'_>, usize) -> bool) -> usize {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if self.out_of_sync {
                return bytes.len();
            }
            if let Some((header, left)) = self.frame {
                let take = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                let payload = rest.get(..take).unwrap_or_default();
                at += take;
                let left = left - take as u64;
                self.frame = Some((header, left));
                if let CloseFrameProgress::Payload(kept) = &mut self.close {
                    // One that is too long closes as well; no more of it is kept than may be.
                    let room = MAX_CONTROL_PAYLOAD_BYTES - kept.len();
                    kept.extend_from_slice(payload.get(..room).unwrap_or(payload));
                }
                if !note(Event::Payload(payload), at)
                    || left == 0 && !self.end_frame(header, at, &mut note)
                {
                    return at;
                }
                continue;
            }
            let Some((header, taken)) = self.read_header(rest) else { return bytes.len() };
            at += taken;
            if !self.start_frame(header, at, &mut note)
                || header.length == 0 && !self.end_frame(header, at, &mut note)
            {
                return at;
            }
        }
        at
    }

    /// The next header, and how many of the bytes belong to it.
    fn read_header(&mut self, bytes: &[u8]) -> Option<(FrameHeader, usize)> {
        if self.partial_length == 0
            && let Some(found) = FrameHeader::parse(bytes)
        {
            return Some(found);
        }
        for (index, &byte) in bytes.iter().enumerate() {
            *self.partial.get_mut(usize::from(self.partial_length))? = byte;
            self.partial_length += 1;
            let partial = self.partial.get(..usize::from(self.partial_length))?;
            if let Some((header, _)) = FrameHeader::parse(partial) {
                self.partial_length = 0;
                return Some((header, index + 1));
            }
        }
        None
    }

    fn start_frame(
        &mut self,
        header: FrameHeader,
        at: usize,
        note: &mut impl FnMut(Event<'_>, usize) -> bool,
    ) -> bool {
        for error in self.errors(&header).into_iter().flatten() {
            if !note(Event::Error(error), at) {
                return false;
            }
        }
        if header.length >> 63 != 0 {
            self.out_of_sync = true;
        }
        self.frame = Some((header, header.length));
        match header.opcode {
            Opcode::Text | Opcode::Binary | Opcode::Continuation => self.in_message = !header.fin,
            Opcode::Close if matches!(self.close, CloseFrameProgress::NotSeen) => {
                self.close = CloseFrameProgress::Payload(Vec::new());
            }
            _ => {}
        }
        note(Event::Header(header), at)
    }

    fn end_frame(
        &mut self,
        header: FrameHeader,
        at: usize,
        note: &mut impl FnMut(Event<'_>, usize) -> bool,
    ) -> bool {
        self.frame = None;
        if let CloseFrameProgress::Payload(payload) = &mut self.close
            && header.opcode == Opcode::Close
        {
            let mut payload = std::mem::take(payload);
            self.close = CloseFrameProgress::Done;
            unmask(&mut payload, header.mask);
            let (close, error) = read_close(&payload);
            if let Some(error) = error
                && !note(Event::Error(error), at)
            {
                return false;
            }
            if !note(Event::Close(close), at) {
                return false;
            }
        }
        note(Event::End(header), at)
    }

    /// What would be wrong with this frame, came it next.
    pub fn errors(&self, header: &FrameHeader) -> [Option<ProtocolError>; 7] {
        use ProtocolError as E;
        let FrameHeader { opcode, length, .. } = *header;
        let when = |holds: bool, error: E| holds.then_some(error);
        let is_data = matches!(opcode, Opcode::Text | Opcode::Binary);
        [
            match (self.direction, header.mask) {
                (Direction::ClientToUpstream, None) => Some(E::Unmasked),
                (Direction::UpstreamToClient, Some(_)) => Some(E::Masked),
                _ => None,
            },
            when(matches!(opcode, Opcode::Reserved(_)), E::ReservedOpcode),
            when(
                header.rsv & 0x3 != 0 || header.rsv & 0x4 != 0 && !(self.allow_rsv1 && is_data),
                E::ReservedBits,
            ),
            match opcode.is_control() {
                true if !header.fin => Some(E::FragmentedControl),
                true if length > MAX_CONTROL_PAYLOAD_BYTES as u64 => Some(E::LongControl),
                true => None,
                false if opcode == Opcode::Continuation && !self.in_message => {
                    Some(E::StrayContinuation)
                }
                false if is_data && self.in_message => Some(E::InterruptedMessage),
                false => None,
            },
            when(length >> 63 != 0, E::Length),
            when(!header.is_minimal, E::LengthNotMinimal),
            when(matches!(self.close, CloseFrameProgress::Done), E::AfterClose),
        ]
    }

    /// Bytes that belong to the frame under way for certain; 0 between two frames.
    pub fn outstanding(&self) -> u64 {
        match self.frame {
            Some((_, left)) => left,
            None if self.partial_length > 0 => 1,
            None => 0,
        }
    }

    /// Whether no byte of a frame is outstanding: a control frame may be put here.
    pub fn is_between_frames(&self) -> bool {
        self.frame.is_none() && self.partial_length == 0 && !self.out_of_sync
    }

    /// Whether, beyond that, no message is under way: a close frame may be put here.
    pub fn is_between_messages(&self) -> bool {
        self.is_between_frames() && !self.in_message
    }

    /// Whether a close frame has been seen.
    pub fn has_closed(&self) -> bool {
        matches!(self.close, CloseFrameProgress::Done)
    }
}

/// Undoes, or does, the masking (RFC 6455, section 5.3) of a payload from its beginning.
pub fn unmask(payload: &mut [u8], mask: Option<[u8; 4]>) {
    if let Some(mask) = mask {
        for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= key;
        }
    }
}

/// What is wrong with a close frame's payload (RFC 6455, sections 5.5.1 and 7.4).
pub fn close_error(payload: &[u8]) -> Option<ProtocolError> {
    read_close(payload).1
}

fn read_close(payload: &[u8]) -> (ClosePayload, Option<ProtocolError>) {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        let error = (!payload.is_empty()).then_some(ProtocolError::ClosePayload);
        return (ClosePayload::default(), error);
    };
    let code = u16::from_be_bytes(*code);
    let error = if !close_code::is_sendable(code) {
        Some(ProtocolError::CloseCode)
    } else if std::str::from_utf8(reason).is_err() {
        Some(ProtocolError::CloseReason)
    } else {
        None
    };
    (ClosePayload { code: Some(code), reason: String::from_utf8_lossy(reason).into_owned() }, error)
}
