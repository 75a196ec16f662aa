use super::{Endpoint, schedule};
use crate::tls::UpstreamTls;
use pingora::protocols::ALPN;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The endpoints of an upstream, taken in turn by their weights.
#[derive(Debug)]
pub struct Pool {
    name: Arc<str>,
    endpoints: Box<[Endpoint]>,
    schedule: Box<[usize]>,
    turn: AtomicUsize,
    speech: Speech,
}

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

impl Pool {
    /// A pool of these endpoints.
    pub fn new(name: &str, endpoints: Vec<Endpoint>, speech: Speech) -> Self {
        let weights: Vec<u32> = endpoints.iter().map(Endpoint::weight).collect();
        Self {
            name: name.into(),
            endpoints: endpoints.into(),
            schedule: schedule::smooth(&weights),
            turn: AtomicUsize::new(0),
            speech,
        }
    }

    /// The upstream's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its endpoints, as written in the file.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The index of the endpoint whose turn it is, and its address; passes over those `tried` by
    /// this request and those whose names do not resolve. `None` when no other is left.
    pub fn next(&self, tried: &[SocketAddr]) -> Option<(usize, SocketAddr)> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(self.schedule.len())?;
        let (before, from_here) = self.schedule.split_at_checked(turn)?;
        for &index in from_here.iter().chain(before) {
            let endpoint = self.endpoints.get(index)?;
            if let Some(address) = endpoint.address(tried) {
                return Some((index, address));
            }
        }
        None
    }

    /// How many addresses there are to try.
    pub fn alternatives(&self) -> usize {
        self.endpoints.iter().map(Endpoint::address_count).sum()
    }

    /// How its endpoints are spoken to.
    pub fn speech(&self) -> &Speech {
        &self.speech
    }

    /// Whether both lead to the same endpoints by the same weights and in the same way.
    pub fn is_like(&self, other: &Self) -> bool {
        if self.speech.fingerprint() != other.speech.fingerprint() {
            return false;
        }
        let key = |endpoint: &Endpoint| (endpoint.written().to_owned(), endpoint.weight());
        self.endpoints.iter().map(key).eq(other.endpoints.iter().map(key))
    }

    /// Asks DNS for every endpoint that is a name.
    pub async fn resolve(&self) {
        for endpoint in &self.endpoints {
            endpoint.resolve().await;
        }
    }
}
