//! The section `reload`, as written. It reloads nothing.

use super::values::Duration;
use schemars::JsonSchema;
use serde::Deserialize;

/// How edits of the configuration take effect.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Reload {
    /// Watches each edit for a while after it took effect, and rolls it back if errors increased.
    pub guard: Option<Guard>,
}

/// When the gateway rolls back to the version before. The file stays as it is: it takes effect
/// again with its next edit, a SIGHUP or a restart.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Guard {
    /// Time for which an edit is watched; the same time before it is the baseline.
    pub window: Option<Duration>,
    /// Allowed increase of the share of requests that are answered 500 or above, in percentage
    /// points. The gateway judges it once twenty requests have ended.
    #[schemars(range(min = 0, max = 100))]
    pub max_5xx_increase: Option<u8>,
    /// Allowed number of additional failed WebSocket handshakes, compared with the same time
    /// before: those that fail at the gateway or behind it (5xx), or on a route whose WebSockets
    /// the edit switched off.
    pub max_handshake_failures: Option<u32>,
}
