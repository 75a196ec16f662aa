//! Deadlines for the beginning and the end of a response.
//!
//! Pingora 0.9.1 has one time for each read of an upstream, which begins anew with each part of the
//! request's body that is sent, each interim response and each line of a head. So the connection is
//! cut off when the time is over. Over HTTP/2 it carries other requests as well, and the times of
//! reads have to do.

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

const WAITS: u8 = 0;
const OVER: u8 = 1;
const LATE: u8 = 2;

const FIRST_BYTE: &str = "timeouts.first_byte";
const REQUEST: &str = "timeouts.request";

/// Timers may fire so much before their time.
const TIMER_SLACK: Duration = Duration::from_millis(20);

/// An attempt's deadline. It is over when this is dropped.
pub(super) struct ResponseDeadline {
    state: Arc<AtomicU8>,
    timer: AbortHandle,
    /// The key that it is for.
    key: &'static str,
}

impl ResponseDeadline {
    fn begin(line: Arc<CutOffHandle>, at: Instant, key: &'static str) -> Self {
        let state = Arc::new(AtomicU8::new(WAITS));
        let of_timer = Arc::clone(&state);
        let timer = tokio::spawn(async move {
            sleep_until(at).await;
            // A response that has come lets the connection go, and another request may have it.
            if settle(&of_timer, LATE) {
                line.cut();
            }
        });
        Self { state, timer: timer.abort_handle(), key }
    }

    /// Why the request fails.
    fn reason(&self) -> Box<Error> {
        let reason = format!("the response took too long ({})", self.key);
        Error::explain(ErrorType::ReadTimedout, reason).into_up()
    }
}

impl Drop for ResponseDeadline {
    fn drop(&mut self) {
        settle(&self.state, OVER);
        self.timer.abort();
    }
}

/// Whether it waited until now.
fn settle(state: &AtomicU8, to: u8) -> bool {
    state.compare_exchange(WAITS, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
}

/// Whether a request of this kind needs a connection that can be cut off.
pub(super) fn is_wanted(ctx: &Context) -> bool {
    let route = &ctx.route;
    route.first_byte_timeout.is_some() || route.request_timeout.is_some()
}

/// There is a connection for this attempt.
pub(super) fn connected(digest: Option<&Digest>, ctx: &mut Context) {
    ctx.attempt.deadline = None;
    ctx.attempt.cut_off_handle =
        if is_wanted(ctx) { digest.and_then(CutOffHandle::of) } else { None };
}

/// The request is about to go up. A connection that has agreed on HTTP/2 carries others beside it.
pub(super) fn asking(request: &RequestHeader, ctx: &mut Context) {
    if request.version == Version::HTTP_2 {
        ctx.attempt.cut_off_handle = None;
    }
}

/// All of the request has gone up.
pub(super) fn asked(ctx: &mut Context) {
    let Some(line) = &ctx.attempt.cut_off_handle else { return };
    let first = ctx.route.first_byte_timeout;
    let first = first.map(|time| (Instant::now() + time, FIRST_BYTE));
    let whole = whole(ctx).map(|at| (at, REQUEST));
    let soonest = first.into_iter().chain(whole).min_by_key(|(at, _)| *at);
    let begin = |(at, key)| Box::new(ResponseDeadline::begin(Arc::clone(line), at, key));
    ctx.attempt.deadline = soonest.map(begin);
}

/// When the request must be over.
fn whole(ctx: &Context) -> Option<Instant> {
    ctx.route.request_timeout.map(|time| Instant::from_std(ctx.started) + time)
}

/// The response to a request with this method has begun.
///
/// # Errors
/// When the connection has just been cut off.
pub(super) fn met(method: &Method, response: &ResponseHeader, ctx: &mut Context) -> Result<()> {
    let Some(line) = ctx.attempt.cut_off_handle.take() else { return Ok(()) };
    let is_bodiless = *method == Method::HEAD
        || response_framing::is_bodiless(response.status)
        || response.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length == "0");
    let whole = whole(ctx).filter(|_| !is_bodiless);
    match (whole, &ctx.attempt.deadline) {
        (Some(_), Some(deadline)) if deadline.key == REQUEST => {}
        (Some(at), _) => {
            complete(ctx)?;
            ctx.attempt.deadline = Some(Box::new(ResponseDeadline::begin(line, at, REQUEST)));
        }
        (None, _) => complete(ctx)?,
    }
    Ok(())
}

/// The response is complete, and the connection free for another request, unless it was cut off: what ends with its
/// connection is not complete then.
pub(super) fn complete(ctx: &mut Context) -> Result<()> {
    match ctx.attempt.deadline.take() {
        Some(deadline) if !settle(&deadline.state, OVER) => Err(deadline.reason()),
        _ => Ok(()),
    }
}

/// Whether the time of the whole request is over.
pub(super) fn is_over(ctx: &Context) -> bool {
    let limit = ctx.route.request_timeout.filter(|_| ctx.session.permit.is_none());
    limit.is_some_and(|limit| ctx.started.elapsed() + TIMER_SLACK >= limit)
}

/// What an error means that is there because the connection was cut off.
pub(super) fn explain(error: Box<Error>, ctx: &mut Context) -> Box<Error> {
    let late = ctx.attempt.deadline.take().filter(|it| it.state.load(Ordering::Acquire) == LATE);
    match late {
        None => error,
        Some(late) => late.reason(),
    }
}
