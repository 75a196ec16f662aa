//! Sends the response of one HTTP/2 stream, within bounded memory. Knows nothing of the request.

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::{HeaderMap, Response, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::protocols::http::date::get_cached_date;
use pingora::{Error, ErrorType, OrErr, Result};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use tidegate_http::header_name::FORBIDDEN_IN_HTTP2;
use tokio::sync::oneshot;

/// Maximum memory that the interim responses of one stream take. Flow control does not bound heads, so
/// a client that reads nothing would let an upstream fill the gateway's memory with them.
const MAX_INTERIM_BYTES: usize = 128 * 1024;

/// What is counted for an interim response besides its headers, in bytes.
const INTERIM_OVERHEAD: usize = 128;

/// The response of one stream, on its way to the connection.
pub(super) struct Responder {
    head: SendResponse<Bytes>,
    /// The body, once the head is sent.
    body: Option<SendStream<Bytes>>,
    /// What follows the body's last part, where that waits for the client.
    trailers: Option<HeaderMap>,
    /// Whether the end of the stream is sent.
    is_ended: bool,
    /// What interim responses have taken, as [`MAX_INTERIM_BYTES`] counts.
    interim_memory: usize,
    /// Whether the client waits for a 100 (Continue).
    expects_continue: bool,
}

/// A responder, and who else looks whether the client has reset its stream.
pub(super) enum SharedResponder {
    /// Nobody: Pingora's session does so all the time while there is no request body.
    Own(Responder),
    /// The stream's task as well: Pingora does not look while an upstream does not take the body.
    Shared(Arc<Mutex<Responder>>),
}

impl SharedResponder {
    pub(super) fn with_lock<T>(&mut self, act: impl FnOnce(&mut Responder) -> T) -> T {
        match self {
            Self::Own(responder) => act(responder),
            Self::Shared(responder) => act(&mut lock(responder)),
        }
    }
}

/// Locks the responder. One task polls both sides, so the lock is never contended.
fn lock(responder: &Mutex<Responder>) -> std::sync::MutexGuard<'_, Responder> {
    responder.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ready when the client has reset the stream, or its connection is over.
pub(super) fn poll_reset(responder: &Mutex<Responder>, cx: &mut Context<'_>) -> Poll<()> {
    lock(responder).poll_reset(cx).map(drop)
}

impl Responder {
    /// `expects`: whether the client waits for a 100 before it sends the body.
    pub(super) fn new(head: SendResponse<Bytes>, expects: bool) -> Self {
        Self {
            head,
            body: None,
            trailers: None,
            is_ended: false,
            interim_memory: 0,
            expects_continue: expects,
        }
    }

    /// The client's reset, or the end of its connection.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reason, h2::Error>> {
        match &mut self.body {
            Some(body) => body.poll_reset(cx),
            None => self.head.poll_reset(cx),
        }
    }

    /// Passes an interim response on (RFC 9110, section 15.2): a 100 once, and only to a client that expects
    /// one (section 10.1.1). HTTP/2 knows no 101 (RFC 9113, section 8.6).
    pub(super) fn send_interim(&mut self, head: &ResponseHeader) {
        let is_passed = match head.status {
            StatusCode::CONTINUE => mem::take(&mut self.expects_continue),
            status => status != StatusCode::SWITCHING_PROTOCOLS,
        };
        // The `h2` crate would send it after the final head, and on a stream that is reset. Whoever waits for
        // a reset polls again behind this call, so that nobody misses the wake.
        let mut cx = Context::from_waker(Waker::noop());
        let is_over =
            self.body.is_some() || self.is_ended || self.head.poll_reset(&mut cx).is_ready();
        if !is_passed || is_over {
            return;
        }
        let fields = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        self.interim_memory += INTERIM_OVERHEAD + fields.sum::<usize>();
        if self.interim_memory > MAX_INTERIM_BYTES {
            return;
        }
        let response = Response::from_parts(head.as_owned_parts(), ());
        if let Err(error) = self.head.send_informational(response) {
            log::debug!("HTTP/2: cannot send an interim (1xx) response: {error}");
        }
    }

    /// Sends the final head, unless the stream has ended.
    pub(super) fn send_head(&mut self, head: &mut ResponseHeader, ends: bool) -> Result<bool> {
        if self.is_ended {
            return Ok(false);
        }
        head.insert_header(header::DATE, get_cached_date())?;
        if head.headers.keys().any(|name| FORBIDDEN_IN_HTTP2.contains(name)) {
            for name in &FORBIDDEN_IN_HTTP2 {
                head.remove_header(name);
            }
        }
        let response = Response::from_parts(head.as_owned_parts(), ());
        let body = self.head.send_response(response, ends);
        let reason = "while writing the head of an HTTP/2 response to the client";
        self.body = Some(body.or_err(ErrorType::WriteError, reason)?);
        self.is_ended = ends;
        Ok(true)
    }

    /// Hands over as much of `data` as the client takes; ready when that is all.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut Bytes,
        ends: bool,
    ) -> Poll<Result<()>> {
        if self.is_ended {
            log::debug!("HTTP/2: dropping data after the end of a response");
            data.clear();
            return Poll::Ready(Ok(()));
        }
        let Some(body) = &mut self.body else {
            let reason = "the response body was sent before the response head";
            return Poll::Ready(Error::e_explain(ErrorType::H2Error, reason));
        };
        loop {
            let room = if data.is_empty() {
                0
            } else {
                body.reserve_capacity(data.len());
                match body.capacity() {
                    0 => match ready!(body.poll_capacity(cx)) {
                        // Others on the connection were faster.
                        Some(Ok(0)) => continue,
                        Some(room) => room.or_err(
                            ErrorType::H2Error,
                            "while waiting for the HTTP/2 flow-control window of the client",
                        )?,
                        None => {
                            let reason = "the HTTP/2 stream ended while the response waited for \
                                          its flow-control window";
                            return Poll::Ready(Error::e_explain(ErrorType::H2Error, reason));
                        }
                    },
                    room => room,
                }
            };
            let piece = data.split_to(room.min(data.len()));
            let is_last = data.is_empty();
            let is_end = is_last && ends && self.trailers.is_none();
            body.send_data(piece, is_end).or_err(
                ErrorType::WriteError,
                "while writing the body of an HTTP/2 response to the client",
            )?;
            if is_last {
                self.is_ended = is_end;
                return Poll::Ready(match self.trailers.take() {
                    Some(trailers) => self.send_trailers(trailers),
                    None => Ok(()),
                });
            }
        }
    }

    /// Sends the trailers once the body's last part has been written.
    pub(super) fn set_trailers(&mut self, trailers: HeaderMap) {
        self.trailers = Some(trailers);
    }

    /// Sends the trailers, which end the stream.
    pub(super) fn send_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        if self.is_ended {
            return Ok(());
        }
        let Some(body) = &mut self.body else {
            let reason = "the trailers were sent before the response head";
            return Error::e_explain(ErrorType::H2Error, reason);
        };
        self.is_ended = true;
        let reason = "while writing the trailers of an HTTP/2 response to the client";
        body.send_trailers(trailers).or_err(ErrorType::WriteError, reason)
    }

    /// Ends a response that has begun, unless it has ended.
    pub(super) fn finish(&mut self) -> Result<()> {
        let Some(body) = self.body.as_mut().filter(|_| !self.is_ended) else { return Ok(()) };
        self.is_ended = true;
        let reason = "while writing the body of an HTTP/2 response to the client";
        body.send_data(Bytes::new(), true).or_err(ErrorType::WriteError, reason)
    }

    /// Resets the stream, unless the response is complete.
    pub(super) fn reset(&mut self, reason: Reason) {
        if !self.is_ended {
            self.is_ended = true;
            self.head.send_reset(reason);
        }
    }

    /// What is ready when all that is queued on the stream has gone to its connection: a reset would throw
    /// it away. The `h2` crate drops a frame's bytes when it has written them, and those of an empty
    /// frame in their turn. `None` where nothing is queued.
    pub(super) fn notify_when_written(&mut self) -> Option<oneshot::Receiver<()>> {
        /// An empty frame's bytes, which report that they are dropped.
        struct WriteNotice(Option<oneshot::Sender<()>>);
        impl AsRef<[u8]> for WriteNotice {
            fn as_ref(&self) -> &[u8] {
                &[]
            }
        }
        impl Drop for WriteNotice {
            fn drop(&mut self) {
                if let Some(notify) = self.0.take() {
                    // The receiver may have given up.
                    let _ = notify.send(());
                }
            }
        }
        let body = self.body.as_mut().filter(|_| !self.is_ended)?;
        let (notify, written) = oneshot::channel();
        let notice = Bytes::from_owner(WriteNotice(Some(notify)));
        body.send_data(notice, false).is_ok().then_some(written)
    }
}
