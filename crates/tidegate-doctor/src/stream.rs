//! A connection, with TLS or without, whose received bytes are buffered up to a bound. It does not know protocols.

use std::io;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout_at;

/// Maximum number of buffered bytes.
pub(crate) const MAX_BUFFERED_BYTES: usize = 64 * 1024;

/// A connection, with TLS or without.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// Why a read or write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    /// The other side closed the connection.
    Closed,
    /// The connection was reset.
    Reset,
    /// The deadline passed.
    TimedOut,
    /// The buffer is full.
    Full,
}

/// A connection and the bytes that were read and not consumed yet.
pub(crate) struct BufferedStream {
    stream: Box<dyn Duplex>,
    buffered: Vec<u8>,
    /// Bytes to skip before the next frame.
    to_skip: u64,
}

impl BufferedStream {
    /// Wraps a connection of which nothing was read.
    pub(crate) fn new(stream: Box<dyn Duplex>) -> Self {
        Self { stream, buffered: Vec::new(), to_skip: 0 }
    }

    /// The connection itself; nothing may have been read.
    pub(crate) fn into_inner(self) -> Box<dyn Duplex> {
        self.stream
    }

    /// The bytes that were read and not consumed.
    pub(crate) fn buffered(&self) -> &[u8] {
        &self.buffered
    }

    /// Sends all bytes.
    pub(crate) async fn send(&mut self, bytes: &[u8], deadline: Instant) -> Result<(), StreamEnd> {
        let sending = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        match timeout_at(deadline.into(), sending).await {
            Ok(sent) => sent.map_err(|error| ended(&error)),
            Err(_) => Err(StreamEnd::TimedOut),
        }
    }

    /// Reads once and appends to the buffer.
    pub(crate) async fn read_more(&mut self, deadline: Instant) -> Result<(), StreamEnd> {
        // A deadline holds even if there are bytes to read.
        if Instant::now() >= deadline {
            return Err(StreamEnd::TimedOut);
        }
        let room = MAX_BUFFERED_BYTES.saturating_sub(self.buffered.len());
        if room == 0 {
            return Err(StreamEnd::Full);
        }
        let mut chunk = [0; 4096];
        let part = chunk.get_mut(..room.min(4096)).ok_or(StreamEnd::Full)?;
        match timeout_at(deadline.into(), self.stream.read(part)).await {
            Err(_) => Err(StreamEnd::TimedOut),
            Ok(Err(error)) => Err(ended(&error)),
            Ok(Ok(0)) => Err(StreamEnd::Closed),
            Ok(Ok(read)) => {
                self.buffered.extend_from_slice(part.get(..read).unwrap_or_default());
                Ok(())
            }
        }
    }

    /// Reads until this number of bytes is buffered.
    pub(crate) async fn fill(&mut self, count: usize, deadline: Instant) -> Result<(), StreamEnd> {
        while self.buffered.len() < count {
            self.read_more(deadline).await?;
        }
        Ok(())
    }

    /// The next `N` bytes, which stay in the buffer.
    pub(crate) async fn peek<const N: usize>(
        &mut self,
        deadline: Instant,
    ) -> Result<&[u8; N], StreamEnd> {
        self.fill(N, deadline).await?;
        self.buffered.first_chunk().ok_or(StreamEnd::Closed)
    }

    /// Removes up to this number of bytes from the buffer.
    pub(crate) fn consume(&mut self, count: usize) -> Vec<u8> {
        self.buffered.drain(..count.min(self.buffered.len())).collect()
    }

    /// Skips this number of bytes, buffered or to come. If the deadline passes first,
    /// [`BufferedStream::finish_skip`] skips the rest.
    pub(crate) async fn skip(&mut self, count: u64, deadline: Instant) -> Result<(), StreamEnd> {
        self.to_skip = count;
        self.finish_skip(deadline).await
    }

    /// Skips the bytes that an earlier skip left over.
    pub(crate) async fn finish_skip(&mut self, deadline: Instant) -> Result<(), StreamEnd> {
        loop {
            let buffered = self.buffered.len();
            let now =
                usize::try_from(self.to_skip).map_or(buffered, |to_skip| to_skip.min(buffered));
            self.consume(now);
            self.to_skip -= now as u64;
            if self.to_skip == 0 {
                return Ok(());
            }
            self.read_more(deadline).await?;
        }
    }
}

/// TLS that ends without `close_notify` counts as closed.
fn ended(error: &io::Error) -> StreamEnd {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => StreamEnd::Closed,
        _ => StreamEnd::Reset,
    }
}
