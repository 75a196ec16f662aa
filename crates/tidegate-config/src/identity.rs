//! The section `identity`, as written. It verifies nothing.

use super::HeaderName;
use schemars::JsonSchema;
use serde::Deserialize;

/// The user of a request.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// Where the gateway looks for the user id; the first that is present wins. A claim is verified;
    /// any other value is only what the client says, and is marked as unverified in the log. Where an
    /// identity is verified (`require`), only claims count, if the list has any.
    pub user_id: Vec<UserIdSource>,
}

/// A place where the gateway looks for the user id.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum UserIdSource {
    /// The name of a claim of the verified identity, on routes with `require`.
    Claim(String),
    /// The name of a query parameter.
    Query(String),
    /// The name of a header.
    Header(HeaderName),
    /// The name of a cookie.
    Cookie(String),
}
