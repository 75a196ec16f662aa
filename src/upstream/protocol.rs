//! How to speak to an upstream: HTTP version and TLS. Opens no connection.

use crate::tls::UpstreamTls;
use pingora::protocols::ALPN;
use std::sync::Arc;
use tidegate_http::stable_hash::{StableHash, StableHasher};

/// How the endpoints are spoken to.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamProtocol {
    /// TLS, unless it is off.
    pub tls: Option<Arc<UpstreamTls>>,
    /// HTTP/1.1, HTTP/2, or what the handshake settles.
    pub alpn: ALPN,
    /// Bytes of one response over HTTP/2 that an endpoint may send before they are passed on.
    pub http2_window: u32,
}

/// The window unless the configuration sets one. With what Pingora has read, a client that reads slowly makes
/// the gateway hold less than 256 KiB of a response.
pub(crate) const HTTP2_WINDOW: u32 = tidegate_config::defaults::upstream_http2::WINDOW.0 as u32;

/// The least window: one frame of DATA.
pub(crate) const MIN_HTTP2_WINDOW_BYTES: u32 = 16 * 1024;

/// The largest window: that of a connection, which all its streams share, must be less than 2 GiB (RFC 9113, section 6.9.1).
pub(crate) const MAX_HTTP2_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

impl Default for UpstreamProtocol {
    fn default() -> Self {
        Self { tls: None, alpn: ALPN::H1, http2_window: HTTP2_WINDOW }
    }
}

impl StableHash for UpstreamProtocol {
    fn feed(&self, hasher: &mut StableHasher) {
        let Self { tls, alpn, http2_window } = self;
        tls.as_ref().map(|tls| tls.fingerprint).feed(hasher);
        match alpn {
            ALPN::H1 => hasher.number(0),
            ALPN::H2 => hasher.number(1),
            ALPN::H2H1 => hasher.number(2),
            // Of health checks and tunnels alone.
            ALPN::Custom(_) => hasher.number(3),
        }
        http2_window.feed(hasher);
    }
}
