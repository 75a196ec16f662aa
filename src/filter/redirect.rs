//! The filter that answers with a redirect. It knows nothing of routes.

use super::variables::{UriTemplate, Variables};
use super::{Error, Filter, Flow, Reply, Request};
use async_trait::async_trait;
use http::StatusCode;
use http::header::{self, HeaderValue};
use tidegate_http::error_code::ErrorCode;
use tidegate_http::stable_hash;

/// Sends clients elsewhere.
#[derive(Debug)]
pub(crate) struct RedirectFilter {
    /// Where to.
    pub to: UriTemplate,
    /// By which status.
    pub status: StatusCode,
}

stable_hash!(RedirectFilter { to, status });

#[async_trait]
impl Filter for RedirectFilter {
    fn describe(&self) -> String {
        format!("redirect: {} to {}", self.status.as_u16(), self.to)
    }

    async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, Error> {
        let variables = Variables { request: request.head, exchange: request.exchange };
        // All but visible ASCII is escaped in it.
        let Some(location) = variables.uri(&self.to) else {
            let reason = "the request cannot be redirected: it names no host, or its path has a \
                          dot segment";
            let reply = Reply::gateway_error(ErrorCode::BadRequest, reason);
            return Ok(Flow::Respond(reply));
        };
        let location = HeaderValue::try_from(location)?;
        Ok(Flow::Respond(Reply::new(self.status).header(header::LOCATION, location)))
    }
}
