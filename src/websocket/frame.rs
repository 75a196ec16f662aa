//! Frames (RFC 6455, section 5.2), followed by their headers: what a tunnel carries is looked at
//! without being copied.

/// The opcode of a close frame (RFC 6455, section 5.5.1).
const CLOSE: u8 = 0x8;

/// The longest header (two bytes, eight of length, four of mask) and a close code.
const MAX_HEADER: usize = 16;

/// A close frame has come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close {
    /// Its code; `None` when it carried none (RFC 6455, section 7.1.5: 1005).
    pub code: Option<u16>,
}

/// Follows one direction of a tunnel, however its bytes are split, until a close frame.
#[derive(Debug, Default)]
pub struct Scanner {
    header: [u8; MAX_HEADER],
    have: usize,
    /// Bytes of payload still to pass over.
    skip: u64,
    done: bool,
}

impl Scanner {
    /// Looks at the next bytes; tells of the first close frame.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Option<Close> {
        while !self.done {
            if self.skip > 0 {
                let over = usize::try_from(self.skip).map_or(bytes.len(), |n| n.min(bytes.len()));
                bytes = bytes.get(over..).unwrap_or_default();
                self.skip -= over as u64;
            }
            let (&byte, rest) = bytes.split_first()?;
            bytes = rest;
            *self.header.get_mut(self.have)? = byte;
            self.have += 1;
            let Some(frame) = Frame::read(self.header.get(..self.have)?) else { continue };
            if frame.opcode != CLOSE {
                (self.have, self.skip) = (0, frame.length);
                continue;
            }
            // The code is short enough to wait for where the header is kept.
            if frame.length < 2 {
                self.done = true;
                return Some(Close { code: None });
            }
            let code = self.header.get(frame.header..self.have).unwrap_or_default();
            if let [high, low] = code {
                self.done = true;
                let [mask_high, mask_low, ..] = frame.mask;
                let code = u16::from_be_bytes([high ^ mask_high, low ^ mask_low]);
                return Some(Close { code: Some(code) });
            }
        }
        None
    }
}

/// What a header says.
struct Frame {
    opcode: u8,
    length: u64,
    mask: [u8; 4],
    /// How many bytes the header has.
    header: usize,
}

impl Frame {
    /// `None` while bytes are missing.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (&[first, second], rest) = bytes.split_first_chunk::<2>()?;
        let (length, rest) = match second & 0x7f {
            126 => {
                let (length, rest) = rest.split_first_chunk::<2>()?;
                (u64::from(u16::from_be_bytes(*length)), rest)
            }
            127 => {
                let (length, rest) = rest.split_first_chunk::<8>()?;
                (u64::from_be_bytes(*length), rest)
            }
            short => (u64::from(short), rest),
        };
        let (mask, rest) = match second & 0x80 {
            0 => ([0; 4], rest),
            _ => rest.split_first_chunk::<4>().map(|(mask, rest)| (*mask, rest))?,
        };
        Some(Self { opcode: first & 0x0f, length, mask, header: bytes.len() - rest.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
    use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocket};

    /// What tungstenite makes of these messages, and of a close frame behind them.
    fn wire(messages: &[Vec<u8>], code: u16, role: Role) -> Vec<u8> {
        let mut socket = WebSocket::from_raw_socket(std::io::Cursor::new(Vec::new()), role, None);
        for message in messages {
            socket.send(Message::binary(message.clone())).expect("sent");
        }
        let frame = CloseFrame { code: CloseCode::from(code), reason: "bye".into() };
        socket.close(Some(frame)).expect("closed");
        socket.flush().expect("flushed");
        socket.get_ref().get_ref().clone()
    }

    proptest! {
        #[test]
        fn finds_the_close_code_that_tungstenite_wrote_under_every_split(
            lengths in prop::collection::vec(prop_oneof![0..130_usize, 65_530..65_540_usize], 0..4),
            code in prop_oneof![1000..1004_u16, 3000..5000_u16],
            masked in any::<bool>(),
            split in 1..40_usize,
        ) {
            let messages: Vec<Vec<u8>> = lengths.iter().map(|&length| vec![0x88; length]).collect();
            let role = if masked { Role::Client } else { Role::Server };
            let bytes = wire(&messages, code, role);
            let mut scanner = Scanner::default();
            let found: Vec<Close> = bytes.chunks(split).filter_map(|part| scanner.feed(part)).collect();
            prop_assert_eq!(found, vec![Close { code: Some(code) }]);
        }

        #[test]
        fn no_bytes_make_it_panic(parts in prop::collection::vec(any::<Vec<u8>>(), 0..8)) {
            let mut scanner = Scanner::default();
            for part in parts {
                scanner.feed(&part);
            }
        }
    }

    #[test]
    fn rfc6455_7_1_5_a_close_frame_may_carry_no_code() {
        assert_eq!(Scanner::default().feed(&[0x88, 0]), Some(Close { code: None }));
        assert_eq!(Scanner::default().feed(&[0x88, 0x80, 1, 2, 3, 4]), Some(Close { code: None }));
    }
}
