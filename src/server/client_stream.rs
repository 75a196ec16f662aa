//! A client's connection over HTTP/1, between Pingora and the socket.
//!
//! Pingora answers what its parser refuses by itself, without a word on why, and nobody is told; and a client that
//! has closed its sending side is gone to it. So this stands between: it has each head before Pingora has it, keeps
//! Pingora's own refusals from the wire and leaves the connection to whoever refuses properly.

use crate::http::raw_head::{self as head, CUT_OFF, Fault, MALFORMED, MAX_HEAD, TOO_LARGE};
use crate::proxy::begun;
use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use std::cell::{Cell, RefCell};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A client that closes its sending side so soon after a whole request has said all and waits for the answer, as
/// `nc -N` does. One that closes later has given up.
const SAID_ALL: Duration = Duration::from_secs(1);

/// Whether a client that has said all is still there shows when something is sent to it. Where nothing of an answer
/// that has begun comes for so long, it counts as gone: an event stream may be silent for ever.
const STILL_THERE: Duration = Duration::from_secs(5);

/// Within a time: the response has begun.
const HAS_BEGUN: u32 = 1;

/// The most bytes of a head that are remembered to tell what is wrong with it.
const MAX_REMEMBERED: usize = 32 * 1024;

/// A connection whose request is refused before it is one.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) stream: Stream,
    /// As much of the head as is known.
    pub(super) head: Vec<u8>,
    /// `None` for a head that did not come to its end in time.
    pub(super) fault: Option<Fault>,
}

/// A connection, and the request that it awaits.
type Owner = (u32, Option<u32>);

tokio::task_local! {
    static REFUSED: Cell<Option<Box<Refused>>>;
}

thread_local! {
    /// The head that Pingora has been given last, and whose it is: the connection's number and the request's. Pingora
    /// judges it in the same breath, so it need not be kept for each connection.
    static LAST_HEAD: RefCell<(Owner, Vec<u8>)> = const { RefCell::new(((0, None), Vec::new())) };
}

/// Runs what serves a connection, with a place for its refusal.
pub(super) async fn keeping_refusal<T>(connection: impl Future<Output = T>) -> T {
    REFUSED.scope(Cell::new(None), connection).await
}

/// What was refused on this task's connection, if something was.
pub(super) fn take_refused() -> Option<Box<Refused>> {
    REFUSED.try_with(Cell::take).unwrap_or_default()
}

#[derive(Debug)]
pub(super) struct ClientStream {
    /// `None` once it is refused.
    inner: Option<Stream>,
    /// What few connections have.
    aside: Option<Box<Aside>>,
    /// Since when nothing but the response is waited for, in milliseconds of the process; 0 where more is. Its lowest
    /// bit tells whether the response has begun.
    idle_since: u32,
    /// Its number, to find its head by.
    number: u32,
    /// How much of the body, by its Content-Length, Pingora has not got.
    body_left: u64,
    /// Whether the last bytes that Pingora got may go past the end of a request: it then has the beginning of the
    /// next head, and what is read is the rest.
    may_have_next: bool,
}

#[derive(Debug)]
enum Aside {
    /// A head that has not gone to Pingora, all or in part.
    Head(Held),
    /// The client has said all. Once its answer has begun: until when something more of it must come.
    SaidAll(Option<Pin<Box<Sleep>>>),
}

#[derive(Debug)]
struct Held {
    bytes: BytesMut,
    is_whole: bool,
    /// Whether Pingora has got some of it.
    is_begun: bool,
}

impl ClientStream {
    pub(super) fn new(stream: Stream) -> Self {
        static NUMBERS: AtomicU32 = AtomicU32::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        Self {
            inner: Some(stream),
            aside: None,
            idle_since: 0,
            number,
            body_left: 0,
            may_have_next: false,
        }
    }

    /// Notes whether these bytes, which Pingora gets, may go past the end of a request.
    fn note_end(&mut self, bytes: &[u8]) {
        let of_body = usize::try_from(self.body_left).unwrap_or(usize::MAX).min(bytes.len());
        self.body_left -= of_body as u64;
        let rest = bytes.get(of_body..).unwrap_or_default();
        self.may_have_next = !rest.is_empty() && !rest.ends_with(b"\r\n\r\n");
    }

