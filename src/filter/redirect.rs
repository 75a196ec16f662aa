use super::variables::Variables;
use super::{Error, Filter, Flow, Reply, Request};
use crate::http::template::Template;
use async_trait::async_trait;
use http::StatusCode;
use http::header::{self, HeaderValue};

/// Sends clients elsewhere.
#[derive(Debug)]
pub struct RedirectFilter {
    /// Where to.
    pub to: Template,
    /// By which status.
    pub status: StatusCode,
}

#[async_trait]
impl Filter for RedirectFilter {
    fn describe(&self) -> String {
        format!("redirect: {} to {}", self.status.as_u16(), self.to)
    }

    async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, Error> {
        let variables = Variables { request: request.head, exchange: request.exchange };
        // All but visible ASCII is escaped in it.
        let location = HeaderValue::try_from(variables.uri(&self.to))?;
        Ok(Flow::Respond(Reply::new(self.status).header(header::LOCATION, location)))
    }
}
