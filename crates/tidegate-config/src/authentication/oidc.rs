//! A login with OpenID Connect, as written. It sends nothing.

use crate::{Duration, Path, Spanned};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A login with OpenID Connect (authorization code with PKCE), for browsers. The gateway keeps the
/// login in an encrypted cookie.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    /// The issuer; its endpoints and keys are found through `.well-known/openid-configuration` below
    /// this URL.
    pub issuer: Spanned<String>,
    /// The gateway's client id at the issuer.
    pub client_id: Spanned<String>,
    /// The gateway's client secret; use a variable.
    #[serde(default)]
    pub client_secret: Option<Spanned<String>>,
    /// Scopes to request; `openid` is always among them.
    #[serde(default)]
    pub scopes: Vec<Spanned<String>>,
    /// The cookie that keeps the login.
    pub cookie: OidcCookie,
    /// Path to which the issuer sends browsers back; register it at the issuer.
    #[serde(default)]
    pub callback: Option<Spanned<Path>>,
    /// Path at which browsers log out, by POST or GET from a page of the same origin. The gateway forgets
    /// the login, and sends the browser on to the issuer to end the session there, if the issuer offers it.
    #[serde(default)]
    pub logout: Option<Spanned<Path>>,
    /// Path to which browsers return after the logout; register it at the issuer as
    /// `post_logout_redirect_uri`.
    #[serde(default)]
    pub after_logout: Option<Spanned<Path>>,
    /// PEM file of the authorities that may sign the issuer's certificate.
    #[serde(default)]
    pub ca: Option<Spanned<String>>,
}

/// The cookie that keeps a login.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OidcCookie {
    /// Its name, of letters, digits, `-` and `_`. With the prefix `__Host-`, which needs https, browsers
    /// accept it from this very host alone.
    #[serde(default)]
    pub name: Option<Spanned<String>>,
    /// Maximum age of a login; browsers then log in again.
    #[serde(default)]
    pub ttl: Option<Spanned<Duration>>,
    /// Keys that encrypt it, at least 32 characters each; use variables. The first encrypts, all
    /// decrypt: to rotate, put a new key first. Gateways with the same keys share logins.
    #[schemars(length(min = 1))]
    pub keys: Vec<Spanned<String>>,
    /// `SameSite`: `lax` or `strict`.
    #[serde(default)]
    pub same_site: SameSite,
}

/// Whether other sites' links send the cookie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SameSite {
    /// They do for navigation.
    #[default]
    Lax,
    /// They do not.
    Strict,
}
