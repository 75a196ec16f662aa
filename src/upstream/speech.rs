use crate::tls::UpstreamTls;
use pingora::protocols::ALPN;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// How the endpoints are spoken to.
#[derive(Debug, Clone)]
pub struct Speech {
    /// TLS, unless it is off.
    pub tls: Option<Arc<UpstreamTls>>,
    /// HTTP/1.1, HTTP/2, or what the handshake settles.
    pub alpn: ALPN,
}

impl Default for Speech {
    fn default() -> Self {
        Self { tls: None, alpn: ALPN::H1 }
    }
}

impl Speech {
    /// Changes when anything of it does.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.tls.as_ref().map(|tls| tls.fingerprint).hash(&mut hasher);
        self.alpn.hash(&mut hasher);
        hasher.finish()
    }
}
