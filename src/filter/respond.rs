//! The filter that answers with a fixed response. It knows nothing of routes.

use super::headers::{FieldName, FieldValue};
use super::variables::Variables;
use super::{Error, Filter, Flow, Reply, Request};
use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderValue};
use tidegate_http::stable_hash;

/// Gives one answer to all.
#[derive(Debug)]
pub(crate) struct RespondFilter {
    /// Its status.
    pub status: StatusCode,
    /// Its body and the body's media type.
    pub body: Option<(Bytes, HeaderValue)>,
    /// Further fields.
    pub headers: Vec<(FieldName, FieldValue)>,
}

stable_hash!(RespondFilter { status, body, headers });

#[async_trait]
impl Filter for RespondFilter {
    fn describe(&self) -> String {
        let body = self.body.as_ref().map(|(body, media_type)| {
            format!(", {} bytes of {}", body.len(), media_type.to_str().unwrap_or_default())
        });
        format!("respond: {}{}", self.status.as_u16(), body.unwrap_or_default())
    }

    async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, Error> {
        let variables = Variables { request: request.head, exchange: request.exchange };
        let mut reply = Reply::new(self.status);
        for (name, value) in &self.headers {
            if let Some(value) = value.render(&variables) {
                reply = reply.header(name.name.clone(), value);
            }
        }
        if let Some((body, content_type)) = &self.body {
            reply = reply.header(header::CONTENT_TYPE, content_type.clone()).body(body.clone());
        }
        Ok(Flow::Respond(reply))
    }
}
