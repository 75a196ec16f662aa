use super::{ErrorStatus, Spanned};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Pages of one's own for errors. Clients that like HTML better than JSON (`Accept`) get `pages`,
/// as browsers do; those that like plain text better get that as ever; all others get `json`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ErrorPages {
    /// Files of HTML, by the status (`404`) or class (`4xx`, `5xx`) that they are for. In them
    /// `{{status}}`, `{{reason}}`, `{{message}}` and `{{request.id}}` are filled in. Relative
    /// paths start at the folder of the configuration file. The files are followed as the
    /// configuration is.
    #[schemars(extend("propertyNames" = {"format": "error-status"}))]
    pub pages: BTreeMap<ErrorStatus, Spanned<String>>,
    /// Files of JSON, in the place of the gateway's own: `{"code": {{status}}, "detail":
    /// "{{message}}"}`. The same is filled in, and `{{error}}`, the error's name; what is filled in
    /// is escaped for the inside of a string.
    #[schemars(extend("propertyNames" = {"format": "error-status"}))]
    pub json: BTreeMap<ErrorStatus, Spanned<String>>,
    /// Whether they also take the place of errors that upstreams answer. Of those, the headers that
    /// belong to the status are kept (`WWW-Authenticate`, `Proxy-Authenticate`, `Allow`,
    /// `Retry-After`, `Content-Range` of a 416, `Upgrade` of a 426, `Accept-*` of a 415, `Link` of
    /// a 451, `RateLimit`), `Set-Cookie`, `Vary`, and the headers of CORS (`Access-Control-*`,
    /// `Timing-Allow-Origin`, `Cross-Origin-Resource-Policy`).
    pub intercept: bool,
}
