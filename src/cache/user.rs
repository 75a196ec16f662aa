//! Whether a request identifies a user by its headers or certificate, so that `default_ttl` never shares a response
//! between users. Knows nothing of stored responses.

use crate::exchange::Exchange;
use http::header::{self, HeaderMap, HeaderName};
use tidegate_http::header_name::{SEC_FETCH_USER, X_USER_AGENT};

/// Words in the names of headers by which an authenticating proxy tells a service the user or the tenant. Headers that carry a secret name a user too: their list is in `http::secret`; and so do those
/// that tell about a certificate, whose list is in `http::proxy_headers`.
const USER_WORDS: [&str; 36] = [
    "uid",
    "mail",
    "upn",
    "group",
    "groups",
    "role",
    "roles",
    "claim",
    "claims",
    "oidc",
    "saml",
    "sub",
    "dn",
    "wsse",
    "org",
    "orgid",
    "organization",
    "organisation",
    "workspace",
    "workspaceid",
    "realm",
    "company",
    "companyid",
    "team",
    "teamid",
    "project",
    "projectid",
    "namespace",
    "member",
    "actor",
    "behalf",
    "employee",
    "impersonate",
    "person",
    "profile",
    "spiffe",
];

/// Words for a user that may be part of a longer word, because many names run words together: `X-RemoteUser`,
/// `X-TenantId`, `X-LoginName`, `X-Arr-ClientCert`.
const USER_STEMS: [&str; 13] = [
    "user",
    "login",
    "email",
    "tenant",
    "account",
    "principal",
    "identity",
    "customer",
    "consumer",
    "memberid",
    "subject",
    "credential",
    "cert",
];

/// Headers with such a word that do not name a user.
static NOT_USER_HEADERS: [HeaderName; 3] = [header::USER_AGENT, SEC_FETCH_USER, X_USER_AGENT];

/// Whether a request names its user otherwise than by `Cookie` and `Authorization`: by a certificate,
/// by one of `identity_headers`, or by a header that carries a secret. What `key_headers` tell apart
/// names nobody.
pub(crate) fn names_user(
    headers: &HeaderMap,
    exchange: &Exchange,
    identity_headers: &[HeaderName],
    key_headers: &[HeaderName],
) -> bool {
    let has_certificate = exchange.tls().is_some_and(|tls| tls.client.is_some());
    has_certificate
        || headers.keys().any(|name| {
            !key_headers.contains(name) && (identity_headers.contains(name) || is_user_header(name))
        })
}

fn is_user_header(name: &HeaderName) -> bool {
    // `Cookie` and `Authorization` have reasons of their own.
    if *name == header::COOKIE || *name == header::AUTHORIZATION || NOT_USER_HEADERS.contains(name)
    {
        return false;
    }
    let name = name.as_str();
    // Services behind CGI can't tell `_` from `-`.
    let words = || name.split(['-', '_']);
    let has_pair = |first: &str, second: &str| {
        words().zip(words().skip(1)).any(|(one, next)| one == first && next == second)
    };
    words().any(|word| USER_WORDS.contains(&word))
        || USER_STEMS.iter().any(|stem| name.contains(stem))
        || has_pair("ssl", "client")
        || has_pair("tls", "client")
        || has_pair("remote", "name")
        || tidegate_http::proxy_headers::is_about_certificate(name)
        || tidegate_http::secret::is_secret_field(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_identify_a_user_are_recognised() {
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
            "x-amzn-mtls-clientcert-leaf",
            "x-arr-clientcert",
            "x-tls-client-serial",
            "x-ssl-client-verify",
            "x-scope-orgid",
            "x-grafana-org-id",
            "x-credential-identifier",
            "x-wsse",
            "x-remoteuser",
            "x-authuser",
            "x-loginname",
            "x-tenantid",
            "x-superuserid",
            "x-ssl-issuer",
            "x-client-verify",
            "x-spiffe-id",
            "x-on-behalf-of",
            "x-impersonate",
            "x-employee-id",
        ] {
            assert!(is_user_header(&HeaderName::from_static(name)), "{name}");
        }
        for name in [
            "user-agent",
            "sec-fetch-user",
            "accept",
            "x-request-id",
            "cookie",
            "accept-encoding",
            "accept-language",
            "upgrade-insecure-requests",
            "sec-ch-ua-platform",
            "x-forwarded-proto",
            "x-amzn-trace-id",
            "traceparent",
            "save-data",
            "priority",
        ] {
            assert!(!is_user_header(&HeaderName::from_static(name)), "{name}");
        }
    }
}
