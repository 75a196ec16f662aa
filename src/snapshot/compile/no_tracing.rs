//! Refuses `tracing` in a build without the feature `opentelemetry`.
//! It knows nothing of what the setting says.

use super::Compiler;
use crate::traces::Tracing;
use tidegate_config::{Switch, TracingSetting};

impl Compiler<'_> {
    /// No tracing, and a problem where it is wanted.
    pub(super) fn tracing(&mut self) -> Option<Tracing> {
        let written = &self.config.tracing;
        if !matches!(written.value, TracingSetting::Switch(Switch(false))) {
            let reason = "this binary was built without tracing; build it with `--features \
                          opentelemetry`";
            self.problems.add(written.span, "tracing", reason);
        }
        None
    }
}
