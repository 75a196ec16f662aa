//! A client's connection over HTTP/1, between Pingora and the socket. Knows nothing of routes.
//!
//! Pingora answers what its parser refuses by itself, without a word on why, and writes no log line; it mends some
//! malformed heads; and a client that has closed its sending side is gone to it. So this stands between. It reads
//! each head before Pingora has it, and lets Pingora have no byte of the next request before its turn: the head says
//! where a request ends. It keeps Pingora's own refusals from the wire and leaves the connection to whoever refuses
//! properly.

mod delegate;
mod head_buffer;

use crate::proxy::task_state;
use crate::upstream::MAX_READ_BYTES;
use bytes::{Buf, BytesMut};
use pingora::protocols::Stream;
use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tidegate_http::head::MAX_HEAD_BYTES;
use tidegate_http::raw_head::{
    self as head, AnnouncedBody, HEAD_CUT_OFF, HEAD_MALFORMED, HeadError, HeadScan,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A client that closes its sending side this soon after a complete request waits for the response, as `nc -N`
/// does. One that closes later has given up.
const HALF_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum time between two writes of a response to a client that has closed its sending side. Only a write shows
/// whether such a client is still there; an event stream could be silent forever.
const HALF_CLOSED_STALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The lowest bit of [`ClientStream::idle_since`]: the response has started.
const RESPONSE_STARTED_BIT: u32 = 1;

/// The refusal of a request whose head is not accepted.
#[derive(Debug)]
pub(super) struct RefusedRequest {
    pub(super) stream: Stream,
    /// The received part of the head.
    pub(super) head: Vec<u8>,
    pub(super) fault: HeadError,
}

tokio::task_local! {
    static REFUSED_REQUEST: Cell<Option<Box<RefusedRequest>>>;
}

/// Runs the future that serves a connection, with a task-local slot for a refusal. It is no `async fn`, which would
/// store the future twice.
pub(super) fn with_refused_request<T>(
    connection: impl Future<Output = T>,
) -> impl Future<Output = T> {
    REFUSED_REQUEST.scope(Cell::new(None), connection)
}

/// The refusal on this task's connection, if there is one.
pub(super) fn take_refused_request() -> Option<Box<RefusedRequest>> {
    REFUSED_REQUEST.try_with(Cell::take).unwrap_or_default()
}

#[derive(Debug)]
pub(super) struct ClientStream {
    /// The socket; `None` after a refusal.
    inner: Option<Stream>,
    /// Bytes after the current request. Most clients send none before they have its response.
    read_ahead: Option<Box<ReadAhead>>,
    /// Since when only the response is outstanding, in milliseconds of the process; 0 while the request is incomplete.
    /// The lowest bit is set once the response has begun.
    idle_since: u32,
    /// The number of the connection, by which its head is found.
    number: u32,
    /// The rest of the request that Pingora may read.
    body: RequestBody,
    response: ResponseProgress,
    /// Whether the request may become a WebSocket.
    may_upgrade: bool,
    /// Whether written bytes may not have been sent.
    has_unsent: bool,
}

/// The rest of a request's body.
#[derive(Debug, Clone, Copy)]
enum RequestBody {
    /// This many bytes.
    Left(u64),
    /// Everything that arrives: the body is chunked (the connection then ends with the response), or the connection
    /// carries another protocol.
    Open,
}

/// The progress of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResponseProgress {
    /// Pingora has the head, and may refuse it.
    Judging,
    /// Heads of interim responses or of the final response follow.
    Head,
    /// The final head has been written.
    Body,
}

#[derive(Debug)]
enum ReadAhead {
    /// Bytes that follow the current request.
    Pipelined(BytesMut),
    /// The client has closed its sending side. Once its response has begun: until when the client must
    /// show that it still reads.
    EndOfStream(Option<Pin<Box<Sleep>>>),
}

/// The next event on a connection.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A head, with the received part of its body.
    Request(BytesMut),
    /// The bytes cannot be a head.
    Fault(HeadError),
    /// The connection has ended.
    End,
}

