//! Writes frames (RFC 6455, section 5.2). It knows nothing of sessions.

use super::{MAX_CONTROL_PAYLOAD_BYTES, unmask};

/// A close frame (RFC 6455, section 5.5.1), masked when it goes to a server. The reason is cut
/// to what fits.
pub fn close(code: u16, reason: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(cut_to(reason, MAX_CONTROL_PAYLOAD_BYTES - 2).as_bytes());
    control(0x8, payload, mask)
}

/// As much of a text as fits, by whole characters.
pub(super) fn cut_to(text: &str, max_length: usize) -> &str {
    let fits =
        text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|&end| end <= max_length);
    text.get(..fits.last().unwrap_or(0)).unwrap_or_default()
}

/// A ping (RFC 6455, section 5.5.2).
pub fn ping(payload: [u8; 8], mask: Option<[u8; 4]>) -> Vec<u8> {
    control(0x9, payload.to_vec(), mask)
}

/// A whole message of text in one frame, not masked: it goes to a client.
pub fn text(payload: &str) -> Vec<u8> {
    let length = payload.len();
    let mut frame = Vec::with_capacity(10 + length);
    frame.push(0x81);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..126), _) => frame.push(short),
        (_, Ok(medium)) => {
            frame.push(126);
            frame.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload.as_bytes());
    frame
}

/// `payload` has at most 125 bytes.
fn control(opcode: u8, mut payload: Vec<u8>, mask: Option<[u8; 4]>) -> Vec<u8> {
    let length = payload.len() as u8;
    let mut frame = Vec::with_capacity(6 + payload.len());
    frame.push(0x80 | opcode);
    match mask {
        None => frame.push(length),
        Some(key) => {
            frame.push(0x80 | length);
            frame.extend_from_slice(&key);
        }
    }
    unmask(&mut payload, mask);
    frame.append(&mut payload);
    frame
}
