//! API keys, as written: the scheme, and the file that lists the keys.

use super::TokenSource;
use crate::{Spanned, Switch};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// API keys, listed in a file by their hashes.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeys {
    /// YAML file with the list `keys`. Edits of it take effect like those of this file.
    pub file: Spanned<String>,
    /// Where clients may put the key; the first that is present wins.
    #[serde(default)]
    pub from: Vec<Spanned<TokenSource>>,
    /// Whether the upstream receives the key. Otherwise the gateway removes it from the request.
    #[serde(default)]
    pub forward: Option<Switch>,
}

/// A file of API keys.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyFile {
    /// The keys.
    pub keys: Vec<Spanned<ApiKey>>,
}

/// An API key.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Name of the key, unique in the file; the claim `sub`.
    pub name: Spanned<String>,
    /// Hash of the key: `sha256:` and 64 hexadecimal digits, for keys that are random and long; or a
    /// hash by Argon2 or bcrypt, as `htpasswd -B` writes it.
    pub hash: Spanned<String>,
    /// Scopes; the claim `scope` has them, separated by spaces.
    #[serde(default)]
    pub scopes: Vec<Spanned<String>>,
    /// Time from which the key is refused, in RFC 3339: `2027-01-01T00:00:00Z`.
    #[serde(default)]
    pub expires: Option<Spanned<String>>,
}

/// Without the hash.
impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("name", &self.name.value).finish_non_exhaustive()
    }
}
