//! The section `error_pages`, as written. It reads no page.

use super::{ErrorStatus, Spanned};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Your own pages for errors. Clients that prefer HTML to JSON (`Accept`), such as browsers, get
/// `pages`; clients that prefer plain text get the gateway's own text; all others get `json`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ErrorPages {
    /// HTML files, by the status (`404`) or class (`4xx`, `5xx`) that they are for. The gateway
    /// replaces `{{status}}`, `{{reason}}`, `{{message}}` and `{{request.id}}` in them. Relative
    /// paths start at the folder of the configuration file. The gateway watches the files like the
    /// configuration.
    #[schemars(extend("propertyNames" = {"format": "error-status"}))]
    pub pages: BTreeMap<ErrorStatus, Spanned<String>>,
    /// JSON files that replace the gateway's own JSON: `{"code": {{status}}, "detail":
    /// "{{message}}"}`. The gateway replaces the same variables, and `{{error}}`, the name of the
    /// error; it escapes the values for use inside a string.
    #[schemars(extend("propertyNames" = {"format": "error-status"}))]
    pub json: BTreeMap<ErrorStatus, Spanned<String>>,
    /// Whether the pages also replace errors of upstreams. Of such a response the gateway keeps the
    /// headers that belong to the status (`WWW-Authenticate`, `Proxy-Authenticate`, `Allow`,
    /// `Retry-After`, `Content-Range` of a 416, `Upgrade` of a 426, `Accept-*` of a 415, `Link` of
    /// a 451, `RateLimit`), `Set-Cookie`, `Vary`, and the headers of CORS (`Access-Control-*`,
    /// `Timing-Allow-Origin`, `Cross-Origin-Resource-Policy`).
    pub intercept: bool,
}
