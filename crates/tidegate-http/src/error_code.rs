//! The codes of the errors that the gateway itself answers with: the `error` of the JSON body, and the details of
//! `Proxy-Status`. Which request gets which code is not known here.
//!
//! `docs/reference/error-codes.md` is made from this list. The codes are a promise to clients and scripts.

use http::StatusCode;
use std::fmt;

/// Writes each code, and all that is to say of it, in one place.
macro_rules! error_codes {
    ($($code:ident: $text:literal, [$($status:ident)*], $meaning:literal, $advice:literal;)*) => {
        /// Why the gateway answers a request with an error.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $(#[doc = $meaning] $code,)*
        }

        impl ErrorCode {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$code),*];

            /// The code as it is sent.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$code => $text,)* }
            }

            /// The statuses that it comes with, the usual one first. None where the status is that of the upstream,
            /// or a filter chooses it.
            pub const fn statuses(self) -> &'static [StatusCode] {
                match self { $(Self::$code => &[$(StatusCode::$status),*],)* }
            }

            /// What has happened.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$code => $meaning,)* }
            }

            /// What to do about it.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$code => $advice,)* }
            }
        }
    };
}

error_codes! {
    BadRequest: "bad_request", [BAD_REQUEST EXPECTATION_FAILED NOT_IMPLEMENTED],
        "The request is malformed or ambiguous: two servers could interpret it differently.",
        "Correct the client; `message` has the reason. [hardening.md](../hardening.md) lists what the \
         gateway refuses.";
    BadWebSocketHandshake: "bad_websocket_handshake", [BAD_REQUEST METHOD_NOT_ALLOWED UPGRADE_REQUIRED],
        "The request for a WebSocket is not a valid handshake (RFC 6455, section 4.2.1).",
        "Check with `tidegate doctor` whether a proxy in front of the gateway removes headers of the handshake.";
    UnknownProtocol: "unknown_protocol", [NOT_IMPLEMENTED],
        "An extended CONNECT request (RFC 8441) asks for another protocol than `websocket`.",
        "Use `websocket` as `:protocol`.";
    UriTooLong: "uri_too_long", [URI_TOO_LONG],
        "Path and query are longer than `limits.uri_size`.",
        "Send the data in the body, or raise the limit.";
    HeadersTooLarge: "headers_too_large", [REQUEST_HEADER_FIELDS_TOO_LARGE],
        "The request has more headers, or larger ones, than `limits.header_count` and `limits.header_size` allow.",
        "Look for cookies that pile up, or raise the limits.";
    BodyTooLarge: "body_too_large", [PAYLOAD_TOO_LARGE],
        "The body is larger than `max_body_size` of the route, or `limits.body_size`.",
        "Send less, or raise the limit of the route.";
    RequestTimeout: "request_timeout", [REQUEST_TIMEOUT],
        "The request did not arrive in time (`limits.header_timeout`, `limits.body_timeout`, `limits.body_rate`).",
        "Check the client's network; raise the limit if clients are that slow.";
    LoopDetected: "loop_detected", [LOOP_DETECTED],
        "The request has passed through this gateway before: an upstream forwards requests back to it.",
        "Correct the endpoints of the upstream.";
    NoRoute: "no_route", [NOT_FOUND],
        "No route matches the host, path, headers and query of the request.",
        "`tidegate explain URL` shows why each route does not match.";
    MethodNotAllowed: "method_not_allowed", [METHOD_NOT_ALLOWED],
        "Routes match the path, but with other methods; the header `Allow` lists them.",
        "Use another method, or add this one to `match.methods` of the route.";
    HttpsRequired: "https_required", [PERMANENT_REDIRECT],
        "The request came over plain HTTP to a host that is served over HTTPS only; `Location` has the URL.",
        "Use `https://` URLs for this host.";
    TlsRequired: "tls_required", [BAD_REQUEST],
        "A plain HTTP request arrived at a TLS port.",
        "Use `https://` or `wss://` with this port.";
    ProxyHeaderRequired: "proxy_header_required", [BAD_REQUEST],
        "The listener requires a PROXY protocol header, and the connection sent none.",
        "Enable the PROXY protocol at the load balancer, or remove `proxy_protocol` from the listener.";
    VersionNotSupported: "version_not_supported", [HTTP_VERSION_NOT_SUPPORTED],
        "An HTTP/1 request arrived at a listener whose `protocols` allow only HTTP/2.",
        "Use HTTP/2, or add `h1` to `protocols` of the listener.";
    Overloaded: "overloaded", [SERVICE_UNAVAILABLE],
        "The gateway is overloaded: `limits.memory`, `limits.requests`, `limits.collected_bodies` or its file descriptors \
         are used up.",
        "Retry after `Retry-After`. Raise the limit, or add a replica.";
    Draining: "draining", [SERVICE_UNAVAILABLE],
        "The gateway is draining and accepts no new WebSockets.",
        "Connect again after `Retry-After`; the load balancer should choose another replica.";
    Maintenance: "maintenance", [SERVICE_UNAVAILABLE],
        "The route is in maintenance mode (`maintenance`).",
        "Retry after `Retry-After`.";
    RateLimited: "rate_limited", [TOO_MANY_REQUESTS],
        "The client has used up one of the route's `rate_limits`.",
        "Retry after `Retry-After`.";
    TooManyRequests: "too_many_requests", [TOO_MANY_REQUESTS],
        "The client's address has `limits.requests_per_client` requests in flight, or filters hold as many bytes of its bodies \
         as `limits.collected_bodies_per_client` allows.",
        "Send fewer requests concurrently, or raise the limit.";
    TooManyConnections: "too_many_connections", [SERVICE_UNAVAILABLE TOO_MANY_REQUESTS],
        "The gateway (503) or the client's address (429) has as many connections as the limits allow.",
        "Reuse connections, or raise `limits.connections` or `limits.connections_per_client`.";
    TooManySessions: "too_many_sessions", [TOO_MANY_REQUESTS],
        "The route, the user or the client's address has as many WebSocket sessions as `websocket.max_sessions…` allows.",
        "Close other sessions, or raise the limit.";
    TooManyHandshakes: "too_many_handshakes", [TOO_MANY_REQUESTS],
        "Newer handshakes replaced this one before the upstream accepted it, because \
         `websocket.max_sessions…` was reached.",
        "Connect less often; see [sessions.md](../sessions.md).";
    ClosedEarly: "closed_early", [SERVICE_UNAVAILABLE],
        "The gateway ended the handshake before the upstream accepted it: a reload, a drain or an operator asked for that.",
        "Connect again after `Retry-After`.";
    WebSocketOff: "websocket_off", [FORBIDDEN],
        "The route does not accept WebSockets.",
        "Remove `websocket: off` from the route, or connect to another path.";
    AddressNotAllowed: "address_not_allowed", [FORBIDDEN],
        "Clients with this address are not admitted here (`clients`).",
        "Add the network to `clients.allow`, or remove it from `clients.deny`; see `trusted_proxies` if the address is \
         that of a load balancer.";
    AuthenticationRequired: "authentication_required", [UNAUTHORIZED],
        "The route requires authentication, and the request has no credential; `WWW-Authenticate` says which.",
        "Log in, and send the credential where `authentication` expects it.";
    AuthenticationFailed: "authentication_failed", [UNAUTHORIZED],
        "The credential of the request is not valid: expired, revoked, malformed, or signed by somebody else.",
        "`message` has the reason, the access log has it as `auth.reason`. Log in again.";
    NotPermitted: "not_permitted", [FORBIDDEN],
        "The identity is verified, and the route's `require` does not let it send this request.",
        "Ask for the claim that `require.claims` names, or name yourself where `require.user_matches` looks.";
    AuthenticationUnavailable: "authentication_unavailable", [SERVICE_UNAVAILABLE],
        "The gateway cannot verify the credential now: what decides about it is unreachable or busy.",
        "Retry after `Retry-After`; the gateway's log names what is unreachable.";
    NoSuchSession: "no_such_session", [NOT_FOUND],
        "No open session of the route has the id that a renewal (`websocket.renew`) names.",
        "Take the id from the last warning of the session, or open a new session.";
    OriginNotAllowed: "origin_not_allowed", [FORBIDDEN],
        "Pages of this origin are not allowed to open WebSockets or to read responses.",
        "Add the origin to `cors.allow_origins` or `websocket.origins`.";
    MethodNotAllowedByCors: "method_not_allowed_by_cors", [FORBIDDEN],
        "A preflight asks for a method that the CORS policy does not allow.",
        "Add the method to `cors.allow_methods`.";
    HeaderNotAllowedByCors: "header_not_allowed_by_cors", [FORBIDDEN],
        "A preflight asks for headers that the CORS policy does not allow.",
        "Add the headers to `cors.allow_headers`.";
    NotCached: "not_cached", [GATEWAY_TIMEOUT],
        "The request accepts only a cached response (`only-if-cached`), and the cache has none.",
        "Send the request without `only-if-cached`.";
    NoFile: "no_file", [NOT_FOUND],
        "The folder of the route (`files.root`) does not contain the requested file.",
        "Correct the URL, or deploy the file.";
    NoSuchRange: "no_such_range", [RANGE_NOT_SATISFIABLE],
        "The requested range begins after the end of the file; `Content-Range` has its size.",
        "Ask for a range within the file.";
    PreconditionFailed: "precondition_failed", [PRECONDITION_FAILED],
        "The file has changed since the version that `If-Match` or `If-Unmodified-Since` names.",
        "Fetch the file again.";
    UpstreamUnavailable: "upstream_unavailable", [SERVICE_UNAVAILABLE],
        "No endpoint of the upstream has an address: a name does not resolve, or discovery found none.",
        "Check DNS; `tidegate status` lists the endpoints.";
    UpstreamBusy: "upstream_busy", [SERVICE_UNAVAILABLE],
        "The upstream has as many connections or requests as its `limits` allow.",
        "Retry after `Retry-After`. Raise the limits, or add endpoints.";
    UpstreamUnreachable: "upstream_unreachable", [BAD_GATEWAY],
        "No connection to an endpoint could be established.",
        "Start the service, or correct the endpoint; the gateway's log names the address.";
    UpstreamTlsFailed: "upstream_tls_failed", [BAD_GATEWAY],
        "The TLS handshake with the endpoint failed.",
        "Compare `tls` of the upstream with the endpoint's certificate; the gateway's log has the reason.";
    UpstreamTimeout: "upstream_timeout", [GATEWAY_TIMEOUT],
        "The endpoint did not answer in time.",
        "The gateway's log names the timeout; raise it if the service is that slow.";
    UpstreamFailed: "upstream_failed", [BAD_GATEWAY],
        "The endpoint closed the connection early or broke the protocol.",
        "The gateway's log has the reason; see the service's own log too.";
    UpstreamError: "upstream_error", [],
        "The upstream answered with an error, and the gateway replaced its body with an error page \
         (`error_pages.intercept`). The status is the upstream's.",
        "See the service's log.";
    FilterFailed: "filter_failed", [],
        "A custom filter failed; it chose the status and the `message`.",
        "Search the gateway's log for the request id: it has the reason.";
    InternalError: "internal_error", [INTERNAL_SERVER_ERROR],
        "The gateway or one of its filters failed.",
        "Search the gateway's log for the request id.";
}

