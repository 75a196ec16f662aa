//! The section `headers`, as written. It knows nothing of requests.

use super::{HeaderName, Spanned, Template};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Changes of headers.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Headers {
    /// Changes of the request that the upstream gets. They come last, after all headers that the
    /// gateway itself sets.
    pub request: FieldChanges,
    /// Changes of the response that the client gets, including the gateway's own answers.
    pub response: FieldChanges,
}

/// Changes of the headers of a message: first `remove`, then `set`, then `add`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FieldChanges {
    /// Sets a header to this one value and replaces existing values; an empty value removes the
    /// header. A value may contain `{client.address}`, `{request.id}`, `{user.id}` (verified
    /// only where it is a claim), `{claim.NAME}` (a claim of the verified identity), `{route}`, `{method}`, `{scheme}`, `{host}`, `{authority}` (host with
    /// port), `{path}`, `{query}` and `{target}` (path with query) of the request; `{{` is a brace.
    /// A value that begins with `{` needs quotes.
    #[schemars(extend("propertyNames" = {"format": "header-name"}))]
    pub set: BTreeMap<HeaderName, Spanned<Template>>,
    /// Adds a value to a header and keeps existing values; variables work as in `set`.
    #[schemars(extend("propertyNames" = {"format": "header-name"}))]
    pub add: BTreeMap<HeaderName, Spanned<Template>>,
    /// Headers to remove.
    pub remove: Vec<Spanned<HeaderName>>,
}
