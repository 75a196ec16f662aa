//! What an issuer sends: its discovery document, and the answers of its token endpoint. Sends nothing, and knows nothing of
//! what becomes of it.

use crate::http_client::is_safe_url;
use http::Uri;
use serde::Deserialize;
use serde_json::Value;

/// The issuer's endpoints (OpenID Connect Discovery 1.0, section 3).
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ProviderMetadata {
    issuer: String,
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    pub(super) jwks_uri: String,
    #[serde(default)]
    pub(super) end_session_endpoint: Option<String>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// Whether each return from the issuer names it (RFC 9207).
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
}

impl ProviderMetadata {
    /// Reads the document of this issuer.
    pub(super) fn parse(document: &[u8], issuer: &str) -> Result<Self, String> {
        let metadata: Self = serde_json::from_slice(document)
            .map_err(|error| format!("not a valid discovery document: {error}"))?;
        if metadata.issuer != issuer {
            return Err(format!(
                "the document is of another issuer, `{}`; write `issuer` exactly so",
                metadata.issuer
            ));
        }
        let end_session = metadata.end_session_endpoint.as_deref();
        for url in [&*metadata.authorization_endpoint, &metadata.token_endpoint, &metadata.jwks_uri]
            .into_iter()
            .chain(end_session)
        {
            if !url.parse::<Uri>().is_ok_and(|url| is_safe_url(&url)) {
                return Err(format!("the endpoint `{url}` is not `https`"));
            }
        }
        Ok(metadata)
    }

    /// Whether the secret is sent as a password: the default of RFC 8414, section 2.
    pub(super) fn takes_basic(&self) -> bool {
        self.token_endpoint_auth_methods_supported
            .as_ref()
            .is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"))
    }
}

/// What the token endpoint answers (RFC 6749, section 5.1; OpenID Connect Core 1.0, section 3.1.3.3).
#[derive(Deserialize)]
pub(super) struct TokenResponse {
    #[serde(default)]
    pub(super) id_token: Option<String>,
    #[serde(default)]
    pub(super) refresh_token: Option<String>,
    #[serde(default)]
    expires_in: Option<Value>,
}

impl TokenResponse {
    /// `expires_in` in seconds, a number that some issuers write as text.
    pub(super) fn lifetime(&self) -> Option<u64> {
        let value = self.expires_in.as_ref()?;
        value.as_u64().or_else(|| value.as_str()?.parse().ok())
    }
}

/// Whether a text of the issuer is a plain word that may be shown.
pub(super) fn is_error_code(code: &str) -> bool {
    (1..=64).contains(&code.len())
        && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn document_of_another_issuer_or_with_an_unsafe_endpoint_is_refused() {
        let document = |name: &str, value: Value| {
            let mut document = json!({
                "issuer": "https://a.test",
                "authorization_endpoint": "https://a.test/authorize",
                "token_endpoint": "https://a.test/token",
                "jwks_uri": "https://a.test/keys",
                "end_session_endpoint": "http://localhost/end",
            });
            document[name] = value;
            ProviderMetadata::parse(document.to_string().as_bytes(), "https://a.test")
        };
        let parsed = document("x", json!(1)).expect("valid");
        assert!(parsed.takes_basic());
        let only_post =
            document("token_endpoint_auth_methods_supported", json!(["client_secret_post"]));
        assert!(!only_post.expect("valid").takes_basic());
        for (name, value) in [
            ("issuer", json!("https://a.test/")),
            ("issuer", json!("https://b.test")),
            ("token_endpoint", json!("http://a.test/token")),
            ("token_endpoint", json!(null)),
            ("authorization_endpoint", json!("javascript:alert(1)")),
            ("jwks_uri", json!("/keys")),
            ("end_session_endpoint", json!("http://a.test/end")),
        ] {
            assert!(document(name, value.clone()).is_err(), "{name} {value}");
        }
    }

    #[test]
    fn lifetime_is_a_number_or_its_text() {
        let lifetime = |value: Value| {
            let response = json!({"expires_in": value}).to_string();
            serde_json::from_str::<TokenResponse>(&response).expect("a response").lifetime()
        };
        assert_eq!(lifetime(json!(60)), Some(60));
        assert_eq!(lifetime(json!("60")), Some(60));
        assert_eq!(
            (lifetime(json!(-1)), lifetime(json!("soon")), lifetime(json!([]))),
            (None, None, None)
        );
    }
}
