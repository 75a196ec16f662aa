//! Compiles a scheme of basic authentication. Verifies nothing.

use super::super::Compiler;
use crate::authentication::Scheme;
use std::sync::Arc;
use tidegate_config::{Basic, Span};

impl Compiler<'_> {
    /// The scheme, and its settings in a serialised form.
    pub(super) fn basic(
        &mut self,
        _: &str,
        _: &Basic,
        key_path: &str,
    ) -> Option<(Arc<dyn Scheme>, String)> {
        self.problems.add(Span::default(), key_path, "this build has no basic authentication yet");
        None
    }
}
