use super::Halt;
use crate::exchange::Exchange;
use crate::filter::{Error, Flow, Request, Response};
use crate::generation::Route;
use pingora::http::{RequestHeader, ResponseHeader};

/// Runs the route's filters over the request; the first that answers ends the walk.
pub async fn filter(
    route: &Route,
    head: &mut RequestHeader,
    exchange: &mut Exchange,
) -> Result<Option<Halt>, Error> {
    for filter in &route.filters {
        let mut request = Request { head, exchange };
        if let Flow::Respond(reply) = filter.on_request(&mut request).await? {
            return Ok(Some(Halt::answer(reply)));
        }
    }
    Ok(None)
}

/// Runs the route's filters over the response, in reverse.
pub async fn filter_back(
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
