use std::io;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout_at;

/// The most bytes that are kept of what a server sends.
pub(crate) const MAX_KEPT: usize = 64 * 1024;

/// A connection, with TLS or without.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// Why there is no more to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The other side closed the connection.
    Closed,
    /// The connection broke.
    Reset,
    /// Nothing came in time.
    Late,
    /// More came than is kept.
    Full,
}

/// A connection and what has been read from it and not been used yet.
pub(crate) struct Wire {
    stream: Box<dyn Duplex>,
    kept: Vec<u8>,
    /// Bytes to pass over before the next that matter.
    owed: u64,
}

impl Wire {
    /// Nothing has been read yet.
    pub(crate) fn new(stream: Box<dyn Duplex>) -> Self {
        Self { stream, kept: Vec::new(), owed: 0 }
    }

    /// The connection itself, of which nothing has been read.
    pub(crate) fn into_stream(self) -> Box<dyn Duplex> {
        self.stream
    }

    /// What has been read and not been taken.
    pub(crate) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Sends all of it.
    pub(crate) async fn send(&mut self, bytes: &[u8], deadline: Instant) -> Result<(), End> {
        let sending = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        match timeout_at(deadline.into(), sending).await {
            Ok(sent) => sent.map_err(|error| ended(&error)),
            Err(_) => Err(End::Late),
        }
    }

    /// Reads once more.
    pub(crate) async fn more(&mut self, deadline: Instant) -> Result<(), End> {
        // However much there is to read: what is late is late.
        if Instant::now() >= deadline {
            return Err(End::Late);
        }
        let room = MAX_KEPT.saturating_sub(self.kept.len());
        if room == 0 {
            return Err(End::Full);
        }
        let mut chunk = [0; 4096];
        let part = chunk.get_mut(..room.min(4096)).ok_or(End::Full)?;
        match timeout_at(deadline.into(), self.stream.read(part)).await {
            Err(_) => Err(End::Late),
            Ok(Err(error)) => Err(ended(&error)),
            Ok(Ok(0)) => Err(End::Closed),
            Ok(Ok(read)) => {
                self.kept.extend_from_slice(part.get(..read).unwrap_or_default());
                Ok(())
            }
        }
    }

    /// Reads until there are so many bytes.
    pub(crate) async fn fill(&mut self, count: usize, deadline: Instant) -> Result<(), End> {
        while self.kept.len() < count {
            self.more(deadline).await?;
        }
        Ok(())
    }

    /// The next `N` bytes, which stay.
    pub(crate) async fn peek<const N: usize>(
        &mut self,
        deadline: Instant,
    ) -> Result<&[u8; N], End> {
        self.fill(N, deadline).await?;
        self.kept.first_chunk().ok_or(End::Closed)
    }

    /// Takes up to so many bytes out of what was read.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        self.kept.drain(..count.min(self.kept.len())).collect()
    }

    /// Passes over so many bytes, read or to come; what the deadline cuts off, the next
    /// [`Wire::settle`] goes on with.
    pub(crate) async fn skip(&mut self, count: u64, deadline: Instant) -> Result<(), End> {
        self.owed = count;
        self.settle(deadline).await
    }

    /// Passes over what is still to be passed over.
    pub(crate) async fn settle(&mut self, deadline: Instant) -> Result<(), End> {
        loop {
            let kept = self.kept.len();
            let now = usize::try_from(self.owed).map_or(kept, |owed| owed.min(kept));
            self.take(now);
            self.owed -= now as u64;
            if self.owed == 0 {
                return Ok(());
            }
            self.more(deadline).await?;
        }
    }
}

/// TLS that ends without its own goodbye is closed all the same.
fn ended(error: &io::Error) -> End {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => End::Closed,
        _ => End::Reset,
    }
}
