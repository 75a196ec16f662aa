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
    /// Counts what was seen; bytes are not counted here.
    pub fn record(&mut self, event: &Event<'_>) {
        match event {
            Event::Header(header) => match header.opcode {
                Opcode::Text => self.text += 1,
                Opcode::Binary => self.binary += 1,
                Opcode::Continuation => self.continuation += 1,
                Opcode::Ping => self.ping += 1,
                Opcode::Pong => self.pong += 1,
                Opcode::Close => self.close += 1,
                Opcode::Reserved(_) => {}
            },
            Event::End(header) if header.fin && !header.opcode.is_control() => self.messages += 1,
            Event::Error(_) => self.errors += 1,
            Event::End(_) | Event::Payload(_) | Event::Close(_) => {}
        }
    }

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