    /// Notes the head that Pingora gets next, so that a refusal can say what is wrong with it.
    pub(super) fn remember(&mut self, head: &[u8]) {
        self.body_left = 0;
        // Of those without a body nothing more need be known.
        let is_alone = matches!(head, [b'G' | b'H', .., b'\r', b'\n', b'\r', b'\n']);
        let extent = if is_alone { None } else { head::extent(head) };
        let (length, body) = extent.unwrap_or_default();
        self.body_left = body;
        self.note_end(head.get(length..).unwrap_or_default());
        LAST_HEAD.with_borrow_mut(|(owner, bytes)| {
            *owner = (self.number, begun::awaited());
            bytes.clear();
            if head.len() <= MAX_REMEMBERED {
                bytes.extend_from_slice(head);
            }
        });
    }

    /// Leaves the connection to whoever refuses the request.
    fn refuse(&mut self, head: Vec<u8>, fault: Option<Fault>) {
        if let Some(stream) = self.inner.take() {
            let refused = Box::new(Refused { stream, head, fault });
            // Outside of a connection's task there is nobody to tell.
            let _ = REFUSED.try_with(|place| place.set(Some(refused)));
        }
    }

    /// Looks at who writes, and to whom.
    fn begin_write(&mut self) {
        if begun::awaited().is_some() {
            self.refuse_last();
        }
        self.idle_since |= HAS_BEGUN;
        if let Some(Aside::SaidAll(patience)) = self.aside.as_deref_mut() {
            *patience = Some(Box::pin(sleep(STILL_THERE)));
        }
    }

    /// Pingora answers before there is a request: its parser has refused the head.
    fn refuse_last(&mut self) {
        let us = (self.number, begun::awaited());
        let head = LAST_HEAD.with_borrow_mut(|(owner, bytes)| match *owner == us {
            true => std::mem::take(bytes),
            false => Vec::new(),
        });
        let fault = head::fault(&head).filter(|_| !head.is_empty()).unwrap_or(MALFORMED);
        self.refuse(head, Some(fault));
    }

    /// Hands a head to Pingora once it is whole.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.idle_since = 0;
        if !matches!(self.aside.as_deref(), Some(Aside::Head(_)))
            && !self.poll_whole(cx, buffer)?.is_ready()
        {
            return Poll::Pending;
        }
        while let Some(Aside::Head(held)) = self.aside.as_deref_mut()
            && !held.is_whole
        {
            let Some(stream) = self.inner.as_mut() else { return Poll::Ready(Ok(())) };
            let mut space = [MaybeUninit::uninit(); 4096];
            let mut part = ReadBuf::uninit(&mut space);
            if let Err(error) = ready!(Pin::new(stream).poll_read(cx, &mut part)) {
                self.aside = None;
                return Poll::Ready(Err(error));
            }
            held.bytes.extend_from_slice(part.filled());
            held.is_whole = head::became_whole(&held.bytes, part.filled().len());
            let judged = match held.is_whole {
                _ if part.filled().is_empty() => Err(CUT_OFF),
                true => head::prepare(&mut held.bytes),
                false if held.bytes.len() > MAX_HEAD => Err(TOO_LARGE),
                false => Ok(()),
            };
            if let Err(fault) = judged {
                let head = held.bytes.to_vec();
                self.refuse(head, Some(fault));
                return Poll::Ready(Ok(()));
            }
        }
        if let Some(Aside::Head(held)) = self.aside.as_deref_mut() {
            if !held.is_begun {
                let bytes = std::mem::take(&mut held.bytes);
                self.remember(&bytes);
                if let Some(Aside::Head(held)) = self.aside.as_deref_mut() {
                    held.bytes = bytes;
                }
            }
            self.hand_over(buffer);
        }
        Poll::Ready(Ok(()))
    }

    /// Gives as much of a head as there is room for; tells whether there was one.
    fn hand_over(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let Some(Aside::Head(held)) = self.aside.as_deref_mut() else { return false };
        let count = held.bytes.len().min(buffer.remaining());
        buffer.put_slice(held.bytes.get(..count).unwrap_or_default());
        held.bytes.advance(count);
        held.is_begun = true;
        if held.bytes.is_empty() {
            self.aside = None;
        }
        true
    }

    /// Reads right into Pingora's buffer. What is no whole head, or not fit for Pingora, is held.
    fn poll_whole(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> io::Result<Poll<()>> {
        let Some(stream) = self.inner.as_mut() else { return Ok(Poll::Ready(())) };
        let before = buffer.filled().len();
        match Pin::new(stream).poll_read(cx, buffer) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(read) => read?,
        }
        let read = buffer.filled().get(before..).unwrap_or_default();
        if read.is_empty() {
            return Ok(Poll::Ready(()));
        }
        let is_whole = head::is_whole(read);
        let is_rest = self.may_have_next && !head::is_request(read);
        if is_rest || (is_whole && head::is_plain(read)) {
            if is_rest {
                self.note_end(read);
            } else {
                self.remember(read);
            }
            return Ok(Poll::Ready(()));
        }
        let mut held = Held { bytes: BytesMut::from(read), is_whole, is_begun: false };
        buffer.set_filled(before);
        let fault = is_whole.then(|| head::prepare(&mut held.bytes)).and_then(Result::err);
        match fault {
            Some(fault) => self.refuse(held.bytes.to_vec(), Some(fault)),
            None => self.aside = Some(Box::new(Aside::Head(held))),
        }
        Ok(Poll::Ready(()))
    }

    /// Reads while a response is waited for: Pingora asks for a single byte then, to see whether the client leaves.
    fn poll_idle(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(Aside::SaidAll(patience)) = self.aside.as_deref_mut() {
            return match patience {
                Some(patience) => patience.as_mut().poll(cx).map(Ok),
                None => Poll::Pending,
            };
        }
        let Some(stream) = self.inner.as_mut() else { return Poll::Ready(Ok(())) };
        let now = milliseconds();
        if self.idle_since <= HAS_BEGUN {
            self.idle_since |= now;
        }
        let read = ready!(Pin::new(stream).poll_read(cx, buffer));
        self.may_have_next |= !buffer.filled().is_empty();
        let is_end = match &read {
            Ok(()) => buffer.filled().is_empty(),
            // TLS without a farewell: the request is whole all the same.
            Err(error) => error.kind() == io::ErrorKind::UnexpectedEof,
        };
        let waited = Duration::from_millis(now.wrapping_sub(self.idle_since & !HAS_BEGUN).into());
        if is_end && waited <= SAID_ALL {
            let has_begun = self.idle_since & HAS_BEGUN != 0;
            let patience = has_begun.then(|| Box::pin(sleep(STILL_THERE)));
            self.aside = Some(Box::new(Aside::SaidAll(patience)));
            return self.poll_idle(cx, buffer);
        }
        Poll::Ready(read)
    }
}

