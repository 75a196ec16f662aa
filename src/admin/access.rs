//! Which requests the admin endpoint accepts, and which of them need the token. Pages of other origins in a browser on
//! the same machine are refused by their `Origin`, and by a `Host` that is a name (DNS rebinding); what a request does
//! is not known here.

use super::paths;
use super::{AdminError, error_result};
use http::{Method, StatusCode, header};
use pingora::http::RequestHeader;
use std::net::IpAddr;
use subtle::ConstantTimeEq;
use tidegate_http::host::without_port;

/// Resources that change nothing although their requests have bodies.
const READ_ONLY_POSTS: [&str; 2] = [paths::DIFF, paths::SESSIONS_AFFECTED];

/// Refuses requests without permission. `is_unix`: only the gateway's own user can connect to the socket.
pub(super) fn check(
    head: &RequestHeader,
    token: Option<&str>,
    is_unix: bool,
) -> Result<(), AdminError> {
    if let Err(reason) = check_local_request(head) {
        return error_result(StatusCode::FORBIDDEN, reason);
    }
    let changes = ![Method::GET, Method::HEAD].contains(&head.method);
    if !changes || is_unix || READ_ONLY_POSTS.contains(&head.uri.path()) {
        return Ok(());
    }
    let Some(token) = token else {
        return error_result(
            StatusCode::FORBIDDEN,
            "this admin endpoint is read-only: set `admin.token`, or use a Unix domain socket as \
             `admin.address`",
        );
    };
    let field = head.headers.get(header::AUTHORIZATION).map(|field| field.as_bytes());
    let shown = field.and_then(|field| match field.split_at_checked(7) {
        Some((scheme, shown)) if scheme.eq_ignore_ascii_case(b"bearer ") => Some(shown),
        _ => None,
    });
    match shown {
        Some(shown) if bool::from(shown.ct_eq(token.as_bytes())) => Ok(()),
        Some(_) => error_result(StatusCode::UNAUTHORIZED, "the token does not match `admin.token`"),
        None => error_result(
            StatusCode::UNAUTHORIZED,
            "this request needs `admin.token`: send `Authorization: Bearer …`, or use --token or \
             TIDEGATE_ADMIN_TOKEN",
        ),
    }
}

fn check_local_request(head: &RequestHeader) -> Result<(), &'static str> {
    let written = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let written = written.unwrap_or_default();
    let host = without_port(written);
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    if literal.parse::<IpAddr>().is_err() && !host.eq_ignore_ascii_case("localhost") {
        return Err("the Host header must be an IP address or localhost");
    }
    let own = |origin: &[u8]| origin.strip_prefix(b"http://") == Some(written.as_bytes());
    if head.headers.get(header::ORIGIN).is_some_and(|origin| !own(origin.as_bytes())) {
        return Err("pages of other origins may not use the admin endpoint");
    }
    Ok(())
}