impl ErrorCode {
    /// The status that it usually comes with.
    pub fn status(self) -> StatusCode {
        self.statuses().first().copied().unwrap_or(StatusCode::BAD_GATEWAY)
    }

    /// The code with this text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }

    /// The registered error type that comes nearest (RFC 9209, section 2.3).
    pub fn proxy_error(self) -> &'static str {
        match self {
            Self::NoRoute => "destination_not_found",
            Self::UpstreamUnavailable => "destination_unavailable",
            Self::UpstreamUnreachable => "connection_refused",
            Self::UpstreamBusy => "connection_limit_reached",
            Self::UpstreamTimeout => "http_response_timeout",
            Self::UpstreamTlsFailed => "tls_protocol_error",
            Self::UpstreamFailed => "connection_terminated",
            Self::LoopDetected => "proxy_loop_detected",
            Self::InternalError | Self::FilterFailed => "proxy_internal_error",
            Self::BadRequest
            | Self::BadWebSocketHandshake
            | Self::HeadersTooLarge
            | Self::UriTooLong
            | Self::BodyTooLarge
            | Self::RequestTimeout
            | Self::UnknownProtocol
            | Self::TlsRequired
            | Self::ProxyHeaderRequired => "http_request_error",
            Self::Draining
            | Self::AuthenticationUnavailable
            | Self::Overloaded
            | Self::Maintenance
            | Self::NoSuchSession
            | Self::NoFile
            | Self::NotCached => "proxy_internal_response",
            Self::MethodNotAllowed
            | Self::HttpsRequired
            | Self::VersionNotSupported
            | Self::RateLimited
            | Self::TooManyRequests
            | Self::TooManyConnections
            | Self::TooManySessions
            | Self::TooManyHandshakes
            | Self::ClosedEarly
            | Self::WebSocketOff
            | Self::AddressNotAllowed
            | Self::AuthenticationRequired
            | Self::AuthenticationFailed
            | Self::NotPermitted
            | Self::OriginNotAllowed
            | Self::MethodNotAllowedByCors
            | Self::HeaderNotAllowedByCors
            | Self::NoSuchRange
            | Self::PreconditionFailed
            | Self::UpstreamError => Self::DEFAULT_ERROR_TYPE,
        }
    }

    /// The error type of a code without a more specific one.
    pub(crate) const DEFAULT_ERROR_TYPE: &str = "http_request_denied";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<ErrorCode> for &'static str {
    fn from(code: ErrorCode) -> Self {
        code.as_str()
    }
}

