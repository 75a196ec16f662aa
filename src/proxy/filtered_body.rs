//! A response body on its way through the filters that ask for it. Knows nothing of Pingora's sessions and modules.

use super::filter_error::filter_error;
use super::shortage::no_room_for_body;
use crate::exchange::Exchange;
use crate::filter::{BodyFilters, BodyPart, BodyParts, Reply, ShownPart, show_response};
use crate::load::CollectedBytes;
use bytes::Bytes;
use http::StatusCode;
use pingora::Result;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Why a body is not collected any further.
const NO_ROOM: &str = "the bodies that filters read whole have more bytes together than \
                       `limits.collected_bodies`, or those of this client than \
                       `limits.collected_bodies_per_client`";

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
    /// What filters see of it.
    parts: BodyParts,
    /// Counts what is collected for a filter that wants the body whole.
    counted: Option<CollectedBytes>,
    /// Whether the client gets trailers.
    keeps_trailers: bool,
    /// What the client gets, if a filter has failed and nothing has been sent yet.
    reply: Option<Reply>,
}

/// Why a body is not shown as a whole.
pub(super) const TOO_LARGE: &str = "the response is larger than the limit of a filter that reads \
                                    the whole response";

impl FilteredBody {
    /// The body of a response with this status, before its first part.
    pub(super) fn new(
        filters: Arc<BodyFilters>,
        status: StatusCode,
        exchange: Exchange,
        counted: Option<CollectedBytes>,
        keeps_trailers: bool,
    ) -> Self {
        let parts = BodyParts::new(filters.max_whole_size);
        let (is_lent, reply) = (true, None);
        let state =
            State { filters, status, exchange, is_lent, parts, counted, keeps_trailers, reply };
        Self(Arc::new(Mutex::new(state)))
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

    /// Whether trailers follow what filters make of the body's end: the client speaks HTTP/2.
    pub(super) fn keeps_trailers(&self) -> bool {
        self.state().keeps_trailers
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
    /// Leaves what is to be passed on.
    fn show(&mut self, body: &mut Option<Bytes>, is_end: bool) -> Result<()> {
        let bytes = body.take().unwrap_or_default();
        if let Some(counted) = self.counted.as_mut().filter(|_| self.parts.is_collecting())
            && let Err(limit) = counted.add(bytes.len())
        {
            self.end();
            self.reply = Some(no_room_for_body(limit));
            return Err(filter_error(NO_ROOM.to_owned()));
        }
        let shown = match self.parts.push(bytes, is_end) {
            Ok(Some(shown)) => shown,
            Ok(None) => return Ok(()),
            Err(too_large) => {
                self.end();
                self.reply = Some(too_large.reply());
                return Err(filter_error(TOO_LARGE.to_owned()));
            }
        };
        let ShownPart { mut bytes, offset, is_end } = shown;
        for (filter, access) in &self.filters.filters {
            let part = BodyPart { bytes: &mut bytes, offset, is_end };
            let exchange = &mut self.exchange;
            if let Err(error) = show_response(&**filter, *access, part, self.status, exchange) {
                self.end();
                self.reply = error.reply();
                return Err(filter_error(format!("a filter failed: {error}")));
            }
        }
        if is_end {
            self.end();
        }
        *body = (!bytes.is_empty()).then_some(bytes);
        Ok(())
    }

    /// Filters see no more of the body: it has ended, or it was refused and goes no further.
    fn end(&mut self) {
        self.parts.end();
        self.counted = None;
    }
}
