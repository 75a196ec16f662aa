//! Compiles a scheme of JSON Web Tokens. Verifies nothing.

use super::super::Compiler;
use crate::authentication::Scheme;
use std::sync::Arc;
use tidegate_config::{Jwt, Span};

impl Compiler<'_> {
    /// The scheme, and its settings in a serialised form.
    pub(super) fn jwt(
        &mut self,
        _: &str,
        _: &Jwt,
        key_path: &str,
    ) -> Option<(Arc<dyn Scheme>, String)> {
        self.problems.add(Span::default(), key_path, "this build has no JSON Web Tokens yet");
        None
    }
}
