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

/// Requests are answered 503, but for those who look after the service. WebSockets that are open
/// stay so.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Maintenance {
    /// Whether it is on.
    pub enabled: Option<bool>,
    /// When clients may come back (`Retry-After`, in whole seconds).
    pub retry_after: Option<Duration>,
    /// Networks (CIDR) whose clients are let through all the same.
    pub allow: Vec<Cidr>,
    /// What is told to people.
    pub message: Option<Spanned<String>>,
}

short_or_long!(MaintenanceSetting: Switch(Switch) | Settings(Maintenance));
