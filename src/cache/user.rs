//! Whether a request names a user, so that `default_ttl` never shares its response with another.

use crate::exchange::Exchange;
use http::header::{HeaderMap, HeaderName};

/// Words in the names of headers in which a proxy that authenticates passes the user to a service.
/// Headers that carry a secret name a user too: their list is in `http::secret`.
const USER_WORDS: [&str; 28] = [
    "user",
    "users",
    "userid",
    "username",
    "userinfo",
    "uid",
    "login",
    "email",
    "mail",
    "upn",
    "group",
    "groups",
    "role",
    "roles",
    "principal",
    "identity",
    "claim",
    "claims",
    "oidc",
    "saml",
    "subject",
    "sub",
    "account",
    "consumer",
    "customer",
    "tenant",
    "member",
    "dn",
];

/// Headers with such a word that browsers send for everybody.
const NO_USERS: [&str; 2] = ["user-agent", "sec-fetch-user"];

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
    if NO_USERS.contains(&name) {
        return false;
    }
    // Services behind CGI can't tell `_` from `-`.
    let words = || name.split(['-', '_']);
    let has_pair = |first: &str, second: &[&str]| {
        words().zip(words().skip(1)).any(|(one, next)| one == first && second.contains(&next))
    };
    words().any(|word| USER_WORDS.contains(&word))
        || has_pair("client", &["cert"])
        || has_pair("ssl", &["client"])
        || has_pair("remote", &["name"])
        || crate::http::secret::is_secret_field(name)
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
            "x-goog-iap-jwt-assertion",
            "x-goog-authenticated-user-id",
            "cf-access-jwt-assertion",
            "x-amzn-oidc-identity",
            "x-amzn-oidc-data",
            "x-ms-client-principal",
            "x-ms-client-principal-id",
            "x-ms-client-principal-name",
            "tailscale-user-login",
            "tailscale-user-name",
            "x-authentik-uid",
            "x-pomerium-jwt-assertion",
            "x-consumer-id",
            "x-userinfo",
            "remote-name",
            "x-forwarded-roles",
            "x-account-id",
            "dpop",
            "x-client-dn",
            "x-user_id",
            "remote_user",
            "oidc_claim_sub",
            "x_ssl_client_cert",
        ] {
            assert!(is_of_user(name), "{name}");
        }
        for name in [
            "user-agent",
            "sec-fetch-user",
            "accept",
            "x-request-id",
            "x-superuserid",
            "cookie",
            "accept-encoding",
        ] {
            assert!(!is_of_user(name), "{name}");
        }
    }
}
