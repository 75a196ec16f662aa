//! Decides whether another attempt follows a failed one. Does not select its endpoint.

use super::{Context, first_byte_timeout, tracing};
use crate::load::OverloadControl;
use crate::upstream::{CONNECTION_CLOSING, is_dial_error, is_out_of_files};
use crate::websocket::HandshakeTimeout;
use http::StatusCode;
use pingora::http::ResponseHeader;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::Session;
use std::time::Duration;

/// Maximum wait before an attempt.
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// The error for a response that is not forwarded because another attempt follows.
const RETRY_RESPONSE: ErrorType = ErrorType::Custom("ANewAttempt");

/// The failed attempts of a request.
#[derive(Debug, Default)]
pub(super) struct RetryState {
    /// Number of failed attempts that another followed.
    failed: u32,
    /// Whether the next one waits.
    is_waiting: bool,
}

impl RetryState {
    /// Whether no attempt has failed.
    pub(super) fn is_first(&self) -> bool {
        self.failed == 0
    }

    /// The wait before the next attempt.
    pub(super) fn backoff(&mut self, base: Duration) -> Option<Duration> {
        if !std::mem::take(&mut self.is_waiting) {
            return None;
        }
        let max = base.saturating_mul(1 << self.failed.saturating_sub(1).min(10)).min(MAX_BACKOFF);
        // Random over the whole range: requests that failed together do not return together.
        let [a, b, ..] = *uuid::Uuid::new_v4().as_bytes();
        Some(max.mul_f64(f64::from(u16::from_be_bytes([a, b])) / 65_536.0))
    }
}

/// No connection could be established: nothing has been sent yet.
pub(super) fn connect_failed(
    peer: &HttpPeer,
    overload: &OverloadControl,
    ctx: &mut Context,
    mut error: Box<Error>,
) -> Box<Error> {
    if peer.is_tls() && *error.etype() == ErrorType::ConnectTimedout && !is_dial_error(&error) {
        // Pingora uses one name for both; here it is the handshake.
        error.etype = ErrorType::TLSHandshakeTimedout;
    }
    tracing::record_failure(ctx, &error);
    if ctx.close_request().is_some() {
        // The gateway itself ends the handshake: not a fault of the endpoint, and no other is tried.
        error.set_retry(false);
        return error;
    }
    let Some(pool) = ctx.pool().cloned() else { return error };
    if is_out_of_files(&error) {
        overload.out_of_files();
        // Not a fault of the endpoint, and no better at another one.
        error.set_retry(false);
        return error;
    }
    if let Some(chosen) = &ctx.attempt.endpoint {
        pool.record_connect_failure(chosen);
        ctx.attempt.tried.push(chosen.address().clone());
    }
    let policy = &ctx.route.retry;
    let may_retry = policy.on_connect_failure
        && !is_last_attempt(&error)
        && ctx.attempt.retries.failed + 1 < policy.attempts
        && ctx.attempt.tried.len() < pool.address_count();
    if may_retry {
        pool.counts().record_retry();
        ctx.attempt.retries.failed += 1;
    }
    error.set_retry(may_retry);
    error
}

/// Checks the head of a response. An error means that the client does not get it.
pub(super) fn check_response(
    session: &Session,
    response: &ResponseHeader,
    ctx: &mut Context,
) -> Result<()> {
    if response.status.is_informational() && response.status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(());
    }
    first_byte_timeout::response_started(&session.req_header().method, response, ctx)?;
    let status = response.status.as_u16();
    tracing::record_response(ctx, response);
    if let (Some(pool), Some(chosen)) = (ctx.pool(), &ctx.attempt.endpoint) {
        pool.record_response(chosen, status);
    }
    if ctx.route.retry.on_status.contains(&status) && may_repeat(session, ctx, false) {
        ctx.attempt.deadline = None;
        let mut error = Error::new_up(RETRY_RESPONSE);
        error.set_retry(true);
        return Err(error);
    }
    Ok(())
}

