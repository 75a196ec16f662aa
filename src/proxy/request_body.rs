//! Shows request bodies to the filters that ask for them: whole, before an upstream is chosen, or part by part on their
//! way. Knows nothing of responses.
//!
//! Pingora passes on a body that it has read itself, or what it keeps of one for another attempt, which is 64 KiB at
//! most. So when a body has been collected, Pingora is left with one byte that it keeps (a placeholder), and gives that
//! to `request_body_filter` in each attempt. There the collected body takes its place.

use super::{Context, body_timeout, expectation, failure, reply, shortage};
use crate::filter::{BodyFilters, BodyPart, Reply};
use crate::load::{CollectedBytes, OverloadControl, RequestPermit};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Version, header};
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v1::server::HttpSession as Http1Session;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;
use std::sync::Arc;
use std::time::Duration;
use tidegate_http::error_code::ErrorCode;
use tokio::time::timeout;

/// A request that Pingora reads without a socket, and keeps the body of.
const PLACEHOLDER: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n.";

/// In the extensions of a head over HTTP/2: the body has been collected, and the session keeps a placeholder of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IsCollected;

/// A body that the gateway itself keeps for each attempt. Pingora has a placeholder of it.
#[derive(Debug)]
pub(super) enum KeptBody {
    /// A body that has been collected.
    Collected {
        /// What the filters have made of it.
        bytes: Bytes,
        /// Whether the current attempt has got it.
        is_sent: bool,
        /// Counts it for its client, as long as it is kept.
        _counted: CollectedBytes,
    },
    /// A body over HTTP/1.1 without a byte, which filters may fill part by part. Once it has been read, Pingora takes the
    /// request for one without a body, and would end the next attempt's with its head.
    Empty { has_placeholder: bool },
}

/// Collects the body for the filters that want it whole, and shows it to all that want it. Returns whether the request
/// has been answered.
pub(super) async fn collect_for_filters(
    overload: &Arc<OverloadControl>,
    session: &mut Session,
    ctx: &mut Context,
) -> Result<bool> {
    let route = Arc::clone(&ctx.route);
    let Some((filters, max)) =
        route.request_body_filters.as_deref().and_then(|it| Some((it, it.max_whole_size?)))
    else {
        return Ok(false);
    };
    let client = ctx.request_permit.as_ref().map(RequestPermit::client);
    let counted = CollectedBytes::new(overload, client, &route.global.limits);
    let Some(reply) = show_whole(filters, max, counted, session, ctx).await? else {
        return Ok(false);
    };
    ctx.outcome.is_intended |= !reply.status.is_server_error();
    if let Some(explaining) = &mut ctx.explanation {
        explaining.failed(&reply);
    }
    if !session.as_downstream_mut().is_body_done() {
        // What is left of the request can't be told from the next one.
        session.set_keepalive(None);
    }
    reply::send(session, ctx, reply).await.map(|()| true)
}

/// Collects the body and shows it to the filters. Returns the answer to a request that goes no further.
async fn show_whole(
    filters: &BodyFilters,
    max: usize,
    mut counted: CollectedBytes,
    session: &mut Session,
    ctx: &mut Context,
) -> Result<Option<Reply>> {
    let has_body = ctx.body.is_present && !ctx.exchange.is_websocket;
    let collected = match has_body {
        true => collect(session, ctx, max, &mut counted).await?,
        false => Ok(Bytes::new()),
    };
    let mut bytes = match collected {
        Ok(bytes) => bytes,
        Err(refusal) => {
            ctx.outcome.error = refusal.reason().map(str::to_owned);
            return Ok(Some(refusal));
        }
    };
    let part = BodyPart { bytes: &mut bytes, offset: 0, is_end: true };
    match filters.show_request(part, session.req_header(), &mut ctx.exchange).await {
        Ok(None) if has_body => {
            counted.replace(bytes.len());
            keep_placeholder(session).await?;
            let kept = KeptBody::Collected { bytes, is_sent: false, _counted: counted };
            ctx.body.kept = Some(Box::new(kept));
            Ok(None)
        }
        Ok(reply) => Ok(reply),
        Err(error) => Ok(Some(failure::reply_for_filter_error(ctx, &error))),
    }
}

