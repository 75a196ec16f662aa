//! Sends a case over HTTP/2 as raw frames that no client library would send. Judges nothing.

use crate::case::Case;
use crate::exchange::{Pace, STALL};
use std::net::SocketAddr;
use tidegate_testing::http2::{
    ACK, DATA, END_STREAM, GOAWAY, HEADERS, RST_STREAM, SETTINGS, frame,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends the case, and waits until each of its streams is over, or the connection; the statuses.
pub(crate) async fn send(address: SocketAddr, case: &Case, pace: Pace) -> Vec<u16> {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let _ = stream.set_nodelay(true);
    let (mut input, mut output) = stream.split();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes.extend(&case.bytes);
    let size = match pace {
        Pace::AtOnce => bytes.len(),
        Pace::InPieces => 9,
    };
    for piece in bytes.chunks(size) {
        if output.write_all(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let (mut streams, mut statuses) = (streams(&case.bytes), Vec::new());
    let mut answers = Vec::new();
    while !streams.is_empty() {
        let read = tokio::time::timeout(STALL, input.read_buf(&mut answers)).await;
        if !matches!(read, Ok(Ok(read)) if read > 0) {
            break;
        }
        while let Some((kind, flags, of, payload)) = next(&mut answers) {
            match kind {
                SETTINGS if flags & ACK == 0 => {
                    let _ = output.write_all(&frame(SETTINGS, ACK, 0, &[])).await;
                }
                HEADERS => statuses.extend(status(&payload).filter(|status| *status >= 200)),
                _ => {}
            }
            let ends = [HEADERS, DATA].contains(&kind) && flags & END_STREAM != 0;
            if ends || kind == RST_STREAM {
                streams.retain(|stream| *stream != of);
            }
            if kind == GOAWAY && payload.get(4..8) != Some(&[0; 4]) {
                streams.clear();
            }
        }
    }
    statuses
}

/// The streams that a case opens.
fn streams(bytes: &[u8]) -> Vec<u32> {
    let (mut bytes, mut all) = (bytes.to_vec(), Vec::new());
    while let Some((_, _, stream, _)) = next(&mut bytes) {
        if !all.contains(&stream) {
            all.push(stream);
        }
    }
    all
}

/// Takes a frame from the front.
fn next(bytes: &mut Vec<u8>) -> Option<(u8, u8, u32, Vec<u8>)> {
    let head: [u8; 9] = bytes.get(..9)?.try_into().ok()?;
    let [a, b, c, kind, flags, d, e, f, g] = head;
    let end = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
    let payload = bytes.get(9..end)?.to_vec();
    bytes.drain(..end);
    Some((kind, flags, u32::from_be_bytes([d, e, f, g]), payload))
}

/// The status that a block of a response begins with (RFC 7541, sections 6.1, 6.2 and appendix A).
fn status(block: &[u8]) -> Option<u16> {
    // Before it the size of the table may change.
    let start = block.iter().position(|byte| byte & 0xe0 != 0x20)?;
    let block = &block[start..];
    match *block.first()? {
        indexed @ 0x88..=0x8e => {
            Some([200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)])
        }
        0x48 | 0x08 | 0x18 => {
            let length = *block.get(1)?;
            let text = block.get(2..2 + usize::from(length & 0x7f))?;
            match length & 0x80 {
                0 => std::str::from_utf8(text).ok()?.parse().ok(),
                _ => digits(text),
            }
        }
        _ => None,
    }
}

/// Three digits in Huffman's code (appendix B).
fn digits(text: &[u8]) -> Option<u16> {
    let bits = text.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
    let mut left = text.len() * 8;
    let mut number = 0;
    for _ in 0..3 {
        let five = bits >> left.checked_sub(5)? & 0x1f;
        let digit = if five < 3 {
            left -= 5;
            five
        } else {
            left = left.checked_sub(6)?;
            (bits >> left & 0x3f).checked_sub(0x19)? + 3
        };
        number = number * 10 + u16::try_from(digit).ok()?;
    }
    Some(number)
}
