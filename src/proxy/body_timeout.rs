//! How long a client may take for its request's body.

use super::{Context, failure};
use http::header;
use pingora::protocols::ALPN;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;
use std::time::{Duration, Instant};

/// A body on its way up.
#[derive(Debug)]
pub(super) struct BodyTimeout {
    began: Instant,
    /// How long the connection had been waited for when it began.
    waited: Duration,
    /// The least bytes in a second.
    rate: Option<f64>,
    /// What bounds the wait for its next part.
    pub(super) key: &'static str,
}

/// The body is wanted from here on.
pub(super) fn begin(session: &mut Session, ctx: &mut Context) {
    ctx.body.is_present = !session.as_downstream_mut().is_body_empty();
    if ctx.body.is_present {
        ctx.head.keep_line(session);
    }
    if !ctx.body.is_present || ctx.exchange.is_websocket {
        return;
    }
    let rate = ctx.route.global.limits.body_rate;
    ctx.body.timeout = Some(Box::new(BodyTimeout {
        began: Instant::now(),
        waited: waited(session).unwrap_or_default(),
        rate: rate.filter(|_| !is_stream(session, ctx)).map(|rate| rate as f64),
        key: "limits.body_timeout",
    }));
    // It has just begun, so there is time.
    let _ = bound(session, ctx);
}

/// A part has come, or the end.
pub(super) fn received(session: &mut Session, is_end: bool, ctx: &mut Context) -> Result<()> {
    if is_end {
        ctx.body.timeout = None;
        return Ok(());
    }
    bound(session, ctx)
}

/// Sets the time for the next part.
fn bound(session: &mut Session, ctx: &mut Context) -> Result<()> {
    let Some(timeout) = ctx.body.timeout.as_deref_mut() else { return Ok(()) };
    let limits = &ctx.route.global.limits;
    let used = match waited(session) {
        Some(waited) => waited.saturating_sub(timeout.waited),
        // By HTTP/2 it can't be told for whom the other waited; but a client that was not let
        // send has a whole frame ready.
        None => timeout.began.elapsed(),
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
        let reason = format!("the body took too long ({})", timeout.key);
        let error = Error::explain(ErrorType::ReadTimedout, reason);
        // Of a whole request's time, it is theirs who were waited for the longer.
        let is_clients = timeout.key != "timeouts.request" || used >= timeout.began.elapsed() / 2;
        return Err(if is_clients { error.into_down() } else { error.into_up() });
    }
    session.set_read_timeout(Some(wait));
    Ok(())
}

/// How long this connection has been waited for in all; unknown by HTTP/2, where it is others'
/// as well.
fn waited(session: &Session) -> Option<Duration> {
    session.as_downstream().stream().map(|stream| stream.get_read_pending_time())
}

/// A stream of gRPC says something when there is something to say.
fn is_stream(session: &Session, ctx: &Context) -> bool {
    let content_type = session.req_header().headers.get(header::CONTENT_TYPE);
    content_type.is_some_and(|it| it.as_bytes().starts_with(b"application/grpc"))
        && ctx.pool().is_some_and(|pool| pool.settings().protocol.alpn != ALPN::H1)
}