/// The body, or the answer to one that is too large, or that there is no room for.
async fn collect(
    session: &mut Session,
    ctx: &mut Context,
    max: usize,
    counted: &mut CollectedBytes,
) -> Result<Result<Bytes, Reply>> {
    let max = max.min(counted.max());
    let limit = ctx
        .route
        .max_body_size
        .map_or(max, |limit| usize::try_from(limit).unwrap_or(usize::MAX).min(max));
    if announced_length(session.req_header()).is_some_and(|length| length > limit as u64) {
        return Ok(Err(too_large(limit)));
    }
    ask_for_body(session).await?;
    let mut body = BytesMut::new();
    loop {
        let wait = body_timeout::next(session, ctx)?.unwrap_or(Duration::MAX);
        let Ok(part) = timeout(wait, session.read_request_body()).await else {
            let reason = "the request body did not arrive in time";
            return Err(Error::explain(ErrorType::ReadTimedout, reason).into_down());
        };
        let Some(part) = part.map_err(Error::into_down)? else { break };
        ctx.body.received += part.len() as u64;
        if body.len() + part.len() > limit {
            return Ok(Err(too_large(limit)));
        }
        if let Err(limit) = counted.add(part.len()) {
            // A client that is slow to read the answer holds nothing else.
            ctx.stop_counting();
            ctx.outcome.is_intended = true;
            return Ok(Err(shortage::no_room_for_body(limit)));
        }
        body.extend_from_slice(&part);
    }
    body_timeout::record_received(session, true, ctx)?;
    Ok(Ok(body.freeze()))
}

/// Tells a client to go on that waits for that (RFC 9110, section 10.1.1). No upstream is asked any more.
async fn ask_for_body(session: &mut Session) -> Result<()> {
    if session.req_header_mut().remove_header(&header::EXPECT).is_none()
        || session.req_header().version == Version::HTTP_10
    {
        return Ok(());
    }
    expectation::record_interim(session);
    session.as_downstream_mut().write_continue_response().await.map_err(Error::into_down)
}

fn announced_length(head: &RequestHeader) -> Option<u64> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

fn too_large(limit: usize) -> Reply {
    let message = format!(
        "the request body may have at most {limit} bytes here, because a filter reads the whole \
         body"
    );
    Reply::gateway_error(ErrorCode::BodyTooLarge, message)
}

/// Leaves Pingora with a byte of body that it keeps, in the place of the body that has been read.
async fn keep_placeholder(session: &mut Session) -> Result<()> {
    match &*session.downstream_session {
        ServerSession::H1(_) => {}
        _ => {
            // Over HTTP/2 the session is the gateway's own.
            let mut head: http::request::Parts = session.req_header().clone().into();
            head.extensions.insert(IsCollected);
            *session.req_header_mut() = head.into();
            return Ok(());
        }
    }
    // Nobody looks at the session that takes its place meanwhile.
    let stand_in = ServerSession::new_custom(Box::new(()));
    let read = match std::mem::replace(&mut *session.downstream_session, stand_in) {
        ServerSession::H1(read) => read,
        other => {
            *session.downstream_session = other;
            return Ok(());
        }
    };
    *session.downstream_session = ServerSession::H1(with_placeholder(read).await?);
    Ok(())
}

/// A session on the same connection, whose request has the same head, and the placeholder for a body.
async fn with_placeholder(mut read: Http1Session) -> Result<Http1Session> {
    let head = read.req_header().clone();
    let keepalive = read.get_keepalive_timeout();
    let reuses = read.get_keepalive_reuses_remaining();
    let user_context = read.take_connection_user_context();
    let (read_timeout, write_timeout) = (read.get_read_timeout(), read.get_write_timeout());
    let drain_timeout = read.get_total_drain_timeout();
    let mut session = Http1Session::new(read.into_inner());
    session.set_pipelined_prefix(BytesMut::from(PLACEHOLDER));
    session.read_request().await?;
    session.enable_retry_buffering();
    session.read_body_bytes().await?;
    *session.req_header_mut() = head;
    session.set_server_keepalive(keepalive);
    session.set_keepalive_reuses_remaining(reuses);
    session.set_connection_user_context(user_context);
    session.set_read_timeout(read_timeout);
    session.set_write_timeout(write_timeout);
    session.set_total_drain_timeout(drain_timeout);
    Ok(session)
}

