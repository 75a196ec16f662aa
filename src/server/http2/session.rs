//! One request over HTTP/2, as Pingora's proxy uses it. Knows nothing of routes.
//!
//! Pingora's own session drops interim responses, and rejects malformed heads without a body before the gateway sees
//! them. The file is long because it implements every method of Pingora's session trait.

use super::responder::{Responder, SharedResponder};
use crate::proxy::{IsCollected, task_state};
use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use h2::{Reason, RecvStream};
use http::{HeaderMap, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::body_buffer::FixedBuffer;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session;
use pingora::protocols::http::v1::client::http_req_header_to_wire;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::{Error, ErrorType, OrErr, Result};
use std::collections::VecDeque;
use std::future::{poll_fn, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep, timeout};

/// Maximum size of a request body, in bytes, that is kept for another attempt, as in Pingora's own sessions.
const MAX_RETRY_BODY: usize = 64 * 1024;

/// Maximum time for a client to receive the rest of a truncated response.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// What Pingora takes in the place of an `async fn`.
type BoxedResult<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A reader of messages beside the body, of which HTTP/2 has none.
type MessageReader = Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>;

/// A request over HTTP/2, and its response.
pub(super) struct Http2Session {
    head: RequestHeader,
    body: RecvStream,
    /// Whether the request came without a body. The answer stays the same while a body without bytes is read.
    is_body_empty: bool,
    /// Whether the body has been read to its end. Until trailers are read, `RecvStream` doesn't report the end of a
    /// body that they follow.
    is_body_ended: bool,
    responder: SharedResponder,
    /// The head of the final response, once it is sent.
    response_head: Option<Box<ResponseHeader>>,
    /// Bytes of the request's body that have been read.
    received_bytes: usize,
    /// Bytes of the response's body that have been handed to the connection.
    sent_bytes: usize,
    retry_buffer: Option<FixedBuffer>,
    digest: Arc<Digest>,
    write_timeout: Option<Duration>,
    drain_timeout: Option<Duration>,
    /// Parts of the response that Pingora has queued, once it may queue any.
    queue: Option<Box<WriteQueue>>,
}

/// Parts of a response that are written while Pingora does something else too: it goes on filling the cache
/// for others while this client takes nothing.
#[derive(Default)]
struct WriteQueue {
    tasks: VecDeque<HttpTask>,
    /// What is left of the piece that is being written, and whether it is the last.
    current_piece: Option<(Bytes, bool)>,
    /// Runs while the client takes nothing of it.
    write_timer: Option<Pin<Box<Sleep>>>,
    is_end: bool,
}

impl Http2Session {
    pub(super) fn new(
        head: RequestHeader,
        body: RecvStream,
        responder: SharedResponder,
        digest: Arc<Digest>,
        write_timeout: Duration,
    ) -> Self {
        let length = head.headers.get(header::CONTENT_LENGTH);
        let is_body_empty =
            body.is_end_stream() || length.is_some_and(|length| length.as_bytes() == b"0");
        Self {
            head,
            body,
            is_body_empty,
            is_body_ended: false,
            responder,
            response_head: None,
            received_bytes: 0,
            sent_bytes: 0,
            retry_buffer: None,
            digest,
            write_timeout: Some(write_timeout),
            drain_timeout: None,
            queue: None,
        }
    }

    /// Writes what is queued. What is written of it stays written when this is not polled to its end.
    fn poll_queue(&mut self, queue: &mut WriteQueue, cx: &mut Context<'_>) -> Poll<Result<bool>> {
        loop {
            if let Some((data, ends)) = &mut queue.current_piece {
                let written = ready!(self.poll_write(cx, data, *ends, &mut queue.write_timer));
                queue.current_piece = None;
                queue.write_timer = None;
                written.map_err(Error::into_down)?;
            }
            let Some(task) = queue.tasks.pop_front() else { break };
            queue.current_piece = self.write_unless_body(task, &mut queue.is_end)?;
        }
        if queue.is_end {
            self.end().map_err(Error::into_down)?;
        }
        Poll::Ready(Ok(queue.is_end))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        if task_state::poll_eviction(cx).is_ready() {
            return Poll::Ready(Err(eviction_error()));
        }
        let Some(data) = ready!(self.body.poll_data(cx)) else {
            self.is_body_ended = true;
            return Poll::Ready(Ok(None));
        };
        let data = data.or_err(
            ErrorType::ReadError,
            "while reading the body of an HTTP/2 request from the client",
        )?;
        self.received_bytes += data.len();
        if let Some(buffer) = &mut self.retry_buffer {
            buffer.write_to_buffer(&data);
        }
        // It fails when more is released than came.
        let _ = self.body.flow_control().release_capacity(data.len());
        Poll::Ready(Ok(Some(data)))
    }

    /// Ready when the client has reset the stream or is evicted, or its connection is over.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Box<Error>> {
        if task_state::poll_eviction(cx).is_ready() {
            return Poll::Ready(eviction_error());
        }
        Poll::Ready(match ready!(self.responder.with_lock(|responder| responder.poll_reset(cx))) {
            Ok(reason) => Error::explain(
                ErrorType::H2Error,
                format!("the client reset the HTTP/2 stream: {reason}"),
            ),
            Err(error) => Error::because(
                ErrorType::H2Error,
                "while waiting for the client on an HTTP/2 stream",
                error,
            ),
        })
    }

    /// Hands `data` to the connection as fast as the client takes it. `alarm` runs while it takes nothing.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut Bytes,
        ends: bool,
        alarm: &mut Option<Pin<Box<Sleep>>>,
    ) -> Poll<Result<()>> {
        if task_state::poll_eviction(cx).is_ready() {
            return Poll::Ready(Err(eviction_error()));
        }
        let before = data.len();
        let written = self.responder.with_lock(|responder| responder.poll_write(cx, data, ends));
        self.sent_bytes += before - data.len();
        let (Poll::Pending, Some(limit)) = (&written, self.write_timeout) else { return written };
        if data.len() < before {
            *alarm = None;
        }
        let alarm = alarm.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(alarm.as_mut().poll(cx));
        let reason = format!("writing body, timeout: {limit:?}");
        Poll::Ready(Err(Error::explain(ErrorType::WriteTimedout, reason)))
    }

    fn write_head(&mut self, mut head: Box<ResponseHeader>, ends: bool) -> Result<()> {
        if head.status.is_informational() {
            self.responder.with_lock(|responder| responder.send_interim(&head));
            return Ok(());
        }
        if self.response_head.is_some() {
            log::debug!("HTTP/2: dropping a second response head");
            return Ok(());
        }
        if self.responder.with_lock(|responder| responder.send_head(&mut head, ends))? {
            self.response_head = Some(head);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.responder.with_lock(Responder::finish)
    }

    /// Writes a head, trailers or an end that Pingora hands over. Returns a piece of the body unwritten, and whether
    /// it is the last.
    fn write_unless_body(
        &mut self,
        task: HttpTask,
        is_end: &mut bool,
    ) -> Result<Option<(Bytes, bool)>> {
        match task {
            HttpTask::Header(head, ends) => {
                *is_end |= ends;
                self.write_head(head, ends).map_err(Error::into_down)?;
            }
            HttpTask::Body(data, ends) => {
                *is_end |= ends;
                return Ok(data.filter(|data| !data.is_empty()).map(|data| (data, ends)));
            }
            HttpTask::UpgradedBody(..) => {
                let reason = "an HTTP/2 stream cannot be upgraded to another protocol";
                return Error::e_explain(ErrorType::InternalError, reason);
            }
            HttpTask::Trailer(Some(trailers)) => {
                *is_end = true;
                let sent = self.responder.with_lock(|responder| responder.send_trailers(*trailers));
                sent.map_err(Error::into_down)?;
            }
            HttpTask::Trailer(None) | HttpTask::Done => *is_end = true,
            HttpTask::Failed(error) => return Err(error),
        }
        Ok(None)
    }
}