impl ClientStream {
    /// Wraps a connection from which these bytes have already been read.
    pub(super) fn new(stream: Stream, first_bytes: BytesMut) -> Self {
        static NEXT_CONNECTION_NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NEXT_CONNECTION_NUMBER.fetch_add(1, Ordering::Relaxed);
        Self {
            inner: Some(stream),
            read_ahead: Some(Box::new(ReadAhead::Pipelined(first_bytes))),
            idle_since: 0,
            number,
            body: RequestBody::Left(0),
            response: ResponseProgress::Body,
            may_upgrade: false,
            has_unsent: false,
        }
    }

    /// The connection; `None` after a refusal.
    pub(super) fn into_inner(self) -> Option<Stream> {
        self.inner
    }

    /// Reads the next head. `held` stores its received part, and is empty until the head begins.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        partial_head: &mut BytesMut,
    ) -> Poll<Incoming> {
        self.idle_since = 0;
        match self.read_ahead.take().map(|it| *it) {
            // The end of an unread body is not known for certain.
            _ if !matches!(self.body, RequestBody::Left(0)) => return Poll::Ready(Incoming::End),
            Some(ReadAhead::EndOfStream(_)) => return Poll::Ready(Incoming::End),
            Some(ReadAhead::Pipelined(bytes)) => {
                *partial_head = bytes;
                if let Some(incoming) = self.take_request(partial_head, partial_head.len()) {
                    return Poll::Ready(incoming);
                }
            }
            None => {}
        }
        loop {
            let Some(stream) = self.inner.as_mut() else { return Poll::Ready(Incoming::End) };
            let read = head_buffer::poll_read(stream, cx, self.number, |bytes| {
                if partial_head.is_empty()
                    && let Some(scan) = head::scan_head(bytes)
                    && scan.is_plain
                {
                    let (end, body) = end_of_request(bytes, &scan);
                    let request = BytesMut::from(bytes.get(..end).unwrap_or_default());
                    let next = bytes.get(end..).unwrap_or_default();
                    let next = (!next.is_empty()).then(|| BytesMut::from(next));
                    return HeadRead::Request(request, scan, body, next);
                }
                partial_head.extend_from_slice(bytes);
                HeadRead::Held(bytes.len())
            });
            match ready!(read) {
                Err(_) => return Poll::Ready(Incoming::End),
                Ok(HeadRead::Request(request, scan, body, next)) => {
                    self.read_ahead = next.map(|next| Box::new(ReadAhead::Pipelined(next)));
                    self.start_request(&scan, body);
                    return Poll::Ready(Incoming::Request(request));
                }
                Ok(HeadRead::Held(0)) if partial_head.is_empty() => {
                    return Poll::Ready(Incoming::End);
                }
                Ok(HeadRead::Held(0)) => return Poll::Ready(Incoming::Fault(HEAD_CUT_OFF)),
                Ok(HeadRead::Held(new)) => {
                    if let Some(incoming) = self.take_request(partial_head, new) {
                        return Poll::Ready(incoming);
                    }
                }
            }
        }
    }

    /// Searches the received bytes, of which this many at the end are new, for a complete head.
    fn take_request(&mut self, partial_head: &mut BytesMut, new: usize) -> Option<Incoming> {
        head::skip_empty_lines(partial_head);
        let may_end = head::may_end(partial_head, new);
        let Some(scan) = may_end.then(|| head::scan_head(partial_head)).flatten() else {
            let fault = match partial_head.len() > MAX_HEAD_BYTES {
                true => Some(head::oversize_error(partial_head)),
                false => head::early_error(partial_head, new),
            };
            return fault.map(Incoming::Fault);
        };
        if scan.length > MAX_HEAD_BYTES {
            return Some(Incoming::Fault(head::oversize_error(partial_head)));
        }
        let (end, body) = end_of_request(partial_head, &scan);
        let request = if scan.is_plain && end == partial_head.len() {
            std::mem::take(partial_head)
        } else {
            let mut head = BytesMut::from(partial_head.get(..scan.length).unwrap_or_default());
            if !scan.is_plain
                && let Err(fault) = head::validate(&mut head)
            {
                return Some(Incoming::Fault(fault));
            }
            head.extend_from_slice(partial_head.get(scan.length..end).unwrap_or_default());
            partial_head.advance(end);
            head
        };
        if !partial_head.is_empty() {
            self.read_ahead = Some(Box::new(ReadAhead::Pipelined(std::mem::take(partial_head))));
        }
        self.keep_head(&request);
        self.start_request(&scan, body);
        Some(Incoming::Request(request))
    }

    fn start_request(&mut self, scan: &HeadScan, body: RequestBody) {
        self.body = body;
        self.response = ResponseProgress::Judging;
        self.may_upgrade = scan.is_upgrade;
    }

    /// Keeps an incomplete head, so that a refusal can say what is wrong with it.
    pub(super) fn keep_head(&self, head: &[u8]) {
        head_buffer::keep(self.number, head);
    }

    /// Hands the connection over for a refusal, if Pingora's parser rejects the head: the gateway then answers instead
    /// of Pingora.
    fn refuse_head(&mut self) -> bool {
        if self.response != ResponseProgress::Judging {
            return false;
        }
        if task_state::awaited_request().is_none() {
            self.response =
                if self.may_upgrade { ResponseProgress::Head } else { ResponseProgress::Body };
            return false;
        }
        let head = head_buffer::take_head(self.number);
        let fault = head::fault(&head).filter(|_| !head.is_empty()).unwrap_or(HEAD_MALFORMED);
        if let Some(stream) = self.inner.take() {
            let refused = Box::new(RefusedRequest { stream, head, fault });
            // Outside of a connection's task nothing can answer it.
            let _ = REFUSED_REQUEST.try_with(|slot| slot.set(Some(refused)));
        }
        true
    }

    /// Inspects what Pingora writes, and when.
    fn begin_write(&mut self, bytes: &[u8]) {
        if self.refuse_head() {
            return;
        }
        self.has_unsent = true;
        self.idle_since |= RESPONSE_STARTED_BIT;
        if let Some(ReadAhead::EndOfStream(patience)) = self.read_ahead.as_deref_mut() {
            *patience = Some(Box::pin(sleep(HALF_CLOSED_STALL_TIMEOUT)));
        }
        if self.response == ResponseProgress::Head && bytes.starts_with(b"HTTP/1.") {
            if bytes.starts_with(b"HTTP/1.1 101") {
                self.body = RequestBody::Open;
                self.response = ResponseProgress::Body;
            } else if !bytes.starts_with(b"HTTP/1.1 1") {
                self.response = ResponseProgress::Body;
            }
        }
    }

    /// Flushes what was written, because Pingora has nothing more to write and waits. Pingora itself would buffer the
    /// pieces of a body of known length until more arrive.
    fn send_written(&mut self, cx: &mut Context<'_>) {
        if let Some(stream) = self.inner.as_mut() {
            // An error shows at the next write.
            self.has_unsent = Pin::new(stream).poll_flush(cx).is_pending();
        }
    }

    /// Reads a body whose length is known.
    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        left: u64,
    ) -> Poll<io::Result<()>> {
        let Some(stream) = self.inner.as_mut() else { return Poll::Ready(Ok(())) };
        let read = ready!(poll_piece(stream, cx, buffer, left))?;
        self.body = RequestBody::Left(left.saturating_sub(read as u64));
        Poll::Ready(Ok(()))
    }

    /// Reads without a limit, first the bytes that arrived before the switch of protocols.
    fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(ReadAhead::Pipelined(bytes)) = self.read_ahead.as_deref_mut() {
            let count = bytes.len().min(buffer.remaining());
            buffer.put_slice(bytes.get(..count).unwrap_or_default());
            bytes.advance(count);
            if bytes.is_empty() {
                self.read_ahead = None;
            }
            return Poll::Ready(Ok(()));
        }
        let Some(stream) = self.inner.as_mut() else { return Poll::Ready(Ok(())) };
        poll_piece(stream, cx, buffer, u64::MAX).map_ok(drop)
    }

    /// Reads while the response is outstanding: Pingora asks for a single byte then, to notice that the client
    /// disconnects. It gets no byte, because any byte belongs to the next request.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.read_ahead.as_deref_mut() {
            Some(ReadAhead::EndOfStream(Some(patience))) => {
                return patience.as_mut().poll(cx).map(Ok);
            }
            Some(_) => return Poll::Pending,
            None => {}
        }
        let Some(stream) = self.inner.as_mut() else { return Poll::Ready(Ok(())) };
        let now = milliseconds();
        if self.idle_since <= RESPONSE_STARTED_BIT {
            self.idle_since |= now;
        }
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut part = ReadBuf::uninit(&mut space);
        let read = ready!(Pin::new(stream).poll_read(cx, &mut part));
        if !part.filled().is_empty() {
            self.read_ahead = Some(Box::new(ReadAhead::Pipelined(BytesMut::from(part.filled()))));
            return Poll::Pending;
        }
        let is_end = match &read {
            Ok(()) => true,
            // TLS ended without close_notify; the request is complete anyway.
            Err(error) => error.kind() == io::ErrorKind::UnexpectedEof,
        };
        let waited =
            Duration::from_millis(now.wrapping_sub(self.idle_since & !RESPONSE_STARTED_BIT).into());
        if is_end && waited <= HALF_CLOSE_TIMEOUT {
            let has_begun = self.idle_since & RESPONSE_STARTED_BIT != 0;
            let patience = has_begun.then(|| Box::pin(sleep(HALF_CLOSED_STALL_TIMEOUT)));
            self.read_ahead = Some(Box::new(ReadAhead::EndOfStream(patience)));
            return self.poll_idle(cx);
        }
        Poll::Ready(read)
    }
}

