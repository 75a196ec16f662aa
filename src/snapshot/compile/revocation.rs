//! Compiles `revocation`. It knows nothing of tokens and sessions.

use super::chain::FilterChain;
use super::{Compiler, duration_or_default, refuse_shorter_duration};
use crate::filter::LogoutFilter;
use crate::identity::SchemeKind;
use std::sync::Arc;
use std::time::Duration;
use tidegate_config::defaults;

impl Compiler<'_> {
    /// Adds the endpoint where issuers log users out, if there is one. Returns for how long revocations are remembered.
    pub(super) fn revocation(&mut self, chain: &FilterChain) -> Duration {
        let written = &self.config.revocation;
        let remember = written.remember.as_ref();
        refuse_shorter_duration(
            remember,
            Duration::from_secs(1),
            self.problems,
            "revocation.remember",
        );
        if let Some(path) = &written.back_channel_logout {
            let key_path = "revocation.back_channel_logout".to_owned();
            let schemes = self.schemes.values().map(|kept| Arc::clone(&kept.scheme));
            let has_issuer = |kind| matches!(kind, SchemeKind::Jwt | SchemeKind::Oidc);
            let schemes: Vec<_> = schemes.filter(|scheme| has_issuer(scheme.kind())).collect();
            if schemes.is_empty() && !self.broken.is_any_within("authentication") {
                let reason = "needs a scheme `jwt` or `oidc`, whose issuer logs users out";
                self.problems.add(path.span, key_path, reason);
            } else {
                let filter = LogoutFilter::new(schemes, Arc::clone(&self.sessions));
                self.add_endpoint(path, key_path, Vec::new(), chain, filter);
            }
        }
        duration_or_default(remember, defaults::revocation::REMEMBER)
    }
}