/// A request failed on an established connection.
pub(super) fn connection_failed(
    session: &Session,
    error: Box<Error>,
    ctx: &mut Context,
    is_reused: bool,
) -> Box<Error> {
    if *error.etype() == RETRY_RESPONSE {
        return error;
    }
    if ctx.close_request().is_some() {
        // The gateway itself ends the handshake: not a fault of the endpoint, and no other is tried.
        let mut error = error;
        tracing::record_failure(ctx, &error);
        error.set_retry(false);
        return error;
    }
    if *error.etype() == CONNECTION_CLOSING {
        let mut error = error;
        tracing::record_failure(ctx, &error);
        // Until Pingora's pool has noticed, it may give out the same connection again.
        ctx.attempt.retries.is_waiting = true;
        error.set_retry(true);
        return error;
    }
    let mut error = first_byte_timeout::explain_error(error, ctx);
    if HandshakeTimeout::from_error(&error).is_some() {
        error.etype = ErrorType::ReadTimedout;
    }
    tracing::record_failure(ctx, &error);
    if is_unprocessed(&error) {
        // Not a fault of the endpoint: it drains or is busy.
        // A connection that was closing already costs no attempt, as one that was idle does not.
        let may_retry = may_repeat(session, ctx, true)
            || (is_reused && is_graceful(&error) && is_repeatable(session));
        error.set_retry(may_retry);
        return error;
    }
    let is_upstreams = *error.esource() == ErrorSource::Upstream;
    let is_safe = ctx.route.retry.attempts > 1
        && session.req_header().method.is_idempotent()
        && is_repeatable(session);
    if !is_safe {
        error.set_retry(false);
    } else {
        // An upstream may close an idle connection while a request is in flight to it.
        error.retry.decide_reuse(is_reused);
    }
    if !is_upstreams || error.retry() {
        return error;
    }
    if let (Some(pool), Some(chosen)) = (ctx.pool(), &ctx.attempt.endpoint) {
        pool.record_failure(chosen);
    }
    let is_wanted = match error.etype() {
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => ctx.route.retry.on_timeout,
        ErrorType::HTTPStatus(_) => false,
        _ => ctx.route.retry.on_reset,
    };
    if is_wanted && !is_last_attempt(&error) && may_repeat(session, ctx, false) {
        error.set_retry(true);
    }
    error
}

/// Whether the time of all attempts together is over: that of a WebSocket handshake.
fn is_last_attempt(error: &Error) -> bool {
    HandshakeTimeout::from_error(error).is_some_and(|timeout| timeout.limit.bounds_all_attempts())
}

/// Whether an upstream over HTTP/2 says that it has not processed the request, which may thus be sent
/// again whatever its method (RFC 9113, section 8.7): GOAWAY with a last stream below this one, or
/// REFUSED_STREAM.
fn is_unprocessed(error: &Error) -> bool {
    let Some(error) = error.root_cause().downcast_ref::<h2::Error>() else { return false };
    error.is_remote()
        && (error.is_go_away()
            || error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM))
}

/// Whether an upstream closes its HTTP/2 connection without an error (RFC 9113, section 6.8). The
/// connection takes no further request, so that the next attempt has another one.
fn is_graceful(error: &Error) -> bool {
    let error = error.root_cause().downcast_ref::<h2::Error>();
    error.is_some_and(|it| it.is_go_away() && it.reason() == Some(h2::Reason::NO_ERROR))
}

/// Whether the request can be sent once more: its body is kept, and the client has got nothing of a
/// response. A 100 is none: it asked for the body.
fn is_repeatable(session: &Session) -> bool {
    let response = session.response_written();
    !session.as_ref().retry_buffer_truncated()
        && response.is_none_or(|response| response.status == StatusCode::CONTINUE)
}

/// Whether another attempt may follow; counts it.
fn may_repeat(session: &Session, ctx: &mut Context, is_unprocessed: bool) -> bool {
    let policy = &ctx.route.retry;
    let is_safe = (is_unprocessed || session.req_header().method.is_idempotent())
        && is_repeatable(session)
        && ctx.attempt.retries.failed + 1 < policy.attempts;
    if !is_safe || !ctx.pool().is_some_and(|pool| pool.spend_retry()) {
        return false;
    }
    if let Some(chosen) = &ctx.attempt.endpoint {
        ctx.attempt.tried.push(chosen.address().clone());
    }
    ctx.attempt.retries.failed += 1;
    ctx.attempt.retries.is_waiting = true;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many waits before the attempt that follows so many failures.
    fn waits(failed: u32, base: Duration) -> Vec<Duration> {
        let wait = || RetryState { failed, is_waiting: true }.backoff(base).expect("a wait");
        std::iter::repeat_with(wait).take(2_000).collect()
    }

    #[test]
    fn backoff_is_random_doubles_and_is_capped() {
        let base = Duration::from_millis(25);
        for (failed, max) in [(1, 25), (2, 50), (3, 100), (6, 800), (7, 1000), (40, 1000)] {
            let max = Duration::from_millis(max);
            let waits = waits(failed, base);
            let (least, longest) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
            assert!(*longest < max, "{failed}: {longest:?} of {max:?}");
            // Evenly: that none of 2,000 is in the last or the first tenth happens to nobody.
            assert!(*longest > max.mul_f64(0.9) && *least < max.mul_f64(0.1), "{failed}");
            let mean = waits.iter().sum::<Duration>() / 2_000;
            assert!(mean > max.mul_f64(0.45) && mean < max.mul_f64(0.55), "{failed}: {mean:?}");
        }
    }

    #[test]
    fn refused_connection_is_retried_without_backoff() {
        let mut attempts = RetryState { failed: 1, is_waiting: false };
        assert_eq!(attempts.backoff(Duration::from_secs(1)), None);
        attempts.is_waiting = true;
        assert!(attempts.backoff(Duration::from_secs(1)).is_some());
        assert_eq!(attempts.backoff(Duration::from_secs(1)), None, "once for each");
    }
}
