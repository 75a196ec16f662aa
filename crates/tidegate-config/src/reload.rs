use super::values::Duration;
use schemars::JsonSchema;
use serde::Deserialize;

/// How edits of the configuration take effect.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Reload {
    /// Watches each edit for a while after it took effect, and goes back to the version before when
    /// that was better.
    pub guard: Option<Guard>,
}

/// When the gateway goes back to the version before. The file stays as it is: it takes effect
/// again with its next edit, a SIGHUP or a restart.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Guard {
    /// How long an edit is watched, and how much of the time before it is compared with.
    pub window: Option<Duration>,
    /// By how many percentage points the share of requests that are answered 500 or above may grow.
    /// It is judged once twenty requests have ended.
    #[schemars(range(min = 0, max = 100))]
    pub max_5xx_increase: Option<u8>,
    /// How many more WebSocket handshakes than in as long before may fail at the gateway or behind
    /// it (5xx), or on a route whose WebSockets the edit switched off.
    pub max_handshake_failures: Option<u32>,
}
