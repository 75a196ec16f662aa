use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The most that may be under way to an upstream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Requests and WebSocket sessions together: each has a connection by HTTP/1.1.
    pub connections: Option<usize>,
    /// Those of them whose connection is not established yet.
    pub pending: Option<usize>,
    /// Requests.
    pub requests: Option<usize>,
}

/// Counts what is under way to an upstream, and refuses at once what would be too much.
#[derive(Debug)]
pub struct Breaker {
    bounds: Bounds,
    requests: AtomicUsize,
    sessions: AtomicUsize,
    pending: AtomicUsize,
}

/// Why something is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full(&'static str, usize);

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the upstream has {} {} under way, which is its limit", self.1, self.0)
    }
}

/// A place among what is under way, until it is dropped.
#[derive(Debug)]
pub struct Place {
    breaker: Arc<Breaker>,
    is_session: bool,
    is_pending: bool,
}

impl Breaker {
    /// A breaker with these bounds; `None` when nothing is bounded.
    pub fn new(bounds: Bounds) -> Option<Arc<Self>> {
        let [requests, sessions, pending] = Default::default();
        (bounds != Bounds::default())
            .then(|| Arc::new(Self { bounds, requests, sessions, pending }))
    }

    /// Takes a place, or tells what is full. Under many at once it may be exceeded by none: each
    /// counts itself first.
    pub fn enter(self: &Arc<Self>, is_session: bool) -> Result<Place, Full> {
        let own = if is_session { &self.sessions } else { &self.requests };
        own.fetch_add(1, Relaxed);
        self.pending.fetch_add(1, Relaxed);
        let place = Place { breaker: Arc::clone(self), is_session, is_pending: true };
        let requests = self.requests.load(Relaxed);
        let connections = requests + self.sessions.load(Relaxed);
        let over = |count: usize, limit: Option<usize>, what| match limit {
            Some(limit) if count > limit => Err(Full(what, limit)),
            _ => Ok(()),
        };
        over(connections, self.bounds.connections, "connections")?;
        if !is_session {
            over(requests, self.bounds.requests, "requests")?;
        }
        over(self.pending.load(Relaxed), self.bounds.pending, "connections pending")?;
        Ok(place)
    }
}

impl Place {
    /// The connection is there.
    pub fn connected(&mut self) {
        if std::mem::take(&mut self.is_pending) {
            self.breaker.pending.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connected();
        let own = if self.is_session { &self.breaker.sessions } else { &self.breaker.requests };
        own.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_full_refuses_and_what_leaves_makes_room() {
        let bounds = Bounds { connections: Some(3), pending: Some(2), requests: Some(2) };
        let breaker = Breaker::new(bounds).expect("bounds");
        let mut first = breaker.enter(false).expect("room");
        let second = breaker.enter(false).expect("room");
        assert_eq!(breaker.enter(true).err(), Some(Full("connections pending", 2)));
        first.connected();
        assert_eq!(breaker.enter(false).err(), Some(Full("requests", 2)));
        let session = breaker.enter(true).expect("room");
        assert_eq!(breaker.enter(true).err(), Some(Full("connections", 3)));
        drop((second, session));
        assert!(breaker.enter(false).is_ok());
    }

    #[test]
    fn nothing_bounded_nothing_counted() {
        assert!(Breaker::new(Bounds::default()).is_none());
    }
}
