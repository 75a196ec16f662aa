//! Shows response bodies to the filters that ask for them. It runs in Pingora's module behind all filters
//! (`compression`), which Pingora calls at every end of a body. Knows nothing of request bodies.

use super::compression::ResponseEncoding;
use super::filter_error::filter_error;
use super::filtered_body::{FilteredBody, TOO_LARGE};
use super::{Context, response_framing};
use crate::filter::BodyTooLarge;
use crate::load::{CollectedBytes, OverloadControl, RequestPermit};
use http::header::{self, HeaderValue};
use http::{Method, Version};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;
use std::sync::Arc;

/// Refuses a body that says to be larger than the filters take it.
pub(super) fn check_length(
    session: &Session,
    response: &ResponseHeader,
    ctx: &mut Context,
) -> Result<()> {
    let max = ctx.route.response_body_filters.as_ref().and_then(|filters| filters.max_whole_size);
    let is_bodiless = ctx.exchange.is_websocket
        || session.req_header().method == Method::HEAD
        || response_framing::is_bodiless(response.status);
    let Some(max) = max.filter(|_| !is_bodiless) else { return Ok(()) };
    let limits = &ctx.route.global.limits;
    let max = max.min(limits.max_collected_body(ctx.request_permit.is_some()));
    match announced_length(response) {
        Some(length) if length > max as u64 => {
            ctx.outcome.substitute_reply = Some(Box::new(BodyTooLarge { max }.reply()));
            Err(filter_error(TOO_LARGE.to_owned()))
        }
        _ => Ok(()),
    }
}

fn announced_length(response: &ResponseHeader) -> Option<u64> {
    response.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// Begins to show the body that follows this head, where filters of the route want it.
pub(super) fn begin(
    overload: &Arc<OverloadControl>,
    session: &mut Session,
    response: &mut ResponseHeader,
    ctx: &mut Context,
) -> Result<()> {
    end(session, ctx);
    let Some(filters) = &ctx.route.response_body_filters else { return Ok(()) };
    let is_head = session.req_header().method == Method::HEAD;
    if ctx.exchange.is_websocket
        || response_framing::is_bodiless(response.status)
        || announced_length(response) == Some(0)
    {
        return Ok(());
    }
    if filters.changes {
        response.remove_header(&header::CONTENT_LENGTH);
    }
    if is_head {
        return Ok(());
    }
    if filters.changes {
        match session.req_header().version {
            Version::HTTP_11 => {
                let chunked = HeaderValue::from_static("chunked");
                response.insert_header(header::TRANSFER_ENCODING, chunked)?;
            }
            // RFC 9112, section 6.3: the end of the connection is the end of the body.
            Version::HTTP_10 => session.set_keepalive(None),
            _ => {}
        }
    }
    let counted = filters.max_whole_size.map(|_| {
        let client = ctx.request_permit.as_ref().map(RequestPermit::client);
        CollectedBytes::new(overload, client, &ctx.route.global.limits)
    });
    let filters = Arc::clone(filters);
    let keeps_trailers = session.req_header().version == Version::HTTP_2;
    let exchange = ctx.exchange.lend();
    let filtered = FilteredBody::new(filters, response.status, exchange, counted, keeps_trailers);
    if let Some(encoding) = session.downstream_modules_ctx.get_mut::<ResponseEncoding>() {
        encoding.filtered = Some(filtered.clone());
    }
    ctx.body.filtered = Some(filtered);
    Ok(())
}

/// The body is not shown any more: an answer of the gateway's own takes its place, or another response.
pub(super) fn end(session: &mut Session, ctx: &mut Context) {
    let Some(filtered) = ctx.body.filtered.take() else { return };
    filtered.give_back(&mut ctx.exchange);
    if let Some(encoding) = session.downstream_modules_ctx.get_mut::<ResponseEncoding>() {
        encoding.filtered = None;
    }
}
