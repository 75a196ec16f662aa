//! The buffer that a thread reads heads into. Knows nothing of what a head means.
//!
//! Pingora judges a head right after it has got it, and where it refuses one it doesn't say why. The buffer then still
//! has the head, so that nobody needs a copy of those that are good.

use pingora::protocols::Stream;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// Maximum number of bytes that are read at once.
const READ_BYTES: usize = 8 * 1024;

#[derive(Debug, Default)]
struct HeadBuffer {
    /// The connection whose bytes it has.
    connection: u32,
    length: usize,
    bytes: Vec<u8>,
}

thread_local! {
    static BUFFER: RefCell<HeadBuffer> = RefCell::default();
}

/// Reads once, and hands what came to `use_bytes`: nothing at the end of the stream.
pub(super) fn poll_read<T>(
    stream: &mut Stream,
    cx: &mut Context<'_>,
    connection: u32,
    use_bytes: impl FnOnce(&[u8]) -> T,
) -> Poll<io::Result<T>> {
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.bytes.len() != READ_BYTES {
            // An unusually large head has been here.
            buffer.bytes = vec![0; READ_BYTES];
        }
        let mut part = ReadBuf::new(&mut buffer.bytes);
        ready!(Pin::new(stream).poll_read(cx, &mut part))?;
        buffer.connection = connection;
        buffer.length = part.filled().len();
        Poll::Ready(Ok(use_bytes(part.filled())))
    })
}

/// Keeps a head that has been read in several pieces, or that has been changed.
pub(super) fn keep(connection: u32, head: &[u8]) {
    BUFFER.with_borrow_mut(|buffer| {
        buffer.connection = connection;
        buffer.length = head.len();
        if buffer.bytes.len() < head.len() {
            buffer.bytes.resize(head.len(), 0);
        }
        if let Some(kept) = buffer.bytes.get_mut(..head.len()) {
            kept.copy_from_slice(head);
        }
    });
}

/// The head of this connection, if it is the last one that was read.
pub(super) fn take_head(connection: u32) -> Vec<u8> {
    BUFFER.with_borrow_mut(|buffer| {
        let length = std::mem::take(&mut buffer.length);
        let is_same = buffer.connection == connection;
        let head = buffer.bytes.get(..length).filter(|_| is_same);
        head.map(<[u8]>::to_vec).unwrap_or_default()
    })
}
