//! A response body on its way through the filters that ask for it. Knows nothing of Pingora's sessions and modules.

use super::filter_error::filter_error;
use crate::exchange::Exchange;
use crate::filter::{BodyFilters, BodyPart, Reply, ResponseBody, show_with_access};
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use pingora::Result;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidegate_http::error_code::ErrorCode;

/// A body that filters see. Pingora's module and the request's context share it; both run in the request's task.
#[derive(Clone)]
pub(super) struct FilteredBody(Arc<Mutex<State>>);

struct State {
    filters: Arc<BodyFilters>,
    status: StatusCode,
    /// The request's, whose store is lent to the filters.
    exchange: Exchange,
    /// Whether the store is lent. It is not while filters see a part of the request, which may be cancelled.
    is_lent: bool,
    /// Bytes of the parts that filters have seen.
    offset: u64,
    /// What has come of a body that a filter wants whole.
    collected: BytesMut,
    is_ended: bool,
    /// What the client gets, if a filter has failed and nothing has been sent yet.
    reply: Option<Reply>,
}

/// Why a body is not shown as a whole.
pub(super) const TOO_LARGE: &str = "the response is larger than the limit of a filter that reads \
                                    the whole response";

/// The answer in the place of a response whose body is larger than the filters take it.
pub(super) fn too_large(max: usize) -> Reply {
    let message = format!(
        "the response of the service behind the gateway has more than {max} bytes, the limit of \
         a filter that reads the whole response"
    );
    Reply::error(StatusCode::BAD_GATEWAY, ErrorCode::FilterFailed, message)
}

impl FilteredBody {
    /// The body of a response with this status, before its first part.
    pub(super) fn new(filters: Arc<BodyFilters>, status: StatusCode, exchange: Exchange) -> Self {
        Self(Arc::new(Mutex::new(State {
            filters,
            status,
            exchange,
            is_lent: true,
            offset: 0,
            collected: BytesMut::new(),
            is_ended: false,
            reply: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the store back that filters have been lent, unless it is back already.
    pub(super) fn give_back(&self, exchange: &mut Exchange) {
        let mut state = self.state();
        if std::mem::replace(&mut state.is_lent, false) {
            exchange.take_back(&mut state.exchange);
        }
    }

    /// Lends it to them again.
    pub(super) fn lend(&self, exchange: &mut Exchange) {
        let mut state = self.state();
        state.exchange = exchange.lend();
        state.is_lent = true;
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
        let shown = self.show_part(&mut bytes, is_end);
        // A body that was refused goes no further.
        self.is_ended |= shown.is_err();
        *body = (shown? && !bytes.is_empty()).then_some(bytes);
        Ok(())
    }

    /// Returns whether there is something to pass on.
    fn show_part(&mut self, bytes: &mut Bytes, is_end: bool) -> Result<bool> {
        if let Some(max) = self.filters.max_whole_size {
            if self.collected.len() + bytes.len() > max {
                self.reply = Some(too_large(max));
                return Err(filter_error(TOO_LARGE.to_owned()));
            }
            self.collected.extend_from_slice(bytes);
            if !is_end {
                return Ok(false);
            }
            *bytes = self.collected.split().freeze();
        }
        self.is_ended = is_end;
        if bytes.is_empty() && (!is_end || self.offset == 0) {
            return Ok(false);
        }
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        for (filter, access) in &self.filters.filters {
            let mut seen = bytes.clone();
            let part = BodyPart { bytes: &mut seen, offset, is_end };
            let exchange = &mut self.exchange;
            let shown = &mut ResponseBody { part, status: self.status, exchange };
            if let Err(error) = filter.on_response_body(shown) {
                self.reply = error.reply();
                return Err(filter_error(format!("a filter failed: {error}")));
            }
            show_with_access(*access, bytes, |bytes| *bytes = seen);
        }
        Ok(true)
    }
}