/// Since the first connection; never 0, and without [`HAS_BEGUN`].
fn milliseconds() -> u32 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    // After 49 days they begin anew, which a difference does not mind.
    let all = START.elapsed().as_millis() & u128::from(u32::MAX);
    u32::try_from(all).unwrap_or_default().max(2) & !HAS_BEGUN
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        // A head that has begun and is not whole: it did not come in time.
        if let Some(Aside::Head(held)) = self.aside.take().map(|aside| *aside)
            && !held.is_whole
        {
            self.refuse(held.bytes.to_vec(), None);
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if begun::awaited().is_some() {
            return self.poll_head(cx, buffer);
        }
        if self.hand_over(buffer) {
            return Poll::Ready(Ok(()));
        }
        if buffer.remaining() == 1 {
            return self.poll_idle(cx, buffer);
        }
        let Some(stream) = self.inner.as_mut() else { return Poll::Ready(Ok(())) };
        let before = buffer.filled().len();
        let read = ready!(Pin::new(stream).poll_read(cx, buffer));
        self.note_end(buffer.filled().get(before..).unwrap_or_default());
        Poll::Ready(read)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.begin_write();
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
        self.begin_write();
        match self.inner.as_mut() {
            Some(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            None => Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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

#[async_trait]
impl Shutdown for ClientStream {
    async fn shutdown(&mut self) {
        if let Some(stream) = self.inner.as_mut() {
            stream.shutdown().await;
        }
    }
}

impl UniqueID for ClientStream {
    fn id(&self) -> UniqueIDType {
        self.inner.as_ref().map_or(-1, |stream| stream.id())
    }
}

impl Ssl for ClientStream {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.as_ref()?.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.as_ref()?.selected_alpn_proto()
    }
}

impl GetTimingDigest for ClientStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.as_ref().map_or_else(Vec::new, |stream| stream.get_timing_digest())
    }

    fn get_read_pending_time(&self) -> Duration {
        self.inner.as_ref().map_or(Duration::ZERO, |stream| stream.get_read_pending_time())
    }

    fn get_write_pending_time(&self) -> Duration {
        self.inner.as_ref().map_or(Duration::ZERO, |stream| stream.get_write_pending_time())
    }
}

impl GetProxyDigest for ClientStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.as_ref()?.get_proxy_digest()
    }
}

impl GetSocketDigest for ClientStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.as_ref()?.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        if let Some(stream) = self.inner.as_mut() {
            stream.set_socket_digest(digest);
        }
    }
}

impl Peek for ClientStream {}
