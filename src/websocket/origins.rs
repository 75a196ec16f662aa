//! The origins whose pages may open WebSockets. Knows nothing of routes and of CORS responses.

use http::HeaderValue;
use std::sync::Arc;
use tidegate_http::origin::{Origin, OriginPattern};
use tidegate_http::stable_hash::{StableHash, StableHasher};

/// The origins whose pages may open WebSockets. A browser sends the cookies of a site with a handshake from
/// any other site, and lets that page read the frames; only the server can refuse (RFC 6455, section 10.2).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) enum Origins {
    /// The gateway's own origin.
    #[default]
    Same,
    /// All.
    Any,
    /// These, and the gateway's own origin.
    Listed(Arc<[OriginPattern]>),
    /// Those that the route's CORS policy lists, and the gateway's own origin.
    OfCors(Arc<[OriginPattern]>),
}

impl StableHash for Origins {
    fn feed(&self, hasher: &mut StableHasher) {
        match self {
            Self::Same => hasher.number(0),
            Self::Any => hasher.number(1),
            Self::Listed(patterns) => (2_u8, patterns).feed(hasher),
            Self::OfCors(patterns) => (3_u8, patterns).feed(hasher),
        }
    }
}

impl Origins {
    /// Whether pages of this origin may open WebSockets at `authority` over `scheme`.
    pub(crate) fn allow(&self, origin: &HeaderValue, authority: &str, scheme: &str) -> bool {
        let patterns = match self {
            Self::Any => return true,
            Self::Same => &[][..],
            Self::Listed(patterns) | Self::OfCors(patterns) => patterns,
        };
        if patterns.contains(&OriginPattern::Any) {
            return true;
        }
        let Some(origin) = origin.to_str().ok().and_then(Origin::parse) else { return false };
        origin.is_own(authority, scheme) || patterns.iter().any(|pattern| pattern.matches(&origin))
    }

    /// The key of the configuration that decides this.
    pub(crate) fn key(&self) -> &'static str {
        match self {
            Self::OfCors(_) => "cors.allow_origins",
            Self::Same | Self::Any | Self::Listed(_) => "websocket.origins",
        }
    }
}
