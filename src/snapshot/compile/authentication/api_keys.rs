//! Compiles a scheme of API keys. Verifies nothing.

use super::super::Compiler;
use crate::authentication::Scheme;
use std::sync::Arc;
use tidegate_config::{ApiKeys, Span};

impl Compiler<'_> {
    /// The scheme, and its settings in a serialised form.
    pub(super) fn api_keys(
        &mut self,
        _: &str,
        _: &ApiKeys,
        key_path: &str,
    ) -> Option<(Arc<dyn Scheme>, String)> {
        self.problems.add(Span::default(), key_path, "this build has no API keys yet");
        None
    }
}
