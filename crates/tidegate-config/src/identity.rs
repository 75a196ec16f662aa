use super::HeaderName;
use schemars::JsonSchema;
use serde::Deserialize;

/// Who a request speaks for.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// Where the user id is looked for; the first that is present wins. The value is what the
    /// client says, unverified.
    pub user_id: Vec<UserIdSource>,
}

/// A place where a user id may stand.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum UserIdSource {
    /// The name of a query parameter.
    Query(String),
    /// The name of a header field.
    Header(HeaderName),
    /// The name of a cookie.
    Cookie(String),
}
