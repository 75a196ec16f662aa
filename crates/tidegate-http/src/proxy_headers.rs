//! Request headers by which proxies describe a client to a service. Services trust them, so clients must not be able to
//! send them; who may is not known here.

use crate::header_name::{
    X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT, X_FORWARDED_PREFIX, X_FORWARDED_PROTO,
    X_FORWARDED_PROTOCOL, X_FORWARDED_SSL, X_REAL_IP,
};
use http::header::{self, HeaderName};

/// Headers that the gateway itself sends about its clients.
static OF_GATEWAY: [HeaderName; 4] =
    [header::FORWARDED, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO];

/// Headers about the connection that only a trusted proxy may send.
pub static CONNECTION_HEADERS: [HeaderName; 5] =
    [X_REAL_IP, X_FORWARDED_PORT, X_FORWARDED_PREFIX, X_FORWARDED_SSL, X_FORWARDED_PROTOCOL];

/// Families of headers about the client's certificate and its TLS: `client-cert` (RFC 9440),
/// `x-forwarded-client-cert` (Envoy), `x-forwarded-tls-client-cert` (Traefik), `ssl-client-*` (nginx),
/// `x-ssl-*` (HAProxy), `x-client-cert-*` (Google), `x-amzn-mtls-*` (AWS), `x-arr-clientcert` (Azure),
/// `cf-client-cert-*` (Cloudflare). A proxy that sets one sets others of its family, and a service may read any of
/// them. To a family belong its own name and those that go on with `-`; one that ends in `-` has no name of its own.
const CERTIFICATE_HEADERS: [&str; 29] = [
    "cf-client-cert",
    "client-cert",
    "client-certificate",
    "ssl-",
    "tls-client-",
    "x-amzn-mtls-",
    "x-arr-clientcert",
    "x-client-cert",
    "x-client-certificate",
    "x-client-dn",
    "x-client-fingerprint",
    "x-client-i-dn",
    "x-client-issuer",
    "x-client-s-dn",
    "x-client-san",
    "x-client-sans",
    "x-client-serial",
    "x-client-serialnumber",
    "x-client-subject",
    "x-client-verification",
    "x-client-verified",
    "x-client-verify",
    "x-clientcert",
    "x-forwarded-client-cert",
    "x-forwarded-client-certificate",
    "x-forwarded-tls-",
    "x-mtls-",
    "x-ssl-",
    "x-tls-client-",
];

/// Whether the gateway itself sends this header about its clients.
pub fn is_set_by_gateway(name: &HeaderName) -> bool {
    OF_GATEWAY.contains(name)
}

/// Whether a header with this lower-case name describes the client's certificate.
pub fn is_about_certificate(name: &str) -> bool {
    CERTIFICATE_HEADERS.iter().any(|family| {
        let rest = name.strip_prefix(family);
        rest.is_some_and(|rest| family.ends_with('-') || rest.is_empty() || rest.starts_with('-'))
    })
}

/// Whether only a trusted proxy may send it.
pub fn is_for_proxies(name: &HeaderName) -> bool {
    // The first letters already exclude most headers.
    match name.as_str().as_bytes() {
        [b'x', b'-', ..] => {
            CONNECTION_HEADERS.contains(name) || is_about_certificate(name.as_str())
        }
        [b'c', b'f' | b'l', ..] | [b's', b's', ..] | [b't', b'l', ..] => {
            is_about_certificate(name.as_str())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_certificate_header_is_a_proxy_header() {
        let is_meant = |name: &'static str| is_for_proxies(&HeaderName::from_static(name));
        for name in [
            "cf-client-cert-sha256",
            "client-cert",
            "client-cert-chain",
            "ssl-client-issuer-dn",
            "ssl-client-serial",
            "ssl-clientcert",
            "tls-client-cert",
            "x-amzn-mtls-clientcert-leaf",
            "x-arr-clientcert",
            "x-client-cert-hash",
            "x-client-dn",
            "x-client-san",
            "x-client-san-dns",
            "x-client-serial-number",
            "x-client-verified",
            "x-client-verify",
            "x-forwarded-client-cert",
            "x-forwarded-port",
            "x-forwarded-tls-client-cert-info",
            "x-real-ip",
            "x-ssl-client-cn",
            "x-ssl-client-sha1",
            "x-ssl-issuer",
        ] {
            assert!(is_meant(name), "{name}");
        }
        for name in [
            "accept",
            "client-certainty",
            "client-hints",
            "x-api-key",
            "x-client-dnt",
            "x-client-id",
            "x-client-ip",
            "x-client-issuers-list",
            "x-client-sandbox",
            "x-client-subjective-rating",
            "x-client-version",
            "x-forwarded-for",
            "x-requested-with",
            "x-ssl",
        ] {
            assert!(!is_meant(name), "{name}");
        }
    }
}
