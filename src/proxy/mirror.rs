//! Sends copies of requests to the mirror of a route, and ignores the responses. No request waits for its copy.

use super::Context;
use super::forward::UPSTREAM_NOT_HTTP2;
use crate::background;
use crate::snapshot::Mirror;
use crate::tls;
use crate::upstream::{HTTP1, Http1Connector, Pool, SelectionHint, has_room_for_copies};
use bytes::{Bytes, BytesMut};
use http::header;
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::ALPN;
use pingora::{Error, ErrorType, Result};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// Maximum size of a body that is kept for the copy, in bytes; a request with more is not copied.
const MAX_COPIED_BODY_BYTES: usize = 64 * 1024;

/// A copy that still collects its body.
pub(super) struct MirrorCopy {
    head: Box<RequestHeader>,
    body: BytesMut,
    mirror: Arc<Mirror>,
    permit: OwnedSemaphorePermit,
}

/// Starts the copy of a request, if the mirror selects it and there is room.
pub(super) fn start(head: &RequestHeader, ctx: &mut Context) {
    if let Some(copy) = &mut ctx.mirror_copy {
        // Another attempt: the body comes from its beginning again.
        copy.body.clear();
    }
    let Some(mirror) = ctx.route.mirror.as_ref().filter(|_| ctx.attempt.retries.is_first()) else {
        return;
    };
    let [lot, ..] = *uuid::Uuid::new_v4().as_bytes();
    if ctx.session.permit.is_some() || u16::from(lot) * 100 >= u16::from(mirror.percent) * 256 {
        return;
    }
    let Ok(permit) = Arc::clone(&mirror.permits).try_acquire_owned() else { return };
    let (head, mirror) = (Box::new(head.clone()), Arc::clone(mirror));
    ctx.mirror_copy = Some(Box::new(MirrorCopy { head, body: BytesMut::new(), mirror, permit }));
}

/// Adds a part of the body; sends the copy once the body is complete.
pub(super) fn copy_body(part: Option<&Bytes>, is_end: bool, ctx: &mut Context) {
    let Some(copy) = &mut ctx.mirror_copy else { return };
    if let Some(part) = part {
        if copy.body.len() + part.len() > MAX_COPIED_BODY_BYTES {
            ctx.mirror_copy = None;
            return;
        }
        copy.body.extend_from_slice(part);
    }
    if !is_end {
        return;
    }
    if let Some(copy) = ctx.mirror_copy.take() {
        background::spawn("mirrored requests", async move {
            let MirrorCopy { head, body, mirror, permit } = *copy;
            let sending = send(&mirror.pool, head, body.freeze(), mirror.timeout);
            if let Ok(Err(error)) = tokio::time::timeout(mirror.timeout, sending).await {
                log::debug!(
                    "a mirrored request to the upstream `{}` failed: {error}",
                    mirror.pool.name()
                );
            }
            drop(permit);
        });
    }
}

async fn send(
    pool: &Pool,
    mut head: Box<RequestHeader>,
    body: Bytes,
    timeout: Duration,
) -> Result<()> {
    // Its connections give way when file descriptors are scarce, as those of requests do.
    static CONNECTOR: LazyLock<Connector<Http1Connector>> = LazyLock::new(|| {
        Connector::new_custom(None, Http1Connector::new(ConnectorOptions::new(128)))
    });
    let Some(chosen) = pool.select(SelectionHint::default()) else { return Ok(()) };
    let protocol = &pool.settings().protocol;
    let mut peer = match &protocol.tls {
        None => tls::plain_peer(chosen.address())?,
        Some(tls) => tls.peer(chosen.address(), chosen.endpoint().host())?,
    };
    let alpn = if protocol.alpn == ALPN::H1 { &*HTTP1 } else { &protocol.alpn };
    peer.options.alpn.clone_from(alpn);
    peer.options.connection_timeout = Some(timeout);
    peer.options.read_timeout = Some(timeout);
    head.remove_header(&header::TRANSFER_ENCODING);
    if !body.is_empty() {
        head.insert_header(header::CONTENT_LENGTH, body.len())?;
    }
    let (mut session, _) = CONNECTOR.get_http_session(&peer).await?;
    if session.stream().is_some_and(|stream| !has_room_for_copies(stream.id())) {
        // What is left is for the requests themselves.
        return Error::e_explain(ErrorType::ConnectError, "file descriptors are scarce");
    }
    if protocol.alpn == ALPN::H2 && session.as_http2().is_none() {
        pool.record_failure(&chosen);
        return Error::e_explain(ErrorType::TLSHandshakeFailure, UPSTREAM_NOT_HTTP2);
    }
    session.write_request_header(head).await?;
    if !body.is_empty() {
        session.write_request_body(body, true).await?;
    }
    session.finish_request_body().await?;
    session.read_response_header().await?;
    while session.read_response_body().await?.is_some() {}
    CONNECTOR.release_http_session(session, &peer, Some(Duration::from_secs(30))).await;
    Ok(())
}
