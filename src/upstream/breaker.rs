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

/// One of the bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Requests and sessions together.
    Connections,
    /// Those of them that wait for their connection.
    Pending,
    /// Requests.
    Requests,
}

impl Bound {
    /// All of them; each stands at the place of its number.
    pub const ALL: [Self; 3] = [Self::Connections, Self::Pending, Self::Requests];

    /// As the configuration calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Pending => "pending",
            Self::Requests => "requests",
        }
    }
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
pub struct Full {
    /// The bound that is reached.
    pub bound: Bound,
    limit: usize,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.bound {
            Bound::Connections => "connections",
            Bound::Pending => "connections pending",
            Bound::Requests => "requests",
        };
        write!(f, "the upstream has {} {what} under way, which is its limit", self.limit)
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
        let over = |bound| match self.limit(bound) {
            Some(limit) if self.count(bound) > limit => Err(Full { bound, limit }),
            _ => Ok(()),
        };
        over(Bound::Connections)?;
        if !is_session {
            over(Bound::Requests)?;
        }
        over(Bound::Pending)?;
        Ok(place)
    }

    /// The most that this bound allows, where it is set.
    pub fn limit(&self, bound: Bound) -> Option<usize> {
        match bound {
            Bound::Connections => self.bounds.connections,
            Bound::Pending => self.bounds.pending,
            Bound::Requests => self.bounds.requests,
        }
    }

    fn count(&self, bound: Bound) -> usize {
        match bound {
            Bound::Connections => self.requests.load(Relaxed) + self.sessions.load(Relaxed),
            Bound::Pending => self.pending.load(Relaxed),
            Bound::Requests => self.requests.load(Relaxed),
        }
    }

    /// Of each bound that is set: how much is under way, and how much may be. One that is being
    /// refused counts for a moment.
    pub fn fill(&self) -> impl Iterator<Item = (Bound, usize, usize)> {
        let of =
            |bound| self.limit(bound).map(|limit| (bound, self.count(bound).min(limit), limit));
        Bound::ALL.into_iter().filter_map(of)
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
        assert_eq!(breaker.enter(true).err(), Some(Full { bound: Bound::Pending, limit: 2 }));
        first.connected();
        assert_eq!(breaker.enter(false).err(), Some(Full { bound: Bound::Requests, limit: 2 }));
        let session = breaker.enter(true).expect("room");
        assert_eq!(breaker.enter(true).err(), Some(Full { bound: Bound::Connections, limit: 3 }));
        let fill: Vec<_> = breaker.fill().collect();
        let expected =
            [(Bound::Connections, 3, 3), (Bound::Pending, 2, 2), (Bound::Requests, 2, 2)];
        assert_eq!(fill, expected);
        drop((second, session));
        assert!(breaker.enter(false).is_ok());
    }

    #[test]
    fn each_bound_stands_at_the_place_of_its_number() {
        for (place, bound) in Bound::ALL.into_iter().enumerate() {
            assert_eq!(bound as usize, place, "{bound:?}");
        }
    }

    #[test]
    fn nothing_bounded_nothing_counted() {
        assert!(Breaker::new(Bounds::default()).is_none());
    }
}
