//! Timeouts of the request's body: between two parts, for its rate, and for the whole request. Knows nothing of the
//! response.

use super::{Context, failure};
use http::header;
use pingora::protocols::ALPN;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;
use std::time::{Duration, Instant};
use tidegate_http::grpc;

/// The timeout of a body that arrives.
#[derive(Debug)]
pub(super) struct BodyTimeout {
    started: Instant,
    /// How long the gateway had waited for this connection when the body began.
    waited: Duration,
    /// Minimum bytes per second.
    rate: Option<f64>,
    /// The key that limits the wait for the next part.
    pub(super) key: &'static str,
}

/// Starts the timeout: the gateway waits for the body from here on.
pub(super) fn start(session: &mut Session, ctx: &mut Context) {
    ctx.body.is_present = !session.as_downstream_mut().is_body_empty();
    if ctx.body.is_present {
        ctx.head.keep_method_and_target(session);
    }
    if !ctx.body.is_present || ctx.exchange.is_websocket {
        return;
    }
    let rate = ctx.route.global.limits.body_rate;
    ctx.body.timeout = Some(Box::new(BodyTimeout {
        started: Instant::now(),
        waited: waiting_time(session).unwrap_or_default(),
        rate: rate.filter(|_| !is_stream(session, ctx)).map(|rate| rate as f64),
        key: "limits.body_timeout",
    }));
    // It has just started, so it cannot be over.
    let _ = set_read_timeout(session, ctx);
}

/// A part of the body has arrived, or its end.
pub(super) fn record_received(
    session: &mut Session,
    is_end: bool,
    ctx: &mut Context,
) -> Result<()> {
    if is_end {
        ctx.body.timeout = None;
        return Ok(());
    }
    set_read_timeout(session, ctx)
}

/// Sets the timeout of the next part.
fn set_read_timeout(session: &mut Session, ctx: &mut Context) -> Result<()> {
    if let Some(wait) = next(session, ctx)? {
        session.set_read_timeout(Some(wait));
    }
    Ok(())
}

/// How long the next part may take; `None` for as long as it likes.
///
/// # Errors
/// When no time is left for it.
pub(super) fn next(session: &Session, ctx: &mut Context) -> Result<Option<Duration>> {
    let Some(timeout) = ctx.body.timeout.as_deref_mut() else { return Ok(None) };
    let limits = &ctx.route.global.limits;
    let used = match waiting_time(session) {
        Some(waited) => waited.saturating_sub(timeout.waited),
        // Over HTTP/2 it is unknown which side waited; but a client that was not allowed to send has a whole
        // frame ready.
        None => timeout.started.elapsed(),
    };
    let mut wait = limits.body_timeout;
    timeout.key = "limits.body_timeout";
    if let Some(rate) = timeout.rate.filter(|_| !failure::has_begun(session)) {
        let earned = Duration::try_from_secs_f64(ctx.body.received as f64 / rate);
        let allowed = limits.body_timeout.saturating_add(earned.unwrap_or(Duration::MAX));
        let left = allowed.saturating_sub(used);
        if left < wait {
            (wait, timeout.key) = (left, "limits.body_rate");
        }
    }
    if let Some(whole) = ctx.route.request_timeout {
        let left = whole.saturating_sub(ctx.started.elapsed());
        if left < wait {
            (wait, timeout.key) = (left, "timeouts.request");
        }
    }
    if wait.is_zero() {
        let reason = format!("the request body took too long ({})", timeout.key);
        let error = Error::explain(ErrorType::ReadTimedout, reason);
        // The time of a whole request is the fault of the side that was waited for longer.
        let is_clients = timeout.key != "timeouts.request" || used >= timeout.started.elapsed() / 2;
        return Err(if is_clients { error.into_down() } else { error.into_up() });
    }
    Ok(Some(wait))
}

/// How long the gateway has waited for this connection; unknown over HTTP/2, where it carries other requests too.
fn waiting_time(session: &Session) -> Option<Duration> {
    session.as_downstream().stream().map(|stream| stream.get_read_pending_time())
}

/// A gRPC stream may be silent for as long as it likes.
fn is_stream(session: &Session, ctx: &Context) -> bool {
    let content_type = session.req_header().headers.get(header::CONTENT_TYPE);
    content_type.is_some_and(|it| it.as_bytes().starts_with(grpc::GRPC_MEDIA_TYPE.as_bytes()))
        && ctx.pool().is_some_and(|pool| pool.settings().protocol.alpn != ALPN::H1)
}
