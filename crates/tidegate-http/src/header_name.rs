//! Names of headers that the `http` crate does not have, and the list of hop-by-hop headers. Knows nothing of how they
//! are used.

use http::header::{self, HeaderName};

/// Of one connection (RFC 9112, appendix C.2.2).
pub const KEEP_ALIVE: HeaderName = HeaderName::from_static(lower::KEEP_ALIVE);
/// Of one connection; never standardised, still sent (RFC 9110, section 7.6.1).
pub const PROXY_CONNECTION: HeaderName = HeaderName::from_static(lower::PROXY_CONNECTION);
/// Of an upgrade to HTTP/2 (RFC 7540, section 3.2.1).
pub const HTTP2_SETTINGS: HeaderName = HeaderName::from_static(lower::HTTP2_SETTINGS);
/// The id of the request: read from trusted proxies, sent to the upstream and to the client.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static(lower::X_REQUEST_ID);
/// Addresses of the client and the proxies: read from trusted proxies, sent to the upstream.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `http` or `https`, as the client asked: read from trusted proxies, sent to the upstream.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The host that the client asked for: read from trusted proxies, sent to the upstream.
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The port that the client asked for; passed on from trusted proxies.
pub const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
/// The prefix that a proxy has removed from the path; passed on from trusted proxies.
pub const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
/// `on` over TLS; passed on from trusted proxies.
pub const X_FORWARDED_SSL: HeaderName = HeaderName::from_static("x-forwarded-ssl");
/// Another name of `X-Forwarded-Proto`; passed on from trusted proxies.
pub const X_FORWARDED_PROTOCOL: HeaderName = HeaderName::from_static("x-forwarded-protocol");
/// The address of the client, as nginx names it; passed on from trusted proxies.
pub const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// Another name of `X-Forwarded-Proto`, which some services believe.
pub const X_FORWARDED_SCHEME: HeaderName = HeaderName::from_static("x-forwarded-scheme");
/// Another host than that of the request, which some services believe.
pub const X_HOST: HeaderName = HeaderName::from_static("x-host");
/// Another name of `X-Host`.
pub const X_ORIGINAL_HOST: HeaderName = HeaderName::from_static("x-original-host");
/// Another target than that of the request, which some services believe (IIS, Symfony).
pub const X_ORIGINAL_URL: HeaderName = HeaderName::from_static("x-original-url");
/// Another name of `X-Original-Url`.
pub const X_REWRITE_URL: HeaderName = HeaderName::from_static("x-rewrite-url");
/// Another method than that of the request, which some services believe.
pub const X_HTTP_METHOD: HeaderName = HeaderName::from_static("x-http-method");
/// Another name of `X-Http-Method`.
pub const X_HTTP_METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");
/// Another name of `X-Http-Method`.
pub const X_METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-method-override");
/// The client, as libraries name themselves that can't set `User-Agent` (gRPC-Web).
pub const X_USER_AGENT: HeaderName = HeaderName::from_static("x-user-agent");
/// How the browser uses the response: as a page (`navigate`), or otherwise (Fetch Metadata Request Headers).
pub const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
/// Where the request comes from: the same origin, the same site, another one, or the user (Fetch Metadata Request
/// Headers).
pub const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Whether a user asked for the navigation (Fetch Metadata Request Headers).
pub const SEC_FETCH_USER: HeaderName = HeaderName::from_static("sec-fetch-user");
/// The key of a client, as many services name it.
pub const X_API_KEY: HeaderName = HeaderName::from_static(lower::X_API_KEY);
/// The method that a client asked with, for a service that decides about the request.
pub const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
/// The target that a client asked for, for a service that decides about the request.
pub const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
/// The id of a WebSocket session, for the renewal of its login.
pub const X_TIDEGATE_SESSION: HeaderName = HeaderName::from_static("x-tidegate-session");
/// Another name of [`X_FORWARDED_METHOD`], which services behind nginx read.
pub const X_ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
/// Another name of [`X_FORWARDED_URI`], which services behind nginx read.
pub const X_ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
/// Asks for the explanation of a request, and carries it.
pub const X_TIDEGATE_EXPLAIN: HeaderName = HeaderName::from_static(lower::X_TIDEGATE_EXPLAIN);
/// What CGI programs read as the variable `HTTP_PROXY`, and then send their own requests to
/// (CVE-2016-5385). No client has a use for it.
pub const PROXY: HeaderName = HeaderName::from_static("proxy");
/// An error of the gateway's own (RFC 9209).
pub const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
/// The trace of a request (W3C Trace Context, section 3.2).
pub const TRACEPARENT: HeaderName = HeaderName::from_static(spelled::TRACEPARENT);
/// What vendors add to the trace (W3C Trace Context, section 3.3).
pub const TRACESTATE: HeaderName = HeaderName::from_static(spelled::TRACESTATE);
/// The status of a call of gRPC, in its response's trailers.
pub const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// What people read of the status of a call of gRPC.
pub const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// How long a client waits for a call of gRPC.
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// How the messages of a call of gRPC are compressed.
pub const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
/// Marks a call of gRPC-Web.
pub const X_GRPC_WEB: HeaderName = HeaderName::from_static("x-grpc-web");
/// The digest of the content (RFC 9530, section 2).
pub const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
/// The digest of the representation (RFC 9530, section 3).
pub const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
/// The digest of the representation, before RFC 9530 (RFC 3230).
pub const DIGEST: HeaderName = HeaderName::from_static("digest");
/// The MD5 of the body (RFC 1864).
pub const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
/// Lets pages of public sites reach a private network (Private Network Access).
pub const ACCESS_CONTROL_ALLOW_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-allow-private-network");
/// Asks for that in a preflight.
pub const ACCESS_CONTROL_REQUEST_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
/// The media types of which a PATCH would be accepted (RFC 5789, section 3.1).
pub const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
/// The media types of which a POST would be accepted (Linked Data Platform, section 7.1).
pub const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
/// What a client learns after it has been authenticated (RFC 7615).
pub const AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("authentication-info");
/// What a client learns after a proxy has authenticated it (RFC 7615).
pub const PROXY_AUTHENTICATION_INFO: HeaderName =
    HeaderName::from_static("proxy-authentication-info");
