//! Asks a service over HTTP about each request, as nginx's `auth_request` and Traefik's `forwardAuth` do. Knows nothing of
//! caching and of what becomes of the answer.

use super::external::{DecidingService, ExternalScheme, Question, ServiceAnswer};
use crate::http_client::{HttpClient, HttpClientError, ResponseBody};
use crate::identity::SchemeKind;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response, Uri};
use pingora_cache::cache_control::CacheControl;
use std::time::Duration;
use tidegate_http::head;
use tidegate_http::header_name::{
    HOP_BY_HOP, TRACEPARENT, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_METHOD,
    X_FORWARDED_PROTO, X_FORWARDED_URI, X_ORIGINAL_METHOD, X_ORIGINAL_URI, X_REQUEST_ID,
};
use tokio::time::{Instant, timeout_at};

/// A scheme that asks a service over HTTP.
pub(crate) type ForwardScheme = ExternalScheme<ForwardService>;

/// Maximum size of the body of a response that goes to the client, in bytes.
const MAX_ANSWER_BODY_BYTES: usize = 1024 * 1024;

/// A service that is asked over HTTP.
#[derive(Debug)]
pub(crate) struct ForwardService {
    client: HttpClient,
    url: Uri,
    timeout: Duration,
}

impl ForwardService {
    /// The service at this URL, with this client.
    pub(crate) fn new(client: HttpClient, url: Uri, timeout: Duration) -> Self {
        Self { client, url, timeout }
    }

    /// The response of the service. The request is safe, so a connection that broke is no reason to give up.
    async fn response(
        &self,
        request: &Request<Bytes>,
        deadline: Instant,
    ) -> Result<Response<ResponseBody>, HttpClientError> {
        let ask = || async {
            let response = timeout_at(deadline, self.client.request(request.clone())).await;
            response.unwrap_or(Err(HttpClientError::Timeout(self.timeout)))
        };
        match ask().await {
            Err(HttpClientError::Failed(_)) => ask().await,
            response => response,
        }
    }
}

#[async_trait]
impl DecidingService for ForwardService {
    const KIND: SchemeKind = SchemeKind::Forward;

    fn describe(&self) -> String {
        let scheme = self.url.scheme_str().unwrap_or_default();
        let host = self.url.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        // A query may have a secret.
        format!("GET {scheme}://{host}{}", self.url.path())
    }

    async fn ask(&self, question: Question) -> ServiceAnswer {
        let Some(request) = request(&self.url, question) else {
            return ServiceAnswer::Unusable(
                "the request cannot be described in headers".to_owned(),
            );
        };
        let deadline = Instant::now() + self.timeout;
        let response = match self.response(&request, deadline).await {
            Ok(response) => response,
            Err(HttpClientError::Unreachable(error)) => {
                return ServiceAnswer::Unreachable(HttpClientError::Unreachable(error).to_string());
            }
            Err(error) => return ServiceAnswer::NoAnswer(error.to_string()),
        };
        let status = response.status();
        if status.is_success() {
            let lifetime = lifetime(response.headers());
            return ServiceAnswer::Admitted(Box::new(response.into_parts().0.headers), lifetime);
        }
        if status.is_informational() {
            return ServiceAnswer::Unusable(format!("it answers {}", status.as_u16()));
        }
        // It has decided: whatever happens to the body, the request is not admitted.
        match timeout_at(deadline, HttpClient::collect(response, MAX_ANSWER_BODY_BYTES)).await {
            Ok(Ok(response)) => ServiceAnswer::Denied(Box::new(for_client(response))),
            Ok(Err(error)) => {
                let reason = format!("the body of its {} cannot be read: {error}", status.as_u16());
                ServiceAnswer::Unusable(reason)
            }
            Err(_) => ServiceAnswer::Unusable(HttpClientError::Timeout(self.timeout).to_string()),
        }
    }
}

/// The request to the service. Only the gateway sets what describes the client's request.
fn request(url: &Uri, question: Question) -> Option<Request<Bytes>> {
    let mut request = Request::get(url).body(Bytes::new()).ok()?;
    let target = HeaderValue::from_bytes(question.target.as_bytes()).ok()?;
    let host = HeaderValue::from_bytes(question.host.as_bytes()).ok()?;
    let headers = request.headers_mut();
    *headers = question.headers;
    let method = HeaderValue::from_str(question.method.as_str()).ok()?;
    // Traefik's and Caddy's names, and those of nginx's documentation.
    headers.insert(X_ORIGINAL_METHOD, method.clone());
    headers.insert(X_FORWARDED_METHOD, method);
    headers.insert(X_ORIGINAL_URI, target.clone());
    headers.insert(X_FORWARDED_URI, target);
    headers.insert(X_FORWARDED_HOST, host);
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(question.scheme));
    if let Some(client) = question.client {
        headers.insert(X_FORWARDED_FOR, HeaderValue::from_str(&client.to_string()).ok()?);
    }
    headers.insert(X_REQUEST_ID, question.request_id);
    if let Some(trace) = question.trace {
        headers.insert(TRACEPARENT, trace.to_value());
    }
    Some(request)
}

/// How long the response allows to reuse it (RFC 9111, section 5.2.2).
fn lifetime(headers: &HeaderMap) -> Duration {
    let name = header::CACHE_CONTROL;
    if !headers.contains_key(&name) {
        return Duration::MAX;
    }
    // What cannot be read allows nothing.
    let Some(cache_control) = CacheControl::from_headers_named(name.as_str(), headers) else {
        return Duration::ZERO;
    };
    if cache_control.no_store() || cache_control.no_cache() {
        return Duration::ZERO;
    }
    match cache_control.max_age() {
        Ok(Some(seconds)) => Duration::from_secs(seconds.into()),
        Ok(None) => Duration::MAX,
        Err(_) => Duration::ZERO,
    }
}

/// The response as the client gets it: whole, but for what belongs to the connection of the service.
pub(super) fn for_client(mut response: Response<Bytes>) -> Response<Bytes> {
    let headers = response.headers_mut();
    for name in head::nominated(headers).iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    // The gateway frames the body, and names the request.
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(X_REQUEST_ID);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_control_bounds_the_reuse_of_an_admission() {
        let of = |values: &[&'static str]| {
            let values =
                values.iter().map(|it| (header::CACHE_CONTROL, HeaderValue::from_static(it)));
            lifetime(&values.collect())
        };
        assert_eq!(of(&[]), Duration::MAX);
        assert_eq!(of(&["private"]), Duration::MAX);
        assert_eq!(of(&["private, max-age=5"]), Duration::from_secs(5));
        for forbids in ["no-store", "max-age=9, No-Store", "no-cache", "max-age=0", "max-age=soon"]
        {
            assert_eq!(of(&[forbids]), Duration::ZERO, "{forbids}");
        }
    }
}