/// The client is evicted: its stream ends, and those of others on the connection go on.
fn eviction_error() -> Box<Error> {
    Error::explain(ErrorType::H2Error, "the gateway is short of memory and evicts this client")
}

/// An answer that is there at once. That of success takes no memory.
fn boxed_ready<'a>(done: Result<()>) -> BoxedResult<'a, ()> {
    match done {
        Ok(()) => Box::pin(ReadyOk),
        Err(error) => Box::pin(ready(Err(error))),
    }
}

/// A future of no size, so that a box of it allocates nothing.
struct ReadyOk;

impl Future for ReadyOk {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(()))
    }
}

// What is called for each request is written out: the macro's boxes are larger than what they need to hold.
#[async_trait]
impl Session for Http2Session {
    fn req_header(&self) -> &RequestHeader {
        &self.head
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.head
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_read(cx)).await
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        let limit = self.drain_timeout.unwrap_or(Duration::MAX);
        let drain = async {
            while !self.is_body_done() && self.read_body_bytes().await?.is_some() {}
            Ok(())
        };
        let reason = || format!("draining body, timeout: {limit:?}");
        timeout(limit, drain).await.or_err_with(ErrorType::ReadTimedout, reason)?
    }

    fn write_response_header<'a, 'b>(
        &'a mut self,
        head: Box<ResponseHeader>,
        ends: bool,
    ) -> BoxedResult<'b, ()>
    where
        'a: 'b,
        Self: 'b,
    {
        boxed_ready(self.write_head(head, ends))
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, ends: bool) -> Result<()> {
        self.write_head(Box::new(head.clone()), ends)
    }

    async fn write_body(&mut self, mut data: Bytes, ends: bool) -> Result<()> {
        let mut alarm = None;
        poll_fn(|cx| self.poll_write(cx, &mut data, ends, &mut alarm)).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.responder.with_lock(|responder| responder.send_trailers(trailers))
    }

    fn response_duplex_vec<'a, 'b>(&'a mut self, tasks: Vec<HttpTask>) -> BoxedResult<'b, bool>
    where
        'a: 'b,
        Self: 'b,
    {
        let mut tasks = tasks.into_iter();
        let (mut piece, mut alarm, mut is_end) = (None, None, false);
        Box::pin(poll_fn(move |cx| {
            loop {
                if let Some((data, ends)) = &mut piece {
                    let written = ready!(self.poll_write(cx, data, *ends, &mut alarm));
                    written.map_err(Error::into_down)?;
                    alarm = None;
                }
                let Some(task) = tasks.next() else { break };
                piece = self.write_unless_body(task, &mut is_end)?;
            }
            if is_end {
                self.end().map_err(Error::into_down)?;
            }
            Poll::Ready(Ok(is_end))
        }))
    }

    fn proxy_tasks_enabled(&self) -> bool {
        self.queue.is_some()
    }

    fn set_proxy_tasks_enabled(&mut self, enabled: bool) {
        match enabled {
            true => drop(self.queue.get_or_insert_default()),
            false => self.queue = None,
        }
    }

    fn send_proxy_task(&mut self, task: HttpTask) {
        self.queue.get_or_insert_default().tasks.push_back(task);
    }

    fn has_pending_proxy_tasks(&self) -> bool {
        self.queue
            .as_ref()
            .is_some_and(|queue| queue.current_piece.is_some() || !queue.tasks.is_empty())
    }

    async fn write_proxy_tasks(&mut self) -> Result<bool> {
        poll_fn(|cx| {
            let Some(mut queue) = self.queue.take() else { return Poll::Ready(Ok(false)) };
            let written = self.poll_queue(&mut queue, cx);
            self.queue = Some(queue);
            written
        })
        .await
    }

    // What bounds the wait for a body is in `proxy/body_timeout.rs`; over HTTP/2 the gateway can't tell which side is slow.
    fn set_read_timeout(&mut self, _: Option<Duration>) {}

    fn get_read_timeout(&self) -> Option<Duration> {
        None
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.write_timeout = timeout;
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.write_timeout
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.drain_timeout = timeout;
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.drain_timeout
    }

    fn request_summary(&self) -> String {
        format!("{} {}", self.head.method, self.head.uri)
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.response_head.as_deref()
    }

    async fn shutdown(&mut self, code: u32, _: &str) {
        self.responder.with_lock(|responder| responder.reset(Reason::from(code)));
    }

    /// Breaks off a response that can't be completed. The client gets what has come of it, and then a
    /// reset that names the side of the fault (RFC 9113, section 7).
    async fn abandon(&mut self, _: &str) {
        if let Some(written) = self.responder.with_lock(Responder::notify_when_written) {
            let limit = self.write_timeout.unwrap_or(FLUSH_TIMEOUT).min(FLUSH_TIMEOUT);
            // A client that takes nothing for so long misses what is left.
            let _ = timeout(limit, written).await;
        }
        self.responder.with_lock(|responder| responder.reset(Reason::INTERNAL_ERROR));
    }

    fn is_body_done(&mut self) -> bool {
        // The end of a body without bytes has to be read: what Pingora reads of it ends the upstream's request.
        self.is_body_empty
            || self.is_body_ended
            || (self.received_bytes > 0 && self.body.is_end_stream())
    }

    fn finish<'a, 'b>(&'a mut self) -> BoxedResult<'b, ()>
    where
        'a: 'b,
        Self: 'b,
    {
        boxed_ready(self.end())
    }

    fn is_body_empty(&mut self) -> bool {
        self.is_body_empty
    }

    fn read_body_or_idle<'a, 'b>(
        &'a mut self,
        no_body_expected: bool,
    ) -> BoxedResult<'b, Option<Bytes>>
    where
        'a: 'b,
        Self: 'b,
    {
        let is_idle = no_body_expected || self.is_body_done();
        Box::pin(poll_fn(move |cx| match is_idle {
            true => self.poll_gone(cx).map(Err),
            false => self.poll_read(cx),
        }))
    }

    fn body_bytes_sent(&self) -> usize {
        self.sent_bytes
    }

    fn body_bytes_read(&self) -> usize {
        self.received_bytes
    }

    fn digest(&self) -> Option<&Digest> {
        Some(&self.digest)
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        Arc::get_mut(&mut self.digest)
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.digest.socket_digest.as_ref()?.peer_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.digest.socket_digest.as_ref()?.local_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        http_req_header_to_wire(&self.head).map(bytes::BytesMut::freeze).unwrap_or_default()
    }

    fn enable_retry_buffering(&mut self) {
        self.retry_buffer.get_or_insert_with(|| FixedBuffer::new(MAX_RETRY_BODY));
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.retry_buffer.as_ref().is_some_and(FixedBuffer::is_truncated)
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        let whole = self.retry_buffer.as_ref().filter(|buffer| !buffer.is_truncated())?;
        whole.get_buffer().or_else(|| {
            // What the gateway has collected takes its place.
            let collected = self.head.extensions.get::<IsCollected>();
            let collected = collected.map(|_| Bytes::from_static(b"."));
            // Another attempt ends a body without bytes as the first has done.
            collected.or_else(|| self.is_body_ended.then(Bytes::new))
        })
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(&mut self) -> Option<MessageReader> {
        None
    }

    fn restore_custom_message_reader(&mut self, _: MessageReader) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _: Box<dyn CustomMessageWrite>) -> Result<()> {
        Ok(())
    }
}
