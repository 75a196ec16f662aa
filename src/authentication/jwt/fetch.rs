//! Fetches the keys of an issuer: from a URL, or from the one that its discovery document names. Keeps nothing.

use crate::http_client::{HttpClient, is_safe_url};
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use serde_json::Value;
use std::fmt;
use std::time::Duration;
use tidegate_http::strict_json;

/// Maximum time of one request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum size of a response in bytes.
const MAX_KEY_SET_BYTES: usize = 256 * 1024;

/// What follows the issuer's URL (OpenID Connect Discovery 1.0, section 4).
const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";

/// Where the keys of an issuer are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyLocation {
    /// At this URL.
    Url(Uri),
    /// Where the discovery document of the issuer says.
    Issuer {
        /// The issuer, which the document must name as well.
        issuer: String,
        /// The URL of the document.
        document: Uri,
    },
}

impl fmt::Display for KeyLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => write!(f, "{url}"),
            Self::Issuer { document, .. } => write!(f, "{document}"),
        }
    }
}

impl KeyLocation {
    /// The location for an issuer without further settings; `None` if it is no URL.
    pub(crate) fn of_issuer(issuer: &str) -> Option<Self> {
        let document = format!("{}{DISCOVERY_PATH}", issuer.strip_suffix('/').unwrap_or(issuer));
        Some(Self::Issuer { issuer: issuer.to_owned(), document: document.parse().ok()? })
    }
}

/// The key set, as text.
///
/// # Errors
/// With a sentence for the log.
pub(crate) async fn keys_at(location: &KeyLocation, client: &HttpClient) -> Result<Bytes, String> {
    let (issuer, document) = match location {
        KeyLocation::Url(url) => return get(url, client).await,
        KeyLocation::Issuer { issuer, document } => (issuer, document),
    };
    let text = get(document, client).await?;
    let members = strict_json::object(&text)
        .map_err(|_| "it is not a JSON object without duplicate members")?;
    // Otherwise one issuer could make another one's tokens (OpenID Connect Discovery 1.0, section 4.3).
    if members.get("issuer").and_then(Value::as_str) != Some(issuer) {
        return Err(format!("it does not name `{issuer}` as its `issuer`"));
    }
    let url = members.get("jwks_uri").and_then(Value::as_str);
    let url = url.and_then(|url| url.parse().ok()).filter(is_safe_url);
    let url = url.ok_or("its `jwks_uri` is not a URL with https")?;
    get(&url, client).await.map_err(|reason| format!("{url}: {reason}"))
}

async fn get(url: &Uri, client: &HttpClient) -> Result<Bytes, String> {
    let request = Request::get(url)
        .header(header::ACCEPT, "application/json")
        .body(Bytes::new())
        .map_err(|error| error.to_string())?;
    let response =
        client.send(request, TIMEOUT, MAX_KEY_SET_BYTES).await.map_err(|it| it.to_string())?;
    match response.status() {
        StatusCode::OK => Ok(response.into_body()),
        status => Err(format!("the answer is {}", status.as_u16())),
    }
}
