//! A deadline for the beginning of a response.
//!
//! Pingora 0.9.1 has one time for each read of an upstream, which begins anew with each part of the
//! request's body that is sent. So the connection is cut off when the time is over.

use super::Context;
use crate::upstream::Line;
use pingora::protocols::Digest;
use pingora::{Error, ErrorType};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

const WAITS: u8 = 0;
const OVER: u8 = 1;
const LATE: u8 = 2;

/// An attempt's deadline. It is over when this is dropped.
pub(super) struct Deadline {
    state: Arc<AtomicU8>,
    timer: AbortHandle,
    /// The key that it is for.
    key: &'static str,
}

impl Deadline {
    fn begin(line: Arc<Line>, at: Instant, key: &'static str) -> Self {
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
}

impl Drop for Deadline {
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
    // Without a body nothing makes the reads' time begin anew.
    route.first_byte_timeout.is_some() || (route.request_timeout.is_some() && ctx.has_body)
}

/// There is a connection for this attempt.
pub(super) fn connected(digest: Option<&Digest>, ctx: &mut Context) {
    ctx.deadline = None;
    ctx.line = if is_wanted(ctx) { digest.and_then(Line::of) } else { None };
}

/// All of the request has gone up.
pub(super) fn asked(ctx: &mut Context) {
    let Some(line) = ctx.line.take() else { return };
    let first = ctx.route.first_byte_timeout;
    let first = first.map(|time| (Instant::now() + time, "timeouts.first_byte"));
    let whole = ctx.route.request_timeout;
    let whole = whole.map(|time| (Instant::from_std(ctx.started) + time, "timeouts.request"));
    let soonest = first.into_iter().chain(whole).min_by_key(|(at, _)| *at);
    ctx.deadline = soonest.map(|(at, key)| Box::new(Deadline::begin(line, at, key)));
}

/// The response has begun.
pub(super) fn met(ctx: &mut Context) {
    ctx.line = None;
    ctx.deadline = None;
}

/// What an error means that is there because the connection was cut off.
pub(super) fn explain(error: Box<Error>, ctx: &mut Context) -> Box<Error> {
    let late = ctx.deadline.take().filter(|it| it.state.load(Ordering::Acquire) == LATE);
    match late {
        None => error,
        Some(late) => {
            let reason = format!("the response did not begin ({})", late.key);
            Error::explain(ErrorType::ReadTimedout, reason).into_up()
        }
    }
}
