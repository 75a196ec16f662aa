//! The admin endpoint: what runs can be asked about, and told.
//!
//! It is for people and programs on the same machine. A page in a browser there is neither, so
//! requests that a page can cause are refused: by their `Origin`, and by a `Host` that is a name
//! (DNS rebinding).

mod cache;
mod explain;
mod metrics;
mod readiness;
mod sessions;

pub use readiness::Readiness;

use crate::cache::Cache;
use crate::generation::Live;
use crate::http::host::without_port;
use crate::load::{InFlight, Overload, Places};
use crate::websocket::Registry;
use async_trait::async_trait;
use http::{Method, Response, StatusCode, header};
use pingora::apps::http_app::ServeHttp;
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;

/// The most bytes of a request's body.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// Answers at the admin endpoint.
pub struct Admin {
    /// The configuration in force.
    pub live: Arc<Live>,
    /// The WebSocket sessions.
    pub sessions: Arc<Registry>,
    /// The cache.
    pub cache: Arc<Cache>,
    /// Whether requests are welcome.
    pub readiness: Arc<Readiness>,
    /// The requests and sessions under way.
    pub in_flight: Arc<InFlight>,
    /// Those that were too many.
    pub overload: Arc<Overload>,
    /// The connections.
    pub places: Arc<Places>,
}

/// An answer, or why there is none.
type Answer = Result<Value, (StatusCode, String)>;

fn refuse<T>(status: StatusCode, reason: impl Into<String>) -> Result<T, (StatusCode, String)> {
    Err((status, reason.into()))
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let head = session.req_header();
        if let Err(reason) = is_from_here(head) {
            return json_response(StatusCode::FORBIDDEN, &json!({"error": reason}));
        }
        if (&head.method, head.uri.path()) == (&Method::GET, "/metrics") {
            let accept = head.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
            let (media_type, text) = metrics::answer(self, accept.unwrap_or_default());
            return response(StatusCode::OK, media_type, text.into_bytes());
        }
        if (&head.method, head.uri.path()) == (&Method::GET, "/explain") {
            let query = head.uri.query().unwrap_or_default();
            return match explain::answer(&self.live, query).await {
                Ok(value) => json_response(StatusCode::OK, &value),
                Err((status, reason)) => json_response(status, &json!({"error": reason})),
            };
        }
        let body = body(session).await;
        match body.and_then(|body| self.answer(session.req_header(), &body)) {
            Ok(value) => json_response(StatusCode::OK, &value),
            Err((status, reason)) => json_response(status, &json!({"error": reason})),
        }
    }
}

impl Admin {
    fn answer(&self, head: &RequestHeader, body: &[u8]) -> Answer {
        let query = head.uri.query().unwrap_or_default();
        match (head.method.as_str(), head.uri.path()) {
            ("GET", "/livez") => Ok(json!({"live": true})),
            ("GET", "/readyz") if self.readiness.is_ready() => Ok(json!({"ready": true})),
            ("GET", "/readyz") => refuse(StatusCode::SERVICE_UNAVAILABLE, "the gateway stops"),
            ("GET", "/sessions") => sessions::list(&self.sessions, query),
            ("POST", "/sessions/close") => sessions::close(&self.sessions, query),
            ("POST", "/sessions/log") => sessions::log_frames(&self.sessions, query),
            ("POST", "/sessions/affected") => sessions::affected(&self.sessions, body),
            ("POST", "/cache/purge") => cache::purge(&self.cache, query),
            ("POST", "/drain") => Ok(sessions::drain(&self.sessions, self.live.load().drain)),
            ("DELETE", "/drain") => Ok(sessions::resume(&self.sessions)),
            _ => refuse(
                StatusCode::NOT_FOUND,
                "there is GET /sessions, GET /explain, POST /sessions/close, POST /sessions/log, \
                 POST /sessions/affected, POST /cache/purge, POST and DELETE /drain, GET /metrics, /livez, /readyz",
            ),
        }
    }
}

fn is_from_here(head: &RequestHeader) -> Result<(), &'static str> {
    if head.headers.contains_key(header::ORIGIN) {
        return Err("this is not for pages in browsers");
    }
    let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = without_port(host.unwrap_or_default());
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    if literal.parse::<IpAddr>().is_ok() || host.eq_ignore_ascii_case("localhost") {
        return Ok(());
    }
    Err("the Host must be an IP address or localhost")
}

async fn body(session: &mut ServerSession) -> Result<Vec<u8>, (StatusCode, String)> {
    let mut body = Vec::new();
    loop {
        match session.read_request_body().await {
            Ok(Some(part)) if body.len() + part.len() <= MAX_BODY => body.extend_from_slice(&part),
            Ok(Some(_)) => return refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"),
            Ok(None) => return Ok(body),
            Err(error) => return refuse(StatusCode::BAD_REQUEST, error.to_string()),
        }
    }
}

fn json_response(status: StatusCode, value: &Value) -> Response<Vec<u8>> {
    response(status, "application/json", format!("{value}\n").into_bytes())
}

fn response(status: StatusCode, media_type: &'static str, body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let length = response.body().len();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static(media_type));
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    response
}