/// The nonce for the next proof of possession (RFC 9449, section 8.1).
pub const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
/// What is left of the client's quotas.
pub const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// The quotas of the client.
pub const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// The origins that see the times of a resource (Resource Timing).
pub const TIMING_ALLOW_ORIGIN: HeaderName = HeaderName::from_static("timing-allow-origin");
/// Which pages may embed a resource (Fetch).
pub const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");
/// A cookie of RFC 2965, which nobody sets any more.
pub const SET_COOKIE2: HeaderName = HeaderName::from_static("set-cookie2");

/// Names in lower case, as a [`HeaderName`] has them: for `match`, and for heads that are not parsed.
pub mod lower {
    /// `Authorization` (RFC 9110, section 11.6.2).
    pub const AUTHORIZATION: &str = "authorization";
    /// [`X_API_KEY`](super::X_API_KEY).
    pub const X_API_KEY: &str = "x-api-key";
    /// `Access-Control-Request-Method` (Fetch).
    pub const ACCESS_CONTROL_REQUEST_METHOD: &str = "access-control-request-method";
    /// `Connection` (RFC 9110, section 7.6.1).
    pub const CONNECTION: &str = "connection";
    /// `Content-Length` (RFC 9110, section 8.6).
    pub const CONTENT_LENGTH: &str = "content-length";
    /// `Cookie` (RFC 6265, section 5.4).
    pub const COOKIE: &str = "cookie";
    /// `Expect` (RFC 9110, section 10.1.1).
    pub const EXPECT: &str = "expect";
    /// `Host` (RFC 9110, section 7.2).
    pub const HOST: &str = "host";
    /// [`HTTP2_SETTINGS`](super::HTTP2_SETTINGS).
    pub const HTTP2_SETTINGS: &str = "http2-settings";
    /// [`KEEP_ALIVE`](super::KEEP_ALIVE).
    pub const KEEP_ALIVE: &str = "keep-alive";
    /// `Origin` (RFC 6454, section 7).
    pub const ORIGIN: &str = "origin";
    /// [`PROXY_CONNECTION`](super::PROXY_CONNECTION).
    pub const PROXY_CONNECTION: &str = "proxy-connection";
    /// `Sec-WebSocket-Accept` (RFC 6455, section 11.3.3).
    pub const SEC_WEBSOCKET_ACCEPT: &str = "sec-websocket-accept";
    /// `Sec-WebSocket-Key` (RFC 6455, section 11.3.1).
    pub const SEC_WEBSOCKET_KEY: &str = "sec-websocket-key";
    /// `Sec-WebSocket-Protocol` (RFC 6455, section 11.3.4).
    pub const SEC_WEBSOCKET_PROTOCOL: &str = "sec-websocket-protocol";
    /// `TE` (RFC 9110, section 10.1.4).
    pub const TE: &str = "te";
    /// `Transfer-Encoding` (RFC 9112, section 6.1).
    pub const TRANSFER_ENCODING: &str = "transfer-encoding";
    /// `Upgrade` (RFC 9110, section 7.8).
    pub const UPGRADE: &str = "upgrade";
    /// `Via` (RFC 9110, section 7.6.3).
    pub const VIA: &str = "via";
    /// [`X_REQUEST_ID`](super::X_REQUEST_ID).
    pub const X_REQUEST_ID: &str = "x-request-id";
    /// [`X_TIDEGATE_EXPLAIN`](super::X_TIDEGATE_EXPLAIN).
    pub const X_TIDEGATE_EXPLAIN: &str = "x-tidegate-explain";
}

