//! Basic authentication, as written.

use crate::{Spanned, Switch};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// User name and password (RFC 7617), listed in a file.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    /// File with one `name:hash` per line, as `htpasswd -B` writes it. Hashes by bcrypt and Argon2 are
    /// accepted. Edits of it take effect like those of this file.
    pub file: Spanned<String>,
    /// The realm that browsers show (RFC 9110, section 11.5).
    #[serde(default)]
    pub realm: Option<Spanned<String>>,
    /// Whether the upstream receives the password. Otherwise the gateway removes it from the request.
    #[serde(default)]
    pub forward: Option<Switch>,
}
