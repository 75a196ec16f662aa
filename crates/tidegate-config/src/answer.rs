use super::{HeaderName, Spanned, Template};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Sends the client elsewhere.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// Where to: a path, or a URL such as `https://{host}{target}`; the variables are those of
    /// `headers.request.set`. A variable behind `://` can only be `{host}` or `{authority}`, and
    /// `{query}` stands behind a `?`: nobody is to be sent where a stranger wants.
    pub to: Spanned<Template>,
    /// `301`, `308` (for good; clients keep it), `302`, `307` (for now), `303` (ask there with
    /// `GET`). With `307` and `308` the method and body stay what they are.
    #[serde(default)]
    pub status: Option<Spanned<u16>>,
}

/// A fixed answer.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Respond {
    /// The status, `200` to `599`.
    #[schemars(range(min = 200, max = 599))]
    pub status: Option<Spanned<u16>>,
    /// The body, as it is.
    pub body: Option<Spanned<String>>,
    /// The body's media type.
    pub content_type: Option<Spanned<String>>,
    /// Further header fields; variables stand in them as in `headers.response.set`.
    #[schemars(extend("propertyNames" = {"format": "header-name"}))]
    pub headers: BTreeMap<HeaderName, Spanned<Template>>,
}
