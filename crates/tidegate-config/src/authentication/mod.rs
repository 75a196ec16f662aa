//! The sections `authentication`, `require`, `revocation` and `clients`, as written. It verifies nothing.

mod api_keys;
mod basic;
mod clients;
mod forward;
mod hash_format;
mod jwt;
mod key_file;
mod oidc;
mod password_file;
mod require;

pub use api_keys::{ApiKey, ApiKeyFile, ApiKeys};
pub use basic::Basic;
pub use clients::Clients;
pub use forward::{Forward, OnError, RequestPart};
pub use hash_format::{HashFormat, UnsupportedHash};
pub use jwt::{Jwt, JwtAlgorithm, JwtKeys};
pub use oidc::{Oidc, OidcCookie, SameSite};
pub use password_file::{PasswordLine, PasswordLineError, PasswordLineFault, password_lines};
pub use require::{ClaimCondition, ClaimMatch, Require, RequireSetting, UserSource};

use super::{Duration, HeaderName, Path, Spanned};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One way to verify who sends a request.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AuthenticationScheme {
    /// JSON Web Tokens (RFC 7519) of an issuer.
    Jwt(Box<Jwt>),
    /// API keys, listed in a file.
    ApiKeys(ApiKeys),
    /// User name and password (RFC 7617), listed in a file.
    Basic(Basic),
    /// Another service decides, as with nginx's `auth_request`.
    Forward(Box<Forward>),
    /// Another service decides, asked over gRPC by Envoy's protocol
    /// (`envoy.service.auth.v3.Authorization`). Only a gateway that is built with the feature
    /// `ext-authz` has it.
    ExtAuthz(Box<Forward>),
    /// A login with OpenID Connect, for browsers.
    Oidc(Box<Oidc>),
}

/// A place where a client may put a token or key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TokenSource {
    /// The name of a header; of `Authorization`, the part after `Bearer`.
    Header(HeaderName),
    /// A prefix of an entry of `Sec-WebSocket-Protocol`; the rest of the entry is the token.
    Subprotocol(String),
    /// The name of a cookie.
    Cookie(String),
    /// The name of a query parameter.
    Query(String),
}

/// How sessions and tokens end before they expire.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Revocation {
    /// Path at which the gateway accepts the logout tokens of issuers (OpenID Connect Back-Channel
    /// Logout 1.0), by POST, on every listener.
    pub back_channel_logout: Option<Spanned<Path>>,
    /// Time for which the gateway remembers that a login was revoked: at least as long as tokens of its issuer are
    /// valid.
    pub remember: Option<Spanned<Duration>>,
}
