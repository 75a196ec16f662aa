//! Replaces spans in a build without the feature `opentelemetry`: no request is recorded. Knows nothing of requests.

use crate::exchange::Outcome;
use crate::proxy::Context;
use crate::snapshot::Route;
use crate::traces::Tracing;
use crate::upstream::{Pool, SelectedEndpoint};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, Result};
use pingora_proxy::Session;
use std::sync::Arc;
use tidegate_http::trace_context::TraceParent;

/// What no request has.
pub(in crate::proxy) enum RequestTrace {}

impl RequestTrace {
    /// All is over.
    pub(in crate::proxy) fn end(self, _: &Outcome<'_>, _: &Route, _: Option<&Error>) {
        match self {}
    }
}

/// Gives the request its place in a trace.
pub(in crate::proxy) fn start_trace(tracing: &Arc<Tracing>, _: &Session, _: &mut Context) {
    match **tracing {}
}

/// Leaves the headers of a trace as they came.
pub(in crate::proxy) fn set_headers(
    _: TraceParent,
    _: &RequestHeader,
    _: &mut RequestHeader,
    _: &Context,
) -> Result<()> {
    Ok(())
}

/// Another attempt begins.
pub(in crate::proxy) fn start_attempt(
    _: &Pool,
    _: &SelectedEndpoint,
    _: &Session,
    _: &mut Context,
) {
}

/// The upstream has answered.
pub(in crate::proxy) fn record_response(_: &mut Context, _: &ResponseHeader) {}

/// The attempt has come to nothing.
pub(in crate::proxy) fn record_failure(_: &mut Context, _: &Error) {}

/// The handshake is done.
pub(in crate::proxy) fn record_open(_: &mut Context) {}
