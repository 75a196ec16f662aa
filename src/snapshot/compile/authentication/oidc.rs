//! Compiles a scheme of OpenID Connect. Verifies nothing.

use super::super::Compiler;
use crate::authentication::Scheme;
use std::sync::Arc;
use tidegate_config::{Oidc, Span};

impl Compiler<'_> {
    /// The scheme, and its settings in a serialised form.
    pub(super) fn oidc(
        &mut self,
        _: &str,
        _: &Oidc,
        key_path: &str,
    ) -> Option<(Arc<dyn Scheme>, String)> {
        self.problems.add(Span::default(), key_path, "this build has no OpenID Connect yet");
        None
    }
}