/// Names as they are written over HTTP/1: Pingora sends the spelling of a text, and lower case for a [`HeaderName`].
pub mod spelled {
    /// `Accept` (RFC 9110, section 12.5.1).
    pub const ACCEPT: &str = "Accept";
    /// `Accept-Encoding` (RFC 9110, section 12.5.3).
    pub const ACCEPT_ENCODING: &str = "Accept-Encoding";
    /// `Access-Control-Allow-Credentials` (Fetch).
    pub const ACCESS_CONTROL_ALLOW_CREDENTIALS: &str = "Access-Control-Allow-Credentials";
    /// `Access-Control-Allow-Origin` (Fetch).
    pub const ACCESS_CONTROL_ALLOW_ORIGIN: &str = "Access-Control-Allow-Origin";
    /// `Access-Control-Expose-Headers` (Fetch).
    pub const ACCESS_CONTROL_EXPOSE_HEADERS: &str = "Access-Control-Expose-Headers";
    /// `Access-Control-Request-Headers` (Fetch).
    pub const ACCESS_CONTROL_REQUEST_HEADERS: &str = "Access-Control-Request-Headers";
    /// `Access-Control-Request-Method` (Fetch).
    pub const ACCESS_CONTROL_REQUEST_METHOD: &str = "Access-Control-Request-Method";
    /// `Cache-Status` (RFC 9211).
    pub const CACHE_STATUS: &str = "Cache-Status";
    /// `Connection` (RFC 9110, section 7.6.1).
    pub const CONNECTION: &str = "Connection";
    /// `Content-Type` (RFC 9110, section 8.3).
    pub const CONTENT_TYPE: &str = "Content-Type";
    /// `ETag` (RFC 9110, section 8.8.3).
    pub const ETAG: &str = "ETag";
    /// `Forwarded` (RFC 7239).
    pub const FORWARDED: &str = "Forwarded";
    /// `Host` (RFC 9110, section 7.2).
    pub const HOST: &str = "Host";
    /// `Origin` (RFC 6454, section 7).
    pub const ORIGIN: &str = "Origin";
    /// `Sec-WebSocket-Key` (RFC 6455, section 11.3.1).
    pub const SEC_WEBSOCKET_KEY: &str = "Sec-WebSocket-Key";
    /// `Sec-WebSocket-Protocol` (RFC 6455, section 11.3.4).
    pub const SEC_WEBSOCKET_PROTOCOL: &str = "Sec-WebSocket-Protocol";
    /// `Sec-WebSocket-Version` (RFC 6455, section 11.3.5).
    pub const SEC_WEBSOCKET_VERSION: &str = "Sec-WebSocket-Version";
    /// `TE` (RFC 9110, section 10.1.4).
    pub const TE: &str = "TE";
    /// [`TRACEPARENT`](super::TRACEPARENT), which everybody writes in lower case.
    pub const TRACEPARENT: &str = "traceparent";
    /// [`TRACESTATE`](super::TRACESTATE), which everybody writes in lower case.
    pub const TRACESTATE: &str = "tracestate";
    /// `Upgrade` (RFC 9110, section 7.8).
    pub const UPGRADE: &str = "Upgrade";
    /// `User-Agent` (RFC 9110, section 10.1.5).
    pub const USER_AGENT: &str = "User-Agent";
    /// `Vary` (RFC 9110, section 12.5.5).
    pub const VARY: &str = "Vary";
    /// `Via` (RFC 9110, section 7.6.3).
    pub const VIA: &str = "Via";
    /// [`X_FORWARDED_FOR`](super::X_FORWARDED_FOR).
    pub const X_FORWARDED_FOR: &str = "X-Forwarded-For";
    /// [`X_FORWARDED_HOST`](super::X_FORWARDED_HOST).
    pub const X_FORWARDED_HOST: &str = "X-Forwarded-Host";
    /// [`X_FORWARDED_PROTO`](super::X_FORWARDED_PROTO).
    pub const X_FORWARDED_PROTO: &str = "X-Forwarded-Proto";
    /// [`X_REQUEST_ID`](super::X_REQUEST_ID).
    pub const X_REQUEST_ID: &str = "X-Request-Id";
}

/// How the names of all headers of CORS begin.
pub const CORS_PREFIX: &str = "access-control-";

/// How the names of all headers of a WebSocket's handshake begin.
pub const WEBSOCKET_PREFIX: &str = "sec-websocket-";

