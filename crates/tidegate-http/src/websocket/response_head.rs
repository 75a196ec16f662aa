//! Reads the head of the response to a handshake as it passes: its length, status and extension. Changes nothing.

/// Follows the response heads of an upstream as they pass, in pieces of any size.
#[derive(Debug, Default)]
pub struct ResponseHeads {
    /// Bytes of the head so far.
    head_length: u32,
    /// Bytes of the line so far.
    line_length: u32,
    status: u16,
    /// How many letters of `DEFLATE` the last bytes match.
    matched: u8,
    has_deflate: bool,
}

/// The extension whose messages may set RSV1 (RFC 7692).
const DEFLATE: &[u8] = b"permessage-deflate";

/// What follows the last response head.
#[derive(Debug, PartialEq, Eq)]
pub enum AfterHeads {
    /// Frames: the handshake is done.
    Frames {
        /// Whether permessage-deflate was negotiated.
        deflate: bool,
    },
    /// The body of a refused handshake.
    Refusal,
}

impl ResponseHeads {
    /// Reads up to the end of the last head; returns how many bytes belong to heads, and what
    /// follows them.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<(usize, AfterHeads)> {
        for (index, &byte) in bytes.iter().enumerate() {
            // RFC 9112, section 4: `HTTP/1.1 101 …`.
            if (9..12).contains(&self.head_length) {
                self.status = self.status * 10 + u16::from(byte.wrapping_sub(b'0').min(9));
            }
            self.head_length = self.head_length.saturating_add(1);
            self.follow_extension(byte);
            match byte {
                b'\r' => {}
                b'\n' if self.line_length == 0 => match self.status {
                    101 => {
                        return Some((index + 1, AfterHeads::Frames { deflate: self.has_deflate }));
                    }
                    // RFC 9110, section 15.2: another head comes.
                    100..=199 => *self = Self::default(),
                    _ => return Some((index + 1, AfterHeads::Refusal)),
                },
                b'\n' => self.line_length = 0,
                _ => self.line_length = self.line_length.saturating_add(1),
            }
        }
        None
    }

    fn follow_extension(&mut self, byte: u8) {
        let byte = byte.to_ascii_lowercase();
        // The word has its first letter only once, so a new start is all there is to look for.
        self.matched = match DEFLATE.get(usize::from(self.matched)) {
            Some(&next) if next == byte => self.matched + 1,
            _ => u8::from(byte == b'p'),
        };
        self.has_deflate |= usize::from(self.matched) == DEFLATE.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str, split: usize) -> Option<(usize, AfterHeads)> {
        let mut heads = ResponseHeads::default();
        let mut before = 0;
        for part in text.as_bytes().chunks(split) {
            if let Some((length, answer)) = heads.feed(part) {
                return Some((before + length, answer));
            }
            before += part.len();
        }
        None
    }

    #[test]
    fn end_of_the_last_head_is_found_under_every_split() {
        let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
        let deflate = "HTTP/1.1 101 x\nSec-WebSocket-Extensions: Permessage-Deflate; a=1\n\n";
        let early = format!("HTTP/1.1 103 Early Hints\r\nLink: permessage-deflate\r\n\r\n{switch}");
        let refusal = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
        for split in 1..80 {
            for (head, answered) in [
                (switch, AfterHeads::Frames { deflate: false }),
                (deflate, AfterHeads::Frames { deflate: true }),
                (&early, AfterHeads::Frames { deflate: false }),
                (refusal, AfterHeads::Refusal),
            ] {
                assert_eq!(answer(head, split).map(|it| it.0), Some(head.len()), "{head}");
                assert_eq!(answer(&format!("{head}\u{1}x"), split), Some((head.len(), answered)));
            }
            assert_eq!(answer("HTTP/1.1 101 Switching Protocols\r\nUpgrade", split), None);
        }
    }
}