/// Reads at most this many bytes, and at most [`MAX_READ_BYTES`]: Pingora reads several times before it waits for an
/// upstream that does not read.
fn poll_piece(
    stream: &mut Stream,
    cx: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
    max: u64,
) -> Poll<io::Result<usize>> {
    // Without clearing the buffer first: that would touch pages of Pingora's 64 KiB that no byte is read into.
    let mut piece = stream.take(max.min(MAX_READ_BYTES));
    let before = buffer.filled().len();
    ready!(Pin::new(&mut piece).poll_read(cx, buffer))?;
    Poll::Ready(Ok(buffer.filled().len() - before))
}

/// The result of a read for a head.
enum HeadRead {
    /// A complete request that needs no check, or the beginning of one, and the bytes after it.
    Request(BytesMut, HeadScan, RequestBody, Option<BytesMut>),
    /// This many other bytes.
    Held(usize),
}

/// How many of these bytes belong to the first request, and which part of it is still to come.
fn end_of_request(bytes: &[u8], scan: &HeadScan) -> (usize, RequestBody) {
    let behind = bytes.get(scan.length..).unwrap_or_default();
    let (here, body) = match scan.body {
        AnnouncedBody::Length(length) => {
            let here = usize::try_from(length).map_or(behind.len(), |it| it.min(behind.len()));
            (here, RequestBody::Left(length - here as u64))
        }
        AnnouncedBody::Chunked => (behind.len(), RequestBody::Open),
    };
    (scan.length + here, body)
}