/// Headers that a message over HTTP/2 must not have (RFC 9113, section 8.2.2); `TE` it may have.
pub const FORBIDDEN_IN_HTTP2: [HeaderName; 5] =
    [header::TRANSFER_ENCODING, header::CONNECTION, header::UPGRADE, KEEP_ALIVE, PROXY_CONNECTION];

/// Headers that are of one connection alone, whatever `Connection` lists (RFC 9110, section 7.6.1), without those that
/// say where the body ends; in lower case, which is compared faster than a list of [`HeaderName`]s.
pub const OF_CONNECTION: [&str; 6] = [
    lower::CONNECTION,
    lower::UPGRADE,
    lower::KEEP_ALIVE,
    lower::PROXY_CONNECTION,
    lower::TE,
    lower::HTTP2_SETTINGS,
];

/// Headers that are of one connection alone, whatever `Connection` lists (RFC 9110, section 7.6.1): those
/// [of the connection](OF_CONNECTION), and those that say where the body ends.
pub const HOP_BY_HOP: [HeaderName; 8] = [
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    HTTP2_SETTINGS,
    header::TE,
    header::TRAILER,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelled_names_are_the_same_names() {
        let name = |spelled: &str| HeaderName::from_bytes(spelled.as_bytes()).unwrap();
        assert_eq!(name(spelled::X_REQUEST_ID), X_REQUEST_ID);
        assert_eq!(name(spelled::SEC_WEBSOCKET_KEY), lower::SEC_WEBSOCKET_KEY);
        assert_eq!(name(spelled::SEC_WEBSOCKET_PROTOCOL), lower::SEC_WEBSOCKET_PROTOCOL);
        assert_eq!(name(spelled::SEC_WEBSOCKET_VERSION), header::SEC_WEBSOCKET_VERSION);
        assert_eq!(
            name(spelled::ACCESS_CONTROL_ALLOW_CREDENTIALS),
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS
        );
        assert_eq!(name(spelled::ACCESS_CONTROL_ALLOW_ORIGIN), header::ACCESS_CONTROL_ALLOW_ORIGIN);
        assert_eq!(
            name(spelled::ACCESS_CONTROL_EXPOSE_HEADERS),
            header::ACCESS_CONTROL_EXPOSE_HEADERS
        );
        assert_eq!(
            name(spelled::ACCESS_CONTROL_REQUEST_HEADERS),
            header::ACCESS_CONTROL_REQUEST_HEADERS
        );
        assert_eq!(
            name(spelled::ACCESS_CONTROL_REQUEST_METHOD),
            header::ACCESS_CONTROL_REQUEST_METHOD
        );
        assert_eq!(name(spelled::ACCEPT_ENCODING), header::ACCEPT_ENCODING);
        assert_eq!(name(spelled::CONTENT_TYPE), header::CONTENT_TYPE);
        assert_eq!(name(spelled::USER_AGENT), header::USER_AGENT);
        assert_eq!(name(spelled::X_FORWARDED_FOR), X_FORWARDED_FOR);
        assert_eq!(name(spelled::X_FORWARDED_HOST), X_FORWARDED_HOST);
        assert_eq!(name(spelled::X_FORWARDED_PROTO), X_FORWARDED_PROTO);
        assert_eq!(name(spelled::FORWARDED), header::FORWARDED);
        assert_eq!(name(spelled::VIA), header::VIA);
    }

    #[test]
    fn lower_names_are_the_same_names() {
        assert_eq!(header::ACCESS_CONTROL_REQUEST_METHOD, lower::ACCESS_CONTROL_REQUEST_METHOD);
        assert_eq!(header::CONTENT_LENGTH, lower::CONTENT_LENGTH);
        assert_eq!(header::SEC_WEBSOCKET_ACCEPT, lower::SEC_WEBSOCKET_ACCEPT);
        assert_eq!(header::SEC_WEBSOCKET_KEY, lower::SEC_WEBSOCKET_KEY);
        assert_eq!(header::SEC_WEBSOCKET_PROTOCOL, lower::SEC_WEBSOCKET_PROTOCOL);
        assert_eq!(header::TRANSFER_ENCODING, lower::TRANSFER_ENCODING);
    }

    #[test]
    fn hop_by_hop_headers_are_those_of_the_connection_and_of_framing() {
        let is_of_connection = |name: &HeaderName| OF_CONNECTION.contains(&name.as_str());
        let (of_connection, of_framing): (Vec<_>, Vec<_>) =
            HOP_BY_HOP.into_iter().partition(is_of_connection);
        assert_eq!(of_connection.len(), OF_CONNECTION.len());
        assert_eq!(of_framing, [header::TRANSFER_ENCODING, header::TRAILER]);
    }

    #[test]
    fn headers_forbidden_in_http2_are_hop_by_hop() {
        assert!(FORBIDDEN_IN_HTTP2.iter().all(|name| HOP_BY_HOP.contains(name)));
    }
}
