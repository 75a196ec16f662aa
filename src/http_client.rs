//! The client for what the gateway itself asks over HTTP: keys of issuers, services that decide about requests. Knows
//! nothing of what it asks for.

use crate::tls::{Roots, provider, system_roots};
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use std::error::Error;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A client that keeps connections. It follows no redirect.
#[derive(Debug, Clone)]
pub(crate) struct HttpClient {
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// The body of a response that is still to be read.
pub(crate) type ResponseBody = UnsyncBoxBody<Bytes, io::Error>;

/// Why a request got no response.
#[derive(Debug)]
pub(crate) enum HttpClientError {
    /// No complete response within this time.
    Timeout(Duration),
    /// No connection can be made.
    Unreachable(Box<dyn Error + Send + Sync>),
    /// The connection broke, or the response is malformed or too large.
    Failed(Box<dyn Error + Send + Sync>),
}

impl fmt::Display for HttpClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(time) => {
                write!(f, "no complete response within {}", humantime::format_duration(*time))
            }
            Self::Unreachable(error) | Self::Failed(error) => {
                write!(f, "{error}")?;
                let mut source = error.source();
                while let Some(cause) = source {
                    write!(f, ": {cause}")?;
                    source = cause.source();
                }
                Ok(())
            }
        }
    }
}

impl HttpClient {
    /// A client that trusts these authorities, or those of the system.
    pub(crate) fn new(roots: Option<Roots>) -> Result<Self, String> {
        let roots = roots.unwrap_or_else(|| Arc::clone(system_roots()));
        let config = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1();
        Ok(Self { http: Client::builder(TokioExecutor::new()).build(connector.build()) })
    }

    /// The response to the request once its head has arrived. Bound the time yourself.
    pub(crate) async fn request(
        &self,
        request: Request<Bytes>,
    ) -> Result<Response<ResponseBody>, HttpClientError> {
        let response = self.http.request(request.map(Full::new)).await.map_err(failed)?;
        Ok(response.map(|body| body.map_err(io::Error::other).boxed_unsync()))
    }

    /// The response with its whole body, which may have at most `max_body` bytes. Bound the time yourself.
    pub(crate) async fn collect(
        response: Response<ResponseBody>,
        max_body: usize,
    ) -> Result<Response<Bytes>, HttpClientError> {
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, max_body).collect().await.map_err(HttpClientError::Failed)?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    }

    /// The response to the request, whose body may have at most `max_body` bytes, within this time.
    pub(crate) async fn send(
        &self,
        request: Request<Bytes>,
        timeout: Duration,
        max_body: usize,
    ) -> Result<Response<Bytes>, HttpClientError> {
        let exchange = async { Self::collect(self.request(request).await?, max_body).await };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(response) => response,
            Err(_) => Err(HttpClientError::Timeout(timeout)),
        }
    }
}

fn failed(error: hyper_util::client::legacy::Error) -> HttpClientError {
    match error.is_connect() {
        true => HttpClientError::Unreachable(error.into()),
        false => HttpClientError::Failed(error.into()),
    }
}

/// Whether a response from this URL cannot be changed on its way: it is `https`, or `http` to this machine.
pub(crate) fn is_safe_url(url: &Uri) -> bool {
    let Some(host) = url.host() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_local =
        host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|it| it.is_loopback());
    match url.scheme_str() {
        Some("https") => true,
        Some("http") => is_local,
        _ => false,
    }
}
