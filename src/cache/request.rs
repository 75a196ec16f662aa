//! Which requests the cache may answer, by their heads alone. Knows nothing of routes and of stored responses.

use http::Method;
use http::header::{self, HeaderName};
use pingora::http::RequestHeader;
use tidegate_http::header_name::{
    X_FORWARDED_SCHEME, X_HOST, X_HTTP_METHOD, X_HTTP_METHOD_OVERRIDE, X_METHOD_OVERRIDE,
    X_ORIGINAL_HOST, X_ORIGINAL_URL, X_REWRITE_URL,
};

/// Headers by which some services let a request override its target or method. Stored under the target, the response
/// would poison the cache.
const OVERRIDE_HEADERS: [HeaderName; 8] = [
    X_ORIGINAL_URL,
    X_REWRITE_URL,
    X_HTTP_METHOD,
    X_HTTP_METHOD_OVERRIDE,
    X_METHOD_OVERRIDE,
    X_FORWARDED_SCHEME,
    X_HOST,
    X_ORIGINAL_HOST,
];

/// Whether a response could be kept for another request like it.
pub(crate) fn is_answerable(head: &RequestHeader, has_body: bool) -> bool {
    matches!(head.method, Method::GET | Method::HEAD)
        && !has_body
        && !head.headers.keys().any(|name| {
            *name == header::UPGRADE
                // RFC 9110, section 13.1: these preconditions are for the origin, not for a cache.
                || *name == header::IF_MATCH
                || *name == header::IF_UNMODIFIED_SINCE
                || OVERRIDE_HEADERS.contains(name)
        })
}
