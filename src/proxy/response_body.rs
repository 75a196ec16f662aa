//! Shows response bodies to the filters that ask for them. It runs in Pingora's module behind all filters
//! (`compression`), which alone is told of each way in which a body ends. Knows nothing of request bodies.

use super::compression::ResponseEncoding;
use super::{Context, failure, response_framing};
use crate::exchange::Exchange;
use crate::filter::{BodyFilters, BodyPart, Reply, ResponseBody, as_allowed};
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderValue};
use http::{Method, StatusCode, Version};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidegate_http::error_code::ErrorCode;

/// A body that filters see. Pingora's module and the request's context share it; both run in the request's task.
#[derive(Clone)]
pub(super) struct ShownBody(Arc<Mutex<State>>);

struct State {
    filters: Arc<BodyFilters>,
    status: StatusCode,
    /// The request's, whose store is lent to the filters.
    exchange: Exchange,
    /// Bytes of the parts that filters have seen.
    offset: u64,
    /// What has come of a body that a filter wants whole.
    collected: BytesMut,
    is_ended: bool,
    /// What the client gets, if a filter has failed and nothing has been sent yet.
    reply: Option<Reply>,
}

/// Refuses a body that says to be larger than the filters take it.
pub(super) fn check_length(response: &ResponseHeader, ctx: &mut Context) -> Result<()> {
    let max = ctx.route.response_body_filters.as_ref().and_then(|filters| filters.whole);
    let Some(max) = max.filter(|_| !ctx.exchange.is_websocket) else { return Ok(()) };
    match announced_length(response) {
        Some(length) if length > max as u64 => {
            ctx.outcome.substitute_reply = Some(Box::new(too_large(max)));
            Err(failure::filter_error(TOO_LARGE.to_owned()))
        }
        _ => Ok(()),
    }
}

const TOO_LARGE: &str = "the response is larger than what a filter reads of it";

fn announced_length(response: &ResponseHeader) -> Option<u64> {
    response.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

fn too_large(max: usize) -> Reply {
    let message = format!(
        "the service behind the gateway sent a response of more than {max} bytes, which a filter reads as a whole"
    );
    Reply::error(StatusCode::BAD_GATEWAY, ErrorCode::FilterFailed, message)
}

/// Begins to show the body that follows this head, where filters of the route want it.
pub(super) fn begin(
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
    let shown = ShownBody(Arc::new(Mutex::new(State {
        filters: Arc::clone(filters),
        status: response.status,
        exchange: ctx.exchange.lend(),
        offset: 0,
        collected: BytesMut::new(),
        is_ended: false,
        reply: None,
    })));
    if let Some(encoding) = session.downstream_modules_ctx.get_mut::<ResponseEncoding>() {
        encoding.shown = Some(shown.clone());
    }
    ctx.body.shown = Some(shown);
    Ok(())
}

/// The body is not shown any more: an answer of the gateway's own takes its place, or another response.
pub(super) fn end(session: &mut Session, ctx: &mut Context) {
    let Some(shown) = ctx.body.shown.take() else { return };
    shown.give_back(&mut ctx.exchange);
    if let Some(encoding) = session.downstream_modules_ctx.get_mut::<ResponseEncoding>() {
        encoding.shown = None;
    }
}

impl ShownBody {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the store back that filters have been lent.
    pub(super) fn give_back(&self, exchange: &mut Exchange) {
        exchange.take_back(&mut self.state().exchange);
    }

    /// Lends it to them again.
    pub(super) fn lend(&self, exchange: &mut Exchange) {
        self.state().exchange = exchange.lend();
    }

    /// What the client gets in the place of a response that a filter failed on.
    pub(super) fn take_reply(&self) -> Option<Reply> {
        self.state().reply.take()
    }

    /// Shows a part to the filters.
    pub(super) fn show(&self, body: &mut Option<Bytes>, is_end: bool) -> Result<()> {
        self.state().show(body, is_end)
    }

    /// What filters make of the end of a body that ends without a last part.
    pub(super) fn finish(&self) -> Result<Option<Bytes>> {
        let mut rest = None;
        self.state().show(&mut rest, true)?;
        Ok(rest)
    }
}

impl State {
    fn show(&mut self, body: &mut Option<Bytes>, is_end: bool) -> Result<()> {
        let mut bytes = body.take().unwrap_or_default();
        if self.is_ended {
            return Ok(());
        }
        if let Some(max) = self.filters.whole {
            if self.collected.len() + bytes.len() > max {
                self.reply = Some(too_large(max));
                return Err(failure::filter_error(TOO_LARGE.to_owned()));
            }
            self.collected.extend_from_slice(&bytes);
            if !is_end {
                return Ok(());
            }
            bytes = self.collected.split().freeze();
        } else if bytes.is_empty() && !is_end {
            return Ok(());
        }
        self.is_ended = is_end;
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        for (filter, access) in &self.filters.filters {
            let mut seen = bytes.clone();
            let part = BodyPart { bytes: &mut seen, offset, is_end };
            let exchange = &mut self.exchange;
            let shown = &mut ResponseBody { part, status: self.status, exchange };
            if let Err(error) = filter.on_response_body(shown) {
                self.reply = error.reply();
                return Err(failure::filter_error(format!("a filter failed: {error}")));
            }
            as_allowed(*access, &mut bytes, |bytes| *bytes = seen);
        }
        *body = (!bytes.is_empty()).then_some(bytes);
        Ok(())
    }
}
