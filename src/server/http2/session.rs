//! One request over HTTP/2: reads its body, writes its response, and queues parts of it. Knows nothing of routes.
//!
//! Pingora's own session drops interim responses, and rejects malformed heads without a body before the gateway sees
//! them.

mod pingora_session;

use super::responder::{Responder, SharedResponder};
use crate::proxy::task_state;
use bytes::Bytes;
use h2::RecvStream;
use http::header;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::body_buffer::FixedBuffer;
use pingora::{Error, ErrorType, OrErr, Result};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

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
                if let Some(last_part) = task_state::take_last_part() {
                    self.responder.with_lock(|responder| responder.set_trailers(*trailers));
                    return Ok(Some((last_part, true)));
                }
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
