use super::{HeaderName, Spanned, Template};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Header fields that are changed on the way.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Headers {
    /// What the upstream sees otherwise than the client sent it; done last, behind all that the
    /// gateway itself tells it.
    pub request: FieldChanges,
    /// What the client sees otherwise than the upstream sent it. The gateway's own answers are
    /// changed as well.
    pub response: FieldChanges,
}

/// What is done to the fields of a message: first `remove`, then `set`, then `add`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FieldChanges {
    /// Fields that get this one value, whatever there was; a value that comes out empty removes
    /// the field. In a value `{client.address}`, `{request.id}`, `{user.id}` (what the client
    /// says, unverified), `{route}`, `{method}`, `{scheme}`, `{host}`, `{authority}` (host with
    /// port), `{path}`, `{query}` and `{target}` (path with query) stand for what the request
    /// says; `{{` is a brace. A value that begins with `{` needs quotes.
    #[schemars(extend("propertyNames" = {"format": "header-name"}))]
    pub set: BTreeMap<HeaderName, Spanned<Template>>,
    /// Fields that get a further value, beside those that are there; in it variables stand as in
    /// `set`.
    #[schemars(extend("propertyNames" = {"format": "header-name"}))]
    pub add: BTreeMap<HeaderName, Spanned<Template>>,
    /// Fields that are removed.
    pub remove: Vec<Spanned<HeaderName>>,
}
