//! The sections `respond` and `redirect`, as written. It answers nothing.

use super::{HeaderName, Spanned, Template};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Redirects the client.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// Target: a path, or a URL such as `https://{host}{target}`; the variables are those of
    /// `headers.request.set`. Directly after `://` only `{host}` and `{authority}` are allowed, and
    /// `{query}` only after a `?`, so that a client can't choose where others are redirected.
    pub to: Spanned<Template>,
    /// `301` and `308` are permanent (clients cache them), `302` and `307` are temporary, `303`
    /// makes the client use `GET`. With `307` and `308` the method and body stay the same.
    #[serde(default)]
    pub status: Option<Spanned<u16>>,
}

/// A fixed response.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Respond {
    /// Status, `200` to `599`.
    #[schemars(range(min = 200, max = 599))]
    pub status: Option<Spanned<u16>>,
    /// Body, sent as written.
    pub body: Option<Spanned<String>>,
    /// Media type of the body.
    pub content_type: Option<Spanned<String>>,
    /// Additional headers; they may contain variables, as in `headers.response.set`.
    #[schemars(extend("propertyNames" = {"format": "header-name"}))]
    pub headers: BTreeMap<HeaderName, Spanned<Template>>,
}
