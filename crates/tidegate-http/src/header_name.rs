//! Names of headers that the gateway sets or reads and the `http` crate does not have, and lists of headers that are of
//! one connection. What is done with them is not known here.

use http::header::{self, HeaderName};

/// Of one connection (RFC 9112, appendix C.2.2).
pub const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// Of one connection; never standardised, still sent (RFC 9110, section 7.6.1).
pub const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// Of an upgrade to HTTP/2 (RFC 7540, section 3.2.1).
pub const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
/// The id of the request: read from trusted proxies, sent to the upstream and to the client.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
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
/// Asks for the explanation of a request, and carries it.
pub const X_TIDEGATE_EXPLAIN: HeaderName = HeaderName::from_static("x-tidegate-explain");

/// Names as they are written over HTTP/1: Pingora sends the spelling of a text, and lower case for a [`HeaderName`].
pub mod spelled {
    /// `Cache-Status` (RFC 9211).
    pub const CACHE_STATUS: &str = "Cache-Status";
    /// `Forwarded` (RFC 7239).
    pub const FORWARDED: &str = "Forwarded";
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

/// Headers that a message over HTTP/2 must not have (RFC 9113, section 8.2.2); `TE` it may have.
pub const FORBIDDEN_IN_HTTP2: [HeaderName; 5] =
    [header::TRANSFER_ENCODING, header::CONNECTION, header::UPGRADE, KEEP_ALIVE, PROXY_CONNECTION];

/// Headers that are of one connection alone, whatever `Connection` lists (RFC 9110, section 7.6.1).
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
        assert_eq!(name(spelled::X_FORWARDED_FOR), X_FORWARDED_FOR);
        assert_eq!(name(spelled::X_FORWARDED_HOST), X_FORWARDED_HOST);
        assert_eq!(name(spelled::X_FORWARDED_PROTO), X_FORWARDED_PROTO);
        assert_eq!(name(spelled::FORWARDED), header::FORWARDED);
        assert_eq!(name(spelled::VIA), header::VIA);
    }

    #[test]
    fn headers_forbidden_in_http2_are_hop_by_hop() {
        assert!(FORBIDDEN_IN_HTTP2.iter().all(|name| HOP_BY_HOP.contains(name)));
    }
}
