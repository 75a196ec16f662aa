//! Compiles the settings that all routes share. It knows nothing of a single route.

use super::{Compiler, duration_or_default};
use crate::snapshot::{DrainSettings, GlobalSettings, RollbackSettings};
use std::sync::Arc;
use tidegate_config::{self as config, Spanned, TrustedProxy, defaults};
use tidegate_http::via::Via;
use tidegate_http::websocket::close_code;

impl Compiler<'_> {
    pub(super) fn drain(&mut self) -> DrainSettings {
        let written = &self.config.drain;
        if let Some(code) = &written.code
            && !matches!(code.value, close_code::GOING_AWAY | close_code::SERVICE_RESTART)
        {
            let reason = "the close code of a drain must be 1012 (service restart) or 1001 \
                          (going away)";
            self.problems.add(code.span, "drain.code", reason);
        }
        DrainSettings {
            code: written.code.as_ref().map_or(defaults::drain::CODE, |code| code.value),
            spread: duration_or_default(written.spread.as_ref(), defaults::drain::SPREAD),
        }
    }

    pub(super) fn global(&mut self) -> GlobalSettings {
        let trusted = self.config.trusted_proxies.iter();
        let network = |trusted: &Spanned<TrustedProxy>| match &trusted.value {
            TrustedProxy::Network(network) => Some(network.0),
            TrustedProxy::Unix => None,
        };
        GlobalSettings {
            trusted_proxies: trusted.filter_map(network).collect(),
            trusts_unix: self
                .config
                .trusted_proxies
                .iter()
                .any(|it| it.value == TrustedProxy::Unix),
            limits: self.limits(),
            managed_headers: self.managed_headers(),
            via: self.via(),
            error_pages: self.error_pages(),
            sends_proxy_status: self.config.proxy_status.unwrap_or(defaults::file::PROXY_STATUS).0,
            shared: self.shared.clone(),
            access_log: self.access_log().map(Arc::new),
            tracing: self.tracing().map(Arc::new),
        }
    }

    /// A gateway keeps its name when it reloads: requests may be in flight.
    fn via(&self) -> Arc<Via> {
        let previous = self.env.previous;
        previous.map_or_else(|| Arc::new(Via::unique()), |it| Arc::clone(&it.global.via))
    }
}

pub(super) fn rollback_settings(written: &config::Guard) -> RollbackSettings {
    let errors = written.max_5xx_increase.unwrap_or(defaults::guard::MAX_5XX_INCREASE);
    let handshakes =
        written.max_handshake_failures.unwrap_or(defaults::guard::MAX_HANDSHAKE_FAILURES);
    RollbackSettings {
        window: written.window.unwrap_or(defaults::guard::WINDOW).0,
        errors: f64::from(errors) / 100.0,
        handshakes: handshakes.into(),
    }
}
