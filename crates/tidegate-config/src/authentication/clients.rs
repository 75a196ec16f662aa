//! Lists of client addresses, as written.

use crate::{Cidr, Spanned};
use schemars::JsonSchema;
use serde::Deserialize;

/// Client addresses that are admitted. `trusted_proxies` decides which address is the client's.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Clients {
    /// Networks (CIDR) whose clients are admitted; without any, all are. Clients without an address,
    /// those of a Unix domain socket, are admitted only where the list is empty.
    pub allow: Vec<Spanned<Cidr>>,
    /// Networks (CIDR) whose clients are answered 403, even if `allow` contains them.
    pub deny: Vec<Spanned<Cidr>>,
}