/// `docs/reference/error-codes.md`.
pub fn reference() -> String {
    use fmt::Write;
    let mut page = String::from(
        "# Error codes\n\n\
         <!-- Made from crates/tidegate-http/src/error_code.rs: TIDEGATE_BLESS=1 cargo test -p tidegate-http -->\n\n\
         Errors of the gateway itself have one of these codes: as `error` of the JSON body\n\
         (`{\"error\": …, \"message\": …, \"request_id\": …}`), at the beginning of the text body, and as `details` of the\n\
         header `Proxy-Status` (RFC 9209). Errors of the services behind the gateway pass unchanged and have none of these.\n\
         A filter of your own may answer with further codes. The access log has the same request id, and the cause in `error.message`.\n",
    );
    for code in ErrorCode::ALL {
        let statuses: Vec<String> = code.statuses().iter().map(ToString::to_string).collect();
        let statuses = match code {
            ErrorCode::FilterFailed => "that which the filter chooses".to_owned(),
            _ if statuses.is_empty() => "that of the upstream".to_owned(),
            _ => statuses.join(", "),
        };
        // Writing into a string can't fail.
        let _ = write!(
            page,
            "\n## `{code}`\n\n{}\n\n- Status: {statuses}\n- `Proxy-Status`: `{}`\n- What to do: {}\n",
            code.meaning(),
            code.proxy_error(),
            code.advice(),
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_plain_words_and_differ() {
        let texts: HashSet<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            assert!(code.as_str().bytes().all(is_plain), "{code}");
            assert_eq!(ErrorCode::parse(code.as_str()), Some(*code));
        }
        assert_eq!(ErrorCode::parse("banned"), None);
    }

    #[test]
    fn reference_of_error_codes_is_up_to_date() {
        crate::reference::assert_page_is_current("error-codes.md", &reference());
    }
}
