//! Request headers by which proxies tell services about a client. A service that reads one believes
//! it, so a client must not be able to send it.

use http::header::HeaderName;

/// Those that tell about the connection and that nobody but a trusted proxy may send.
pub static ABOUT_CONNECTION: [HeaderName; 5] = [
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-ssl"),
    HeaderName::from_static("x-forwarded-protocol"),
];

/// How the names begin of those that tell about the client's certificate and its TLS: `client-cert` (RFC 9440),
/// `x-forwarded-client-cert` (Envoy), `x-forwarded-tls-client-cert` (Traefik), `ssl-client-*` (nginx),
/// `x-ssl-*` (HAProxy), `x-client-cert-*` (Google), `x-amzn-mtls-*` (AWS), `x-arr-clientcert` (Azure),
/// `cf-client-cert-*` (Cloudflare). Those who set one set its kin, and a service may read any of them.
const ABOUT_CERTIFICATE: [&str; 22] = [
    "cf-client-cert",
    "client-cert",
    "ssl-",
    "tls-client-",
    "x-amzn-mtls-",
    "x-arr-clientcert",
    "x-client-cert",
    "x-client-dn",
    "x-client-fingerprint",
    "x-client-i-dn",
    "x-client-issuer",
    "x-client-s-dn",
    "x-client-san",
    "x-client-serial",
    "x-client-subject",
    "x-client-verif",
    "x-clientcert",
    "x-forwarded-client-cert",
    "x-forwarded-tls-",
    "x-mtls-",
    "x-ssl-",
    "x-tls-client-",
];

/// What CGI programs read as the variable `HTTP_PROXY`, and then send their own requests to
/// (CVE-2016-5385). No client has a use for it.
pub const PROXY: HeaderName = HeaderName::from_static("proxy");

/// Whether it is one of those that the gateway itself sends about its clients.
pub fn is_of_gateway(name: &HeaderName) -> bool {
    let own = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
    own.contains(&name.as_str())
}

/// Whether a header with this name, in lower case, tells about the client's certificate.
pub fn is_about_certificate(name: &str) -> bool {
    ABOUT_CERTIFICATE.iter().any(|start| name.starts_with(start))
}

/// Whether nobody but a trusted proxy may send it.
pub fn is_for_proxies(name: &HeaderName) -> bool {
    // Most headers are told from them by their first letters.
    match name.as_str().as_bytes() {
        [b'x', b'-', ..] => ABOUT_CONNECTION.contains(name) || is_about_certificate(name.as_str()),
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
    fn the_kin_of_a_certificates_header_are_for_proxies_too() {
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
            "client-hints",
            "x-api-key",
            "x-client-id",
            "x-client-ip",
            "x-client-version",
            "x-forwarded-for",
            "x-requested-with",
            "x-ssl",
        ] {
            assert!(!is_meant(name), "{name}");
        }
    }
}
