//! Counts frames and messages. Knows nothing of their content.

use super::{Event, Opcode};

/// What went one way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FrameCounts {
    /// Frames of text.
    pub text: u64,
    /// Frames of bytes.
    pub binary: u64,
    /// Further fragments of messages.
    pub continuation: u64,
    /// Pings.
    pub ping: u64,
    /// Pongs.
    pub pong: u64,
    /// Close frames.
    pub close: u64,
    /// Messages that are complete.
    pub messages: u64,
    /// Bytes on the wire, headers included.
    pub bytes: u64,
    /// Protocol errors.
    pub errors: u64,
}

impl FrameCounts {
    /// All frames.
    pub fn frames(&self) -> u64 {
        self.text + self.binary + self.continuation + self.ping + self.pong + self.close
    }

    /// The counts in the order of the fields.
    pub fn to_array(self) -> [u64; 9] {
        let Self { text, binary, continuation, ping, pong, close, messages, bytes, errors } = self;
        [text, binary, continuation, ping, pong, close, messages, bytes, errors]
    }

    /// The other way round.
    pub fn from_array(counts: [u64; 9]) -> Self {
        let [text, binary, continuation, ping, pong, close, messages, bytes, errors] = counts;
        Self { text, binary, continuation, ping, pong, close, messages, bytes, errors }
    }
}

impl Event<'_> {
    /// Adds this to the counts; bytes are not counted here.
    pub fn count_in(&self, counts: &mut FrameCounts) {
        match self {
            Self::Header(header) => match header.opcode {
                Opcode::Text => counts.text += 1,
                Opcode::Binary => counts.binary += 1,
                Opcode::Continuation => counts.continuation += 1,
                Opcode::Ping => counts.ping += 1,
                Opcode::Pong => counts.pong += 1,
                Opcode::Close => counts.close += 1,
                Opcode::Reserved(_) => {}
            },
            Self::End(header) if header.fin && !header.opcode.is_control() => counts.messages += 1,
            Self::Error(_) => counts.errors += 1,
            Self::End(_) | Self::Payload(_) | Self::Close(_) => {}
        }
    }
}
