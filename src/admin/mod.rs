//! The admin endpoint: routes its requests, checks access, and answers with JSON. One file for each resource reads or
//! changes the shared state; no request of a client of the gateway arrives here.

mod access;
mod cache;
mod config;
mod dashboard;
mod explain;
mod history;
mod logs;
mod metrics;
pub(crate) mod paths;
mod readiness;
mod routes;
mod sessions;
mod status;
mod upstreams;

pub(crate) use readiness::Readiness;

use crate::history::Order;
use crate::load::AcceptedConnections;
use crate::state::State;
use async_trait::async_trait;
use http::{HeaderValue, Method, Response, StatusCode, header};
use pingora::apps::http_app::ServeHttp;
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;
use tidegate_http::accept::MediaType;
use tidegate_http::address::Address;
use tokio::sync::mpsc;

/// Maximum size of a request body, in bytes.
const MAX_REQUEST_BODY_BYTES: usize = 16 * 1024 * 1024;

/// The content of `/openapi.json`.
const OPENAPI_DOCUMENT: &str = include_str!("openapi.json");

/// The admin endpoint.
pub(crate) struct Admin {
    /// The address of the endpoint.
    pub address: Address,
    /// Requests reloads and rollbacks.
    pub orders: mpsc::Sender<Order>,
    /// The state of the gateway, which the resources read and change.
    pub state: State,
    /// Whether load balancers should send requests.
    pub readiness: Arc<Readiness>,
    /// Counters of connections, by listener.
    pub arrivals: Arc<[Arc<AcceptedConnections>]>,
    /// When the gateway started.
    pub since: Instant,
}

/// Status and message of a refused request.
type AdminError = (StatusCode, String);

/// The JSON of the response, or the refusal.
type AdminResult = Result<Value, AdminError>;

fn error_result<T>(status: StatusCode, reason: impl Into<String>) -> Result<T, AdminError> {
    Err((status, reason.into()))
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let head = session.req_header().clone();
        let mut response = self.answer_to(&head, session).await;
        if head.method == Method::HEAD {
            response.body_mut().clear();
        }
        response
    }
}

impl Admin {
    async fn answer_to(
        &self,
        head: &RequestHeader,
        session: &mut ServerSession,
    ) -> Response<Vec<u8>> {
        if let Some(refusal) = self.access_refusal(head) {
            return refusal;
        }
        let path = head.uri.path();
        if path == paths::METRICS {
            let accept = head.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
            let (media_type, text) = metrics::render_metrics(self, accept.unwrap_or_default());
            return response(StatusCode::OK, media_type, text.into_bytes());
        }
        if let Some(part) = dashboard::asset(path) {
            return part;
        }
        if path == paths::OPENAPI_JSON {
            return response(
                StatusCode::OK,
                MediaType::Json.content_type(),
                OPENAPI_DOCUMENT.into(),
            );
        }
        let answer = match body(session).await {
            Ok(body) => self.handle_request(head, &body).await,
            Err(refusal) => Err(refusal),
        };
        answer.map_or_else(
            |(status, reason)| json_response(status, &json!({"error": reason})),
            |value| json_response(StatusCode::OK, &value),
        )
    }

