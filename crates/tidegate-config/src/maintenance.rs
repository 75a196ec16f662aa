//! The section `maintenance`, as written. It answers nothing.

use super::union::short_or_long;
use super::{Cidr, Duration, Spanned, Switch};
use schemars::JsonSchema;
use serde::Deserialize;

/// `on`, `off`, or how maintenance is announced.
#[derive(Debug, Clone)]
pub enum MaintenanceSetting {
    /// `on` refuses all with the defaults; `off` refuses nothing.
    Switch(Switch),
    /// How it is announced; as long as it stands here it is on, unless `enabled` says no.
    Settings(Maintenance),
}

/// Answers requests with 503, except those of clients in `allow`. Open WebSockets stay open.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Maintenance {
    /// Whether maintenance is on.
    pub enabled: Option<bool>,
    /// Time after which clients may try again (`Retry-After`, in whole seconds).
    pub retry_after: Option<Duration>,
    /// Networks (CIDR) whose clients are served all the same.
    pub allow: Vec<Cidr>,
    /// Message for users.
    pub message: Option<Spanned<String>>,
}

short_or_long!(MaintenanceSetting: Switch(Switch) | Settings(Maintenance));
