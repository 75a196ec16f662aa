//! As much of a WebSocket client (RFC 6455, section 5) as pings need: what the server sends is
//! looked at and dropped, so that nothing grows with it.

use super::wire::{End, Wire};
use std::time::Instant;

/// The most bytes of a control frame (RFC 6455, section 5.5).
const MAX_CONTROL: usize = 125;

const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A frame of a message; its payload was dropped.
    Data,
    /// A ping, with what is to be sent back.
    Ping(Vec<u8>),
    /// A pong, with what it brings back.
    Pong(Vec<u8>),
    /// A close frame: its code and reason.
    Close(Option<u16>, Vec<u8>),
    /// No frame that a server may send.
    Bad(&'static str),
    /// The connection ended.
    Ended,
    /// Nothing in time.
    Nothing,
}

/// The next frame.
pub(crate) async fn next(wire: &mut Wire, deadline: Instant) -> Event {
    match read(wire, deadline).await {
        Ok(event) => event,
        Err(End::Closed | End::Reset) => Event::Ended,
        Err(End::Late) => Event::Nothing,
        Err(End::Full) => Event::Bad("a frame is larger than can be"),
    }
}

async fn read(wire: &mut Wire, deadline: Instant) -> Result<Event, End> {
    wire.settle(deadline).await?;
    // Looked at before it is taken: a deadline in the middle of a header loses nothing.
    let &[first, second] = wire.peek::<2>(deadline).await?;
    let opcode = first & 0x0f;
    if first & 0x70 != 0 {
        return Ok(Event::Bad("a reserved bit is set, though no extension was agreed on"));
    }
    if second & 0x80 != 0 {
        return Ok(Event::Bad("a frame of the server is masked"));
    }
    if !matches!(opcode, 0..=2 | CLOSE | PING | PONG) {
        return Ok(Event::Bad("a frame has an opcode that nobody knows"));
    }
    let (length, header) = match second & 0x7f {
        126 => {
            let &[_, _, high, low] = wire.peek::<4>(deadline).await?;
            (u64::from(u16::from_be_bytes([high, low])), 4)
        }
        127 => {
            let &[_, _, ref length @ ..] = wire.peek::<10>(deadline).await?;
            (u64::from_be_bytes(*length), 10)
        }
        short => (u64::from(short), 2),
    };
    if opcode < CLOSE {
        wire.take(header);
        wire.skip(length, deadline).await?;
        return Ok(Event::Data);
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > MAX_CONTROL || first & 0x80 == 0 {
        return Ok(Event::Bad("a control frame is too long or in pieces"));
    }
    wire.fill(header + length, deadline).await?;
    let frame = wire.take(header + length);
    let payload = frame.get(header..).unwrap_or_default().to_vec();
    Ok(match opcode {
        PING => Event::Ping(payload),
        PONG => Event::Pong(payload),
        _ => match payload.split_first_chunk::<2>() {
            Some((code, reason)) => Event::Close(Some(u16::from_be_bytes(*code)), reason.to_vec()),
            None => Event::Close(None, Vec::new()),
        },
    })
}

/// A ping with this payload.
pub(crate) fn ping(payload: &[u8]) -> Vec<u8> {
    control(PING, payload)
}

/// The pong to a ping.
pub(crate) fn pong(payload: &[u8]) -> Vec<u8> {
    control(PONG, payload)
}

/// A close frame that says that all is well (1000).
pub(crate) fn close() -> Vec<u8> {
    control(CLOSE, &1000_u16.to_be_bytes())
}

/// A control frame of a client, masked as RFC 6455, section 5.3, asks.
fn control(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let payload = payload.get(..MAX_CONTROL).unwrap_or(payload);
    // Unforeseeable to scripts in a page; none runs here, a random one it is all the same.
    let [a, b, c, d, ..] = *uuid::Uuid::new_v4().as_bytes();
    let mask = [a, b, c, d];
    // At most 125, as cut above.
    let length = u8::try_from(payload.len()).unwrap_or(0);
    let mut frame = vec![0x80 | opcode, 0x80 | length];
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
