//! The HTTPS client for a certificate authority. Knows nothing of the protocol's steps, only of requests and
//! `Retry-After`.

use super::answer::RequestLabel;
use super::retry_after::RetryAfter;
use crate::tls::{Roots, provider};
use bytes::Bytes;
use http::Request;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, Error};
use rustls::ClientConfig;
use std::pin::Pin;
use std::sync::Arc;

/// A client that trusts the given roots and records `Retry-After`.
pub(super) struct AcmeClient {
    http: HttpClient<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
    retry_after: Arc<RetryAfter>,
}

impl AcmeClient {
    /// One that believes these authorities, and notes when they want to be asked again.
    pub(super) fn new(roots: Roots, retry_after: Arc<RetryAfter>) -> Result<Self, String> {
        let config = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1();
        let http = HttpClient::builder(TokioExecutor::new()).build(connector.build());
        Ok(Self { http, retry_after })
    }
}

impl instant_acme::HttpClient for AcmeClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let asked = RequestLabel::from_request(&request);
        let answer = self.http.request(request);
        let retry_after = Arc::clone(&self.retry_after);
        Box::pin(async move {
            asked.read_response(answer, |answer| retry_after.record(answer.headers_mut())).await
        })
    }
}
