//! Deadlines for the beginning and the end of a response (`timeouts.first_byte`, `timeouts.request`). Knows nothing of
//! the request's body.
//!
//! Pingora 0.9.1 has one timeout for each read from an upstream, which restarts with each part of the request's body,
//! each interim response and each line of a head. So the gateway cuts off the connection at the deadline. Over HTTP/2
//! the connection carries other requests too, and the read timeout must do.

use super::{Context, response_framing};
use crate::upstream::CutOffHandle;
use http::{Method, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::{Error, ErrorType, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

const WAITING: u8 = 0;
const DONE: u8 = 1;
const LATE: u8 = 2;

const FIRST_BYTE_KEY: &str = "timeouts.first_byte";
const REQUEST_KEY: &str = "timeouts.request";

/// Timers may fire this much early.
const TIMER_SLACK: Duration = Duration::from_millis(20);

/// The deadline of an attempt. Dropping it cancels it.
pub(super) struct ResponseDeadline {
    state: Arc<AtomicU8>,
    timer: AbortHandle,
    /// The key of the configuration that sets it.
    key: &'static str,
}

impl ResponseDeadline {
    fn start(handle: Arc<CutOffHandle>, at: Instant, key: &'static str) -> Self {
        let state = Arc::new(AtomicU8::new(WAITING));
        let of_timer = Arc::clone(&state);
        let timer = tokio::spawn(async move {
            sleep_until(at).await;
            // After the response another request may use the connection.
            if finish_waiting(&of_timer, LATE) {
                handle.cut();
            }
        });
        Self { state, timer: timer.abort_handle(), key }
    }

    /// The error of a request that missed it.
    fn reason(&self) -> Box<Error> {
        let reason = format!("the response took too long ({})", self.key);
        Error::explain(ErrorType::ReadTimedout, reason).into_up()
    }
}

impl Drop for ResponseDeadline {
    fn drop(&mut self) {
        finish_waiting(&self.state, DONE);
        self.timer.abort();
    }
}

/// Settles the state; returns whether it was still waiting.
fn finish_waiting(state: &AtomicU8, to: u8) -> bool {
    state.compare_exchange(WAITING, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
}

/// Whether the request needs a connection that can be cut off.
pub(super) fn needs_cut_off(ctx: &Context) -> bool {
    let route = &ctx.route;
    route.first_byte_timeout.is_some() || route.request_timeout.is_some()
}

/// The attempt has a connection.
pub(super) fn start(digest: Option<&Digest>, ctx: &mut Context) {
    ctx.attempt.deadline = None;
    ctx.attempt.cut_off_handle =
        if needs_cut_off(ctx) { digest.and_then(CutOffHandle::from_digest) } else { None };
}

/// The request is about to be sent. A connection over HTTP/2 carries other requests too.
pub(super) fn start_request_timeout(request: &RequestHeader, ctx: &mut Context) {
    if request.version == Version::HTTP_2 {
        ctx.attempt.cut_off_handle = None;
    }
}

/// The whole request has been sent.
pub(super) fn request_sent(ctx: &mut Context) {
    let Some(handle) = &ctx.attempt.cut_off_handle else { return };
    let first = ctx.route.first_byte_timeout;
    let first = first.map(|time| (Instant::now() + time, FIRST_BYTE_KEY));
    let whole = request_deadline(ctx).map(|at| (at, REQUEST_KEY));
    let soonest = first.into_iter().chain(whole).min_by_key(|(at, _)| *at);
    let begin = |(at, key)| Box::new(ResponseDeadline::start(Arc::clone(handle), at, key));
    ctx.attempt.deadline = soonest.map(begin);
}

/// The deadline of the whole request.
fn request_deadline(ctx: &Context) -> Option<Instant> {
    ctx.route.request_timeout.map(|time| Instant::from_std(ctx.started) + time)
}

/// The response to a request with this method has begun.
///
/// # Errors
/// When the connection has just been cut off.
pub(super) fn response_started(
    method: &Method,
    response: &ResponseHeader,
    ctx: &mut Context,
) -> Result<()> {
    let Some(handle) = ctx.attempt.cut_off_handle.take() else { return Ok(()) };
    let is_bodiless = *method == Method::HEAD
        || response_framing::is_bodiless(response.status)
        || response.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length == "0");
    let whole = request_deadline(ctx).filter(|_| !is_bodiless);
    match (whole, &ctx.attempt.deadline) {
        (Some(_), Some(deadline)) if deadline.key == REQUEST_KEY => {}
        (Some(at), _) => {
            check(ctx)?;
            ctx.attempt.deadline = Some(Box::new(ResponseDeadline::start(handle, at, REQUEST_KEY)));
        }
        (None, _) => check(ctx)?,
    }
    Ok(())
}

/// The response is complete, and the connection free for another request, unless it was cut off: what ends with its
/// connection is not complete then.
pub(super) fn check(ctx: &mut Context) -> Result<()> {
    match ctx.attempt.deadline.take() {
        Some(deadline) if !finish_waiting(&deadline.state, DONE) => Err(deadline.reason()),
        _ => Ok(()),
    }
}

/// Whether the deadline of the whole request has passed.
pub(super) fn has_expired(ctx: &Context) -> bool {
    let limit = ctx.route.request_timeout.filter(|_| ctx.session.permit.is_none());
    limit.is_some_and(|limit| ctx.started.elapsed() + TIMER_SLACK >= limit)
}

/// The error of a request whose connection was cut off at the deadline; otherwise the error itself.
pub(super) fn explain_error(error: Box<Error>, ctx: &mut Context) -> Box<Error> {
    let late = ctx.attempt.deadline.take().filter(|it| it.state.load(Ordering::Acquire) == LATE);
    match late {
        None => error,
        Some(late) => late.reason(),
    }
}