/// Milliseconds since the first connection; never 0, and with [`RESPONSE_STARTED_BIT`] clear.
fn milliseconds() -> u32 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    // They wrap after 49 days, which does not affect differences.
    let all = START.elapsed().as_millis() & u128::from(u32::MAX);
    u32::try_from(all).unwrap_or_default().max(2) & !RESPONSE_STARTED_BIT
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Pingora reads on after a complete head.
        if self.refuse_head() {
            return Poll::Ready(Ok(()));
        }
        if self.has_unsent {
            self.send_written(cx);
        }
        match self.body {
            RequestBody::Left(left) if left > 0 => self.poll_body(cx, buffer, left),
            RequestBody::Open if buffer.remaining() > 1 => self.poll_open(cx, buffer),
            _ if buffer.remaining() == 1 => self.poll_idle(cx),
            // Pingora does not see the end of the body, so the request ends here.
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.begin_write(bytes);
        match self.inner.as_mut() {
            Some(stream) => Pin::new(stream).poll_write(cx, bytes),
            None => Poll::Ready(Ok(bytes.len())),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.begin_write(slices.first().map_or(&[], |slice| slice));
        match self.inner.as_mut() {
            Some(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            None => Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.has_unsent = false;
        match self.inner.as_mut() {
            Some(stream) => Pin::new(stream).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.inner.as_mut() {
            Some(stream) => Pin::new(stream).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}