/// Frames the request for the upstream: by the length of the body that was collected, or without a length where filters
/// may change it on its way.
pub(super) fn frame(upstream: &mut RequestHeader, ctx: &mut Context) -> Result<()> {
    if let Some(KeptBody::Collected { bytes, is_sent, .. }) = ctx.body.kept.as_deref_mut() {
        *is_sent = false;
        upstream.remove_header(&header::TRANSFER_ENCODING);
        upstream.insert_header(header::CONTENT_LENGTH, bytes.len())?;
    } else if let Some(filters) = &ctx.route.request_body_filters
        && filters.changes
        && ctx.body.is_present
        && !ctx.exchange.is_websocket
    {
        upstream.remove_header(&header::CONTENT_LENGTH);
        if upstream.version != Version::HTTP_2 {
            // Pingora adds it in the first attempt, but not in another one if the client's body was empty.
            upstream
                .insert_header(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
        }
    }
    Ok(())
}

/// Leaves Pingora with a placeholder of an empty body, before the request is sent once more.
pub(super) async fn prepare_attempt(session: &mut Session, ctx: &mut Context) -> Result<()> {
    if let Some(KeptBody::Empty { has_placeholder }) = ctx.body.kept.as_deref_mut()
        && !std::mem::replace(has_placeholder, true)
    {
        keep_placeholder(session).await?;
    }
    Ok(())
}

/// Puts the body that the gateway keeps in the place of Pingora's placeholder. Returns whether filters have seen it.
pub(super) fn put_kept(body: &mut Option<Bytes>, is_end: bool, ctx: &mut Context) -> bool {
    match ctx.body.kept.as_deref_mut() {
        Some(KeptBody::Collected { bytes, is_sent, .. }) => {
            *body = match std::mem::replace(is_sent, true) {
                false if !bytes.is_empty() => Some(bytes.clone()),
                _ if is_end => None,
                // No end of the body, as `None` would be.
                _ => Some(Bytes::new()),
            };
            true
        }
        Some(KeptBody::Empty { has_placeholder: true }) => {
            *body = None;
            false
        }
        _ => false,
    }
}

/// Shows a part that passes to the filters of the route. `offset` bytes have come before it.
pub(super) async fn show(
    session: &Session,
    body: &mut Option<Bytes>,
    is_end: bool,
    offset: u64,
    ctx: &mut Context,
) -> Result<()> {
    let route = Arc::clone(&ctx.route);
    let Some(filters) = &route.request_body_filters else { return Ok(()) };
    if !ctx.body.is_present {
        return Ok(());
    }
    let mut bytes = body.take().unwrap_or_default();
    if is_end
        && offset == 0
        && bytes.is_empty()
        && ctx.body.kept.is_none()
        && matches!(&*session.downstream_session, ServerSession::H1(_))
    {
        ctx.body.kept = Some(Box::new(KeptBody::Empty { has_placeholder: false }));
    }
    // The response may have begun already, whose filters have been lent the store.
    if let Some(filtered) = &ctx.body.filtered {
        filtered.give_back(&mut ctx.exchange);
    }
    let part = BodyPart { bytes: &mut bytes, offset, is_end };
    let seen = filters.show_request(part, session.req_header(), &mut ctx.exchange).await;
    if let Some(filtered) = &ctx.body.filtered {
        filtered.lend(&mut ctx.exchange);
    }
    match seen {
        Ok(None) => {}
        Ok(Some(reply)) => {
            return Err(failure::stop_request(failure::answered_by_filter(ctx, reply)));
        }
        Err(error) => return Err(failure::stop_request(failure::filter_failed(ctx, &error))),
    }
    // At the end `None`, for the reason that `request_body_filter` has.
    *body = if is_end && bytes.is_empty() { None } else { Some(bytes) };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn session_with_a_placeholder_keeps_head_and_connection() {
        let (mut client, server) = tokio::io::duplex(4096);
        let request = b"PUT /a HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut client, request).await.unwrap();
        let mut session = Http1Session::new(Box::new(server));
        session.read_request().await.unwrap();
        session.set_server_keepalive(Some(7));
        while session.read_body_bytes().await.unwrap().is_some() {}
        let mut session = with_placeholder(session).await.unwrap();
        assert!(session.is_body_done() && !session.is_body_empty());
        assert_eq!(session.get_retry_buffer().as_deref(), Some(&b"."[..]));
        assert_eq!(session.req_header().headers.get("x").unwrap(), "y");
        assert_eq!(session.req_header().uri.path(), "/a");
        assert_eq!(session.get_keepalive_timeout(), Some(7));
    }
}
