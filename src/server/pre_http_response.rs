//! Responses to clients before a request is complete: refused connections, malformed or slow heads. Uses no filter and
//! no route.

use crate::exchange::{Exchange, Outcome};
use crate::filter::RETRY_SOON;
use crate::snapshot::CurrentSnapshot;
use crate::telemetry::keys::OTHER_METHOD;
use http::{HeaderValue, Method, StatusCode, header};
use pingora::http::RequestHeader;
use pingora::protocols::{Shutdown, Stream};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tidegate_http::accept::MediaType;
use tidegate_http::error_code::ErrorCode;
use tidegate_http::header_name::{PROXY_STATUS, X_REQUEST_ID};
use tidegate_http::proxy_status::proxy_status;
use tidegate_http::raw_head::{self as head, HeadError};
use tidegate_http::request_id;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Maximum time for a client to receive its refusal.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum number of refused clients that the gateway waits for concurrently. Beyond it, a client gets what its
/// socket takes at once.
static WAITING_REFUSALS: Semaphore = Semaphore::const_new(64);

/// A response that needs no complete request.
#[derive(Debug, Clone, Copy)]
pub(super) enum PreHttpResponse {
    /// The head did not come to its end in time.
    TooSlow,
    /// The head is malformed or ambiguous.
    Malformed(HeadError),
    /// HTTP at a port of HTTPS. nginx says the same.
    NotTls,
    /// No header of the PROXY protocol where there must be one.
    NoProxyHeader,
    /// HTTP/1 at a listener that speaks HTTP/2 alone (RFC 9110, section 15.6.6).
    NotHttp2,
    /// There are as many connections as may be, or as many at this listener.
    Full,
    /// The client has as many connections as it may have.
    FullOfClient,
}

