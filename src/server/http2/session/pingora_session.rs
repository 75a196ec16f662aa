//! Implements every method of Pingora's session trait, by the methods of the session. Knows nothing of streams and frames.

use super::Http2Session;
use crate::proxy::IsCollected;
use crate::server::http2::responder::Responder;
use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use h2::Reason;
use http::HeaderMap;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::body_buffer::FixedBuffer;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session;
use pingora::protocols::http::v1::client::http_req_header_to_wire;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::{Error, ErrorType, OrErr, Result};
use std::future::{poll_fn, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::timeout;

/// Maximum size of a request body, in bytes, that is kept for another attempt, as in Pingora's own sessions.
const MAX_RETRY_BODY_BYTES: usize = 64 * 1024;

/// Maximum time for a client to receive the rest of a truncated response.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// What Pingora takes in the place of an `async fn`.
type BoxedResult<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A reader of messages beside the body, of which HTTP/2 has none.
type MessageReader = Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>;

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
        self.retry_buffer.get_or_insert_with(|| FixedBuffer::new(MAX_RETRY_BODY_BYTES));
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
