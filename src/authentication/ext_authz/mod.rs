//! Asks a service over gRPC about each request, by Envoy's protocol `envoy.service.auth.v3.Authorization`. Knows nothing of
//! caching and of what becomes of the answer.

mod messages;

use self::messages::{
    Address, AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValueOption,
    HttpRequest, OkHttpResponse, Peer, Request, SocketAddress,
};
use super::external::{DecidingService, ExternalScheme, Question, ServiceAnswer};
use super::forward::for_client;
use crate::identity::SchemeKind;
use async_trait::async_trait;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri};
use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;
use tidegate_http::header_name::spelled::TRACEPARENT;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

/// A scheme that asks a service over gRPC.
pub(crate) type ExtAuthzScheme = ExternalScheme<ExtAuthzService>;

/// The method that is called.
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// Maximum size of an answer, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// A service that is asked over gRPC.
pub(crate) struct ExtAuthzService {
    endpoint: Endpoint,
    url: Uri,
    timeout: Duration,
    /// Headers that the service may remove: the gateway removes them from every request.
    removed: Box<[HeaderName]>,
    /// The connection, once it is needed: it wants a runtime.
    channel: OnceLock<Channel>,
}

impl fmt::Debug for ExtAuthzService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtAuthzService").field("url", &self.url).finish_non_exhaustive()
    }
}

impl ExtAuthzService {
    /// The service at this endpoint. The gateway removes these headers from every request anyway.
    pub(crate) fn new(
        endpoint: Endpoint,
        url: Uri,
        timeout: Duration,
        removed: Box<[HeaderName]>,
    ) -> Self {
        Self { endpoint, url, timeout, removed, channel: OnceLock::new() }
    }

    async fn check(
        &self,
        request: CheckRequest,
        trace: Option<&str>,
    ) -> Result<CheckResponse, Status> {
        let channel = self.channel.get_or_init(|| self.endpoint.connect_lazy()).clone();
        let mut client = Grpc::new(channel).max_decoding_message_size(MAX_ANSWER);
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut request = tonic::Request::new(request);
        request.set_timeout(self.timeout);
        if let Some(trace) = trace.and_then(|trace| trace.parse().ok()) {
            request.metadata_mut().insert(TRACEPARENT, trace);
        }
        let codec: ProstCodec<CheckRequest, CheckResponse> = ProstCodec::default();
        let answer = client.unary(request, PathAndQuery::from_static(CHECK), codec).await?;
        Ok(answer.into_inner())
    }

    fn admitted(&self, ok: &OkHttpResponse) -> ServiceAnswer {
        if !ok.query_parameters_to_set.is_empty() || !ok.query_parameters_to_remove.is_empty() {
            return ServiceAnswer::Unusable(
                "it changes the query, which the gateway does not".to_owned(),
            );
        }
        let is_removed = |name: &&String| {
            !self.removed.iter().any(|known| known.as_str().eq_ignore_ascii_case(name))
        };
        if let Some(name) = ok.headers_to_remove.iter().find(is_removed) {
            let reason =
                format!("it removes the header `{}`, which is not in `take`", name.escape_debug());
            return ServiceAnswer::Unusable(reason);
        }
        match headers(&ok.headers) {
            Some(headers) => ServiceAnswer::Admitted(Box::new(headers), Duration::MAX),
            None => ServiceAnswer::Unusable("it sends a malformed header".to_owned()),
        }
    }
}

#[async_trait]
impl DecidingService for ExtAuthzService {
    const KIND: SchemeKind = SchemeKind::ExtAuthz;

    fn describe(&self) -> String {
        let scheme = self.url.scheme_str().unwrap_or_default();
        let host = self.url.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        format!("gRPC {scheme}://{host}")
    }

    async fn ask(&self, question: Question) -> ServiceAnswer {
        let trace = question.trace.map(|trace| trace.to_value());
        let trace = trace.as_ref().and_then(|trace| trace.to_str().ok());
        let checked = self.check(request(&question), trace);
        let answer = match tokio::time::timeout(self.timeout, checked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(status)) => {
                let reason = format!("{:?}: {}", status.code(), status.message());
                return match status.code() {
                    Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => {
                        ServiceAnswer::NoAnswer(reason)
                    }
                    _ => ServiceAnswer::Unusable(reason),
                };
            }
            Err(_) => {
                let time = humantime::format_duration(self.timeout);
                return ServiceAnswer::NoAnswer(format!("no answer within {time}"));
            }
        };
        let Some(status) = answer.status else {
            return ServiceAnswer::Unusable("its answer has no status".to_owned());
        };
        match status.code {
            0 if answer.denied_response.is_none() => {
                self.admitted(&answer.ok_response.unwrap_or_default())
            }
            0 => ServiceAnswer::Unusable("it admits the request and denies it".to_owned()),
            _ => denied(answer.denied_response.unwrap_or_default()),
        }
    }
}

/// What the service learns of the request.
fn request(question: &Question) -> CheckRequest {
    let mut headers: HashMap<String, String> = HashMap::new();
    for (name, value) in &question.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        headers
            .entry(name.as_str().to_owned())
            .and_modify(|values| {
                // RFC 9110, section 5.3; cookies are joined by RFC 9113, section 8.2.3.
                values.push_str(if name == http::header::COOKIE { "; " } else { "," });
                values.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    let http = HttpRequest {
        id: question.request_id.to_str().unwrap_or_default().to_owned(),
        method: question.method.to_string(),
        headers,
        path: question.target.clone(),
        host: question.host.clone(),
        scheme: question.scheme.to_owned(),
        // The body is not sent.
        size: -1,
    };
    let source = question.client.map(|client| Peer {
        address: Some(Address {
            socket_address: Some(SocketAddress { address: client.to_canonical().to_string() }),
        }),
    });
    let request = Some(Request { http: Some(http) });
    CheckRequest { attributes: Some(AttributeContext { source, request }) }
}

/// The response to a request that is not admitted: 403, unless the service names another status.
fn denied(answer: DeniedHttpResponse) -> ServiceAnswer {
    let status = match answer.status.map_or(0, |status| status.code) {
        0 => Some(StatusCode::FORBIDDEN),
        code => u16::try_from(code).ok().and_then(|code| StatusCode::from_u16(code).ok()),
    };
    let status = status.filter(|status| !status.is_informational() && !status.is_success());
    let (Some(status), Some(headers)) = (status, headers(&answer.headers)) else {
        return ServiceAnswer::Unusable("it denies with a malformed response".to_owned());
    };
    let mut response = Response::new(Bytes::from(answer.body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    ServiceAnswer::Denied(Box::new(for_client(response)))
}

/// The headers, unless one is malformed.
fn headers(written: &[HeaderValueOption]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for header in written.iter().filter_map(|option| option.header.as_ref()) {
        let value = match header.raw_value.as_slice() {
            [] => header.value.as_bytes(),
            raw => raw,
        };
        let name = HeaderName::from_bytes(header.key.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(value).ok()?);
    }
    Some(headers)
}