impl PreHttpResponse {
    fn status(self) -> StatusCode {
        match self {
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Malformed(fault) => fault.status,
            Self::NotTls | Self::NoProxyHeader => StatusCode::BAD_REQUEST,
            Self::NotHttp2 => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            Self::FullOfClient => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    fn code(self) -> ErrorCode {
        match self {
            Self::TooSlow => ErrorCode::RequestTimeout,
            Self::Malformed(fault) => fault.code(),
            Self::NotTls => ErrorCode::TlsRequired,
            Self::NoProxyHeader => ErrorCode::ProxyHeaderRequired,
            Self::NotHttp2 => ErrorCode::VersionNotSupported,
            Self::Full | Self::FullOfClient => ErrorCode::TooManyConnections,
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::TooSlow => head::TOO_SLOW,
            Self::Malformed(fault) => fault.reason,
            Self::NotTls => "this port accepts only HTTPS: use https:// in the URL",
            Self::NoProxyHeader => {
                "this port accepts only connections that begin with a PROXY protocol header"
            }
            Self::NotHttp2 => "this port accepts only HTTP/2",
            Self::Full => "the gateway has reached its limit of connections; try again later",
            Self::FullOfClient => "too many connections from this address",
        }
    }

    fn text(self, request_id: &str, is_head: bool, sends_proxy_status: bool) -> String {
        let (status, code, message) = (self.status(), self.code(), self.message());
        let body = format!(
            "{{\"error\":\"{code}\",\"message\":\"{message}\",\"request_id\":\"{request_id}\"}}"
        );
        let more = match self {
            Self::Full | Self::FullOfClient => format!("{}: {RETRY_SOON}\r\n", header::RETRY_AFTER),
            _ => String::new(),
        };
        let value = sends_proxy_status.then(|| proxy_status(code.as_str())).flatten();
        let value = value.as_ref().and_then(|value| value.to_str().ok());
        let named = value.map(|value| format!("{PROXY_STATUS}: {value}\r\n")).unwrap_or_default();
        format!(
            "HTTP/1.1 {} {}\r\ndate: {}\r\ncontent-type: {}\r\n\
             content-length: {}\r\ncache-control: no-store\r\n{X_REQUEST_ID}: {request_id}\r\n{named}{more}\
             connection: close\r\n\r\n{}",
            status.as_str(),
            status.canonical_reason().unwrap_or_default(),
            httpdate::fmt_http_date(SystemTime::now()),
            MediaType::Json.content_type(),
            body.len(),
            if is_head { "" } else { &body },
        )
    }

    /// Sends it, closes the connection and writes it to the access log. `head` is as much of a request as has come.
    ///
    /// What the client has sent is read, for a while: unread, it would make the kernel take the answer back with a
    /// reset.
    pub(super) async fn send(self, mut stream: Stream, head: &[u8], current: &CurrentSnapshot) {
        let request_id = request_id::generate();
        let is_head = head::method_and_target(head).is_some_and(|(method, _)| method == b"HEAD");
        let text = self.text(&request_id, is_head, current.load().global.sends_proxy_status);
        let peer = stream.get_socket_digest();
        let peer = peer.and_then(|it| it.peer_addr().and_then(|it| it.as_inet().copied()));
        self.log(head, peer, &request_id, current);
        let permit = WAITING_REFUSALS.try_acquire();
        let patience = if permit.is_ok() { REFUSAL_TIMEOUT } else { Duration::ZERO };
        // Even without time it is polled once, which writes the answer.
        let farewell = async {
            stream.write_all(text.as_bytes()).await?;
            stream.flush().await?;
            Shutdown::shutdown(&mut *stream).await;
            let mut rest = [0; 1024];
            while stream.read(&mut rest).await? > 0 {}
            Ok::<(), std::io::Error>(())
        };
        let _ = timeout(patience, farewell).await;
    }

    /// Writes it to the access log and counts it, as requests that no route takes are.
    fn log(
        self,
        head: &[u8],
        peer: Option<SocketAddr>,
        request_id: &str,
        current: &CurrentSnapshot,
    ) {
        let snapshot = current.load();
        let route = &snapshot.fallback;
        let Some(request) = parse_for_log(head) else { return };
        let id = HeaderValue::try_from(request_id);
        let id = id.unwrap_or(HeaderValue::from_static(""));
        let mut exchange = Exchange::new(Arc::clone(&route.name), id);
        exchange.client_address = peer.map(|peer| peer.ip().to_canonical());
        let status = self.status().as_u16();
        route.requests.count(&request.method, status, Duration::ZERO);
        let outcome = Outcome {
            request: &request,
            response: None,
            exchange: &exchange,
            status,
            duration: Duration::ZERO,
            upstream: None,
            upstream_address: None,
            bytes_received: 0,
            bytes_sent: 0,
            cache: None,
            is_background: false,
            websocket: None,
            error: Some(self.message()),
        };
        for filter in route.filters.iter().rev() {
            filter.on_end(&outcome);
        }
        if let Some(log) = &snapshot.global.access_log {
            log.log_end(&outcome);
        }
    }
}

/// The readable part of a request, for the log.
fn parse_for_log(head: &[u8]) -> Option<RequestHeader> {
    /// Maximum length of a logged target, in bytes.
    const MAX_LOGGED_TARGET_BYTES: usize = 1024;
    let (method, target) = head::method_and_target(head).unwrap_or_default();
    let method = std::str::from_utf8(method).ok().filter(|it| it.len() <= 32);
    let method = method.and_then(|it| Method::from_bytes(it.as_bytes()).ok());
    let method = method.as_ref().map_or(OTHER_METHOD, Method::as_str);
    let target = target.get(..MAX_LOGGED_TARGET_BYTES).unwrap_or(target);
    let is_target = target.starts_with(b"/") && target.iter().all(u8::is_ascii_graphic);
    let target = if is_target { target } else { b"/" };
    let request = RequestHeader::build(method, target, None);
    request.or_else(|_| RequestHeader::build(method, b"/", None)).ok()
}
