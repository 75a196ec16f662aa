//! Request headers by which proxies tell services about a client. A service that reads one believes
//! it, so a client must not be able to send it.

use http::header::HeaderName;

/// Those that tell about the connection and that nobody but a trusted proxy may send.
pub static ABOUT_CONNECTION: [HeaderName; 4] = [
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-ssl"),
];

/// Those that tell about the client's certificate (RFC 9440; Envoy, Traefik, nginx, HAProxy).
pub static ABOUT_CERTIFICATE: [HeaderName; 17] = [
    HeaderName::from_static("client-cert"),
    HeaderName::from_static("client-cert-chain"),
    HeaderName::from_static("x-forwarded-client-cert"),
    HeaderName::from_static("x-forwarded-tls-client-cert"),
    HeaderName::from_static("x-forwarded-tls-client-cert-info"),
    HeaderName::from_static("x-client-cert"),
    HeaderName::from_static("x-client-certificate"),
    HeaderName::from_static("x-ssl-cert"),
    HeaderName::from_static("x-ssl-client-cert"),
    HeaderName::from_static("x-ssl-client-dn"),
    HeaderName::from_static("x-ssl-client-s-dn"),
    HeaderName::from_static("x-ssl-client-verify"),
    HeaderName::from_static("ssl-client-cert"),
    HeaderName::from_static("ssl-client-s-dn"),
    HeaderName::from_static("ssl-client-subject-dn"),
    HeaderName::from_static("ssl-client-verify"),
    HeaderName::from_static("ssl-clientcert"),
];

/// What CGI programs read as the variable `HTTP_PROXY`, and then send their own requests to
/// (CVE-2016-5385). No client has a use for it.
pub const PROXY: HeaderName = HeaderName::from_static("proxy");

/// Whether it is one of those that the gateway itself sends about its clients.
pub fn is_of_gateway(name: &HeaderName) -> bool {
    let own = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
    own.contains(&name.as_str())
}

/// Whether nobody but a trusted proxy may send it.
pub fn is_for_proxies(name: &HeaderName) -> bool {
    // Most headers are told from them by their first letters.
    let written = name.as_str();
    let is_near =
        written.starts_with("x-") || written.starts_with("client-") || written.starts_with("ssl-");
    is_near && (ABOUT_CONNECTION.contains(name) || ABOUT_CERTIFICATE.contains(name))
}
