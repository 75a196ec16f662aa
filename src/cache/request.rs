//! Which requests the cache may answer, by their heads alone. Knows nothing of routes and of stored responses.

use http::Method;
use http::header::{self, HeaderName};
use pingora::http::RequestHeader;
use tidegate_http::header_name::{
    X_FORWARDED_SCHEME, X_HOST, X_HTTP_METHOD, X_HTTP_METHOD_OVERRIDE, X_METHOD_OVERRIDE,
    X_ORIGINAL_HOST, X_ORIGINAL_URL, X_REWRITE_URL,
};

/// Fields by which some services let themselves be told that another thing is asked for than the
/// target says, or by another method. Kept under the target, the response would poison it.
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
                // RFC 9110, section 13.1: these are for who has the resource, not a copy of it.
                || *name == header::IF_MATCH
                || *name == header::IF_UNMODIFIED_SINCE
                || OVERRIDE_HEADERS.contains(name)
        })
}
