//! Compiles a scheme of forward authentication. Verifies nothing.

use super::super::Compiler;
use crate::authentication::Scheme;
use std::sync::Arc;
use tidegate_config::{Forward, Span};

impl Compiler<'_> {
    /// The scheme, and its settings in a serialised form.
    pub(super) fn forward(
        &mut self,
        _: &str,
        _: &Forward,
        key_path: &str,
    ) -> Option<(Arc<dyn Scheme>, String)> {
        self.problems.add(
            Span::default(),
            key_path,
            "this build has no forward authentication yet",
        );
        None
    }
}