    /// Status and message for a request that is not allowed, or that asks for an unknown path.
    fn access_refusal(&self, head: &RequestHeader) -> Option<Response<Vec<u8>>> {
        let refused = |status, reason: &str| json_response(status, &json!({"error": reason}));
        let current = self.state.current.load();
        let is_unix = matches!(self.address, Address::Unix(_));
        if let Err((status, reason)) = access::check(head, current.admin_token.as_deref(), is_unix)
        {
            let mut response = refused(status, &reason);
            if status == StatusCode::UNAUTHORIZED {
                let scheme = HeaderValue::from_static("Bearer realm=\"tidegate\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
            }
            return Some(response);
        }
        let path = head.uri.path();
        let Some((_, methods)) = paths::RESOURCES.iter().find(|(paths, _)| *paths == path) else {
            let paths: Vec<&str> = paths::RESOURCES.iter().map(|(path, _)| *path).collect();
            let reason = format!("unknown path; the admin endpoint has {}", paths.join(", "));
            return Some(refused(StatusCode::NOT_FOUND, &reason));
        };
        let method = if head.method == Method::HEAD { "GET" } else { head.method.as_str() };
        if methods.split(", ").any(|paths| paths == method) {
            return None;
        }
        let mut response =
            refused(StatusCode::METHOD_NOT_ALLOWED, &format!("this path accepts only {methods}"));
        if let Ok(allow) = HeaderValue::try_from(methods.replace("GET", "GET, HEAD")) {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        Some(response)
    }

    async fn handle_request(&self, head: &RequestHeader, body: &[u8]) -> AdminResult {
        let query = head.uri.query().unwrap_or_default();
        match (head.uri.path(), head.method.as_str()) {
            (paths::LIVEZ, _) => Ok(json!({"live": true})),
            (paths::READYZ, _) if self.readiness.is_ready() => Ok(json!({"ready": true})),
            (paths::READYZ, _) => {
                error_result(StatusCode::SERVICE_UNAVAILABLE, "the gateway is stopping")
            }
            (paths::STATUS, _) => Ok(status::status_json(self)),
            (paths::CONFIG, _) => Ok(config::to_json(&self.state.current.load_full())),
            (paths::ROUTES, _) => Ok(routes::list_routes(&self.state.current.load_full())),
            (paths::UPSTREAMS, _) => Ok(upstreams::list_upstreams(&self.state.current.load_full())),
            (paths::EXPLAIN, _) => explain::explain_request(&self.state.current, query).await,
            (paths::DIFF, _) => {
                explain::difference(&self.state.current, &self.state.sessions, body).await
            }
            // Whoever comes this far has shown it.
            (paths::TOKEN, _) => Ok(json!({"valid": true})),
            (paths::HISTORY, _) => Ok(history::list_versions(self)),
            (paths::RELOAD, _) => history::reload(self).await,
            (paths::ROLLBACK, _) => history::rollback(self, query).await,
            (paths::LOGS, _) => logs::recent_lines(&self.state.current.load_full(), query),
            (paths::LOG_LEVEL, "PUT") => {
                logs::set_log_level(&self.state.current.load_full(), query)
            }
            (paths::LOG_LEVEL, _) => Ok(logs::log_level(&self.state.current.load_full())),
            (paths::SESSIONS, _) => sessions::list_sessions(&self.state.sessions, query),
            (paths::SESSIONS_CLOSE, _) => sessions::close(&self.state.sessions, query),
            (paths::SESSIONS_LOG, _) => sessions::log_frames(&self.state.sessions, query),
            (paths::SESSIONS_AFFECTED, _) => {
                sessions::affected_by_posted_policies(&self.state.sessions, body)
            }
            (paths::CACHE_PURGE, _) => cache::purge(&self.state.cache, query),
            (paths::DRAIN, "DELETE") => Ok(sessions::resume(&self.state.sessions)),
            (paths::DRAIN, _) => {
                Ok(sessions::drain(&self.state.sessions, self.state.current.load().drain))
            }
            _ => error_result(StatusCode::NOT_FOUND, "not found"),
        }
    }
}

async fn body(session: &mut ServerSession) -> Result<Vec<u8>, AdminError> {
    let mut body = Vec::new();
    loop {
        match session.read_request_body().await {
            Ok(Some(part)) if body.len() + part.len() <= MAX_REQUEST_BODY_BYTES => {
                body.extend_from_slice(&part)
            }
            Ok(Some(_)) => {
                return error_result(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "the request body is too large",
                );
            }
            Ok(None) => return Ok(body),
            Err(error) => return error_result(StatusCode::BAD_REQUEST, error.to_string()),
        }
    }
}

fn json_response(status: StatusCode, value: &Value) -> Response<Vec<u8>> {
    response(status, MediaType::Json.content_type(), format!("{value}\n").into_bytes())
}

fn response(status: StatusCode, media_type: &'static str, body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let length = response.body().len();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
