//! Whether a browser lets a page read the response to a cross-origin request, by the headers of the response alone.
//! Knows nothing of policies.

use crate::admission::Rejection;
use crate::filter::is_preflight;
use http::header::{self, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};
use tidegate_http::error_code::ErrorCode;

/// Stands for a header value that only the upstream knows.
pub(super) const UPSTREAM_PLACEHOLDER: HeaderValue = HeaderValue::from_static("upstream");

/// What a browser makes of the response to a request with an `Origin` (Fetch, "CORS check").
pub(super) fn response_verdict(
    request: &RequestHeader,
    response: &ResponseHeader,
) -> Option<String> {
    let origin = request.headers.get(header::ORIGIN)?;
    let allowed = response.headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
    if allowed == Some(&UPSTREAM_PLACEHOLDER) {
        return Some("upstream".to_owned());
    }
    let is_allowed = allowed.is_some_and(|allowed| allowed == "*" || allowed == origin)
        && (!is_preflight(request) || response.status.is_success());
    Some(if is_allowed { "allowed" } else { "refused" }.to_owned())
}

/// Whether a WebSocket handshake passes the gateway's own check of its `Origin`; browsers do not check it.
pub(super) fn handshake_origin_outcome(
    request: &RequestHeader,
    rejection: Option<&Rejection>,
) -> Option<String> {
    request.headers.get(header::ORIGIN)?;
    let is_refused =
        rejection.is_some_and(|rejection| rejection.reply.is_error(ErrorCode::OriginNotAllowed));
    Some(if is_refused { "refused" } else { "allowed" }.to_owned())
}
