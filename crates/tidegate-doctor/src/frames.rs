//! The part of a WebSocket client (RFC 6455, section 5) that pings need. It drops the payload of messages, and does not
//! know why a frame is sent.

use super::stream::{BufferedStream, StreamEnd};
use std::time::Instant;
use tidegate_http::websocket::frame::MAX_CONTROL_PAYLOAD_BYTES;

const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// What was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A frame of a message; its payload was dropped.
    Data,
    /// A ping, with the payload to return.
    Ping(Vec<u8>),
    /// A pong, with the payload that it returns.
    Pong(Vec<u8>),
    /// A close frame: its code and reason.
    Close(Option<u16>, Vec<u8>),
    /// Bytes that are no valid frame of a server.
    Invalid(&'static str),
    /// The connection ended.
    Ended,
    /// No frame arrived before the deadline.
    TimedOut,
}

/// Waits for the next frame, the end of the stream, or the deadline.
pub(crate) async fn next_event(stream: &mut BufferedStream, deadline: Instant) -> Event {
    match read(stream, deadline).await {
        Ok(event) => event,
        Err(StreamEnd::Closed | StreamEnd::Reset) => Event::Ended,
        Err(StreamEnd::TimedOut) => Event::TimedOut,
        Err(StreamEnd::Full) => Event::Invalid("a frame is too large"),
    }
}

async fn read(stream: &mut BufferedStream, deadline: Instant) -> Result<Event, StreamEnd> {
    stream.finish_skip(deadline).await?;
    // Peek first: a deadline in the middle of a header then loses nothing.
    let &[first, second] = stream.peek::<2>(deadline).await?;
    let opcode = first & 0x0f;
    if first & 0x70 != 0 {
        return Ok(Event::Invalid(
            "a frame has a reserved bit set, but no extension was negotiated",
        ));
    }
    if second & 0x80 != 0 {
        return Ok(Event::Invalid("a frame from the server is masked"));
    }
    if !matches!(opcode, 0..=2 | CLOSE | PING | PONG) {
        return Ok(Event::Invalid("a frame has an unknown opcode"));
    }
    let (length, header) = match second & 0x7f {
        126 => {
            let &[_, _, high, low] = stream.peek::<4>(deadline).await?;
            (u64::from(u16::from_be_bytes([high, low])), 4)
        }
        127 => {
            let &[_, _, ref length @ ..] = stream.peek::<10>(deadline).await?;
            (u64::from_be_bytes(*length), 10)
        }
        short => (u64::from(short), 2),
    };
    if opcode < CLOSE {
        stream.consume(header);
        stream.skip(length, deadline).await?;
        return Ok(Event::Data);
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > MAX_CONTROL_PAYLOAD_BYTES || first & 0x80 == 0 {
        return Ok(Event::Invalid("a control frame is too long or fragmented"));
    }
    stream.fill(header + length, deadline).await?;
    let frame = stream.consume(header + length);
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

/// A close frame with code 1000.
pub(crate) fn close() -> Vec<u8> {
    control(CLOSE, &1000_u16.to_be_bytes())
}

/// A client's control frame, masked (RFC 6455, section 5.3).
fn control(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let payload = payload.get(..MAX_CONTROL_PAYLOAD_BYTES).unwrap_or(payload);
    // The mask protects against scripts in a page. None runs here, but it must be random all the same.
    let [a, b, c, d, ..] = *uuid::Uuid::new_v4().as_bytes();
    let mask = [a, b, c, d];
    // At most 125, as truncated above.
    let length = u8::try_from(payload.len()).unwrap_or(0);
    let mut frame = vec![0x80 | opcode, 0x80 | length];
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
