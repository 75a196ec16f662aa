use crate::exchange::Exchange;
use http::header::{HeaderMap, HeaderName};

/// Ends of the names of headers by which proxies that authenticate tell a service whose request it
/// is.
const NAMING_USERS: [&str; 6] = ["user", "user-id", "username", "userid", "email", "groups"];

/// Whether a request names its user otherwise than by `Cookie` and `Authorization`: by a certificate,
/// by one of `identity_headers`, or by a header that carries a secret. What `key_headers` tell apart
/// names nobody.
pub fn names_user(
    headers: &HeaderMap,
    exchange: &Exchange,
    identity_headers: &[HeaderName],
    key_headers: &[HeaderName],
) -> bool {
    let has_certificate = exchange.tls().is_some_and(|tls| tls.client.is_some());
    has_certificate
        || headers.keys().any(|name| {
            !key_headers.contains(name)
                && (identity_headers.contains(name) || is_of_user(name.as_str()))
        })
}

fn is_of_user(name: &str) -> bool {
    // `Cookie` and `Authorization` have reasons of their own.
    if matches!(name, "cookie" | "authorization") {
        return false;
    }
    let is_certificate = name.contains("client-cert") || name.contains("ssl-client");
    let ends_in_user = |end: &&str| {
        name.strip_suffix(*end).is_some_and(|before| before.is_empty() || before.ends_with('-'))
    };
    is_certificate || NAMING_USERS.iter().any(ends_in_user) || crate::http::secret::is_secret(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_name_a_user_are_known() {
        for name in [
            "x-user-id",
            "x-forwarded-user",
            "remote-user",
            "x-auth-request-email",
            "x-api-key",
            "proxy-authorization",
            "x-forwarded-client-cert",
            "client-cert",
            "x-auth-token",
            "x-remote-groups",
            "x-ssl-client-dn",
        ] {
            assert!(is_of_user(name), "{name}");
        }
        for name in
            ["user-agent", "accept", "x-request-id", "x-superuserid", "cookie", "accept-encoding"]
        {
            assert!(!is_of_user(name), "{name}");
        }
    }
}
