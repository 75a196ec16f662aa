//! Runs the filters of a route, and between them the check of a WebSocket's origin. Knows nothing of what a filter
//! does.

use super::{Rejection, authority};
use crate::exchange::Exchange;
use crate::filter::{Error, Filter, Flow, Reply, Request, Response, refuse_origin};
use crate::snapshot::Route;
use http::header;
use pingora::http::{RequestHeader, ResponseHeader};
use std::sync::Arc;

/// Runs the route's filters on the request, and checks the `Origin` of a WebSocket handshake between them. The
/// first filter that answers ends the run.
pub(crate) async fn filter(
    route: &Route,
    head: &mut RequestHeader,
    exchange: &mut Exchange,
) -> Result<Option<Rejection>, Error> {
    let (before, after) =
        route.filters.split_at_checked(route.origin_check_at).unwrap_or((&route.filters, &[]));
    if let Some(rejection) = run(before, head, exchange).await? {
        return Ok(Some(rejection));
    }
    if exchange.is_websocket
        && let Some(reply) = check_origin(route, head, exchange)
    {
        return Ok(Some(Rejection::answer(reply)));
    }
    run(after, head, exchange).await
}

async fn run(
    filters: &[Arc<dyn Filter>],
    head: &mut RequestHeader,
    exchange: &mut Exchange,
) -> Result<Option<Rejection>, Error> {
    for filter in filters {
        let mut request = Request { head, exchange };
        if let Flow::Respond(reply) = filter.on_request(&mut request).await? {
            return Ok(Some(Rejection::answer(reply)));
        }
    }
    Ok(None)
}

/// Rejects a handshake from a page whose origin is not allowed. A client without `Origin` is no browser.
fn check_origin(route: &Route, head: &RequestHeader, exchange: &Exchange) -> Option<Reply> {
    let origins = &route.websocket.as_ref()?.origins;
    let origin = head.headers.get(header::ORIGIN)?;
    let own = match exchange.forwarded_host.as_deref() {
        Some(host) => host,
        None => authority(head).unwrap_or_default(),
    };
    if origins.allow(origin, own, exchange.scheme()) {
        return None;
    }
    Some(refuse_origin(origin, origins.key()))
}

/// Runs the route's filters on the response, in reverse order.
pub(crate) async fn run_response_filters(
    route: &Route,
    head: &mut ResponseHeader,
    request: &RequestHeader,
    exchange: &mut Exchange,
) -> Result<(), Error> {
    for filter in route.filters.iter().rev() {
        filter.on_response(&mut Response { head, request, exchange }).await?;
    }
    Ok(())
}
