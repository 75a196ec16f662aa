use super::{Endpoint, schedule};
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
}

impl Pool {
    /// A pool of these endpoints.
    pub fn new(name: &str, endpoints: Vec<Endpoint>) -> Self {
        let weights: Vec<u32> = endpoints.iter().map(Endpoint::weight).collect();
        Self {
            name: name.into(),
            endpoints: endpoints.into(),
            schedule: schedule::smooth(&weights),
            turn: AtomicUsize::new(0),
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

    /// The index of the endpoint whose turn it is, and its address; passes over those whose names do not
    /// resolve. `None` when none does.
    pub fn next(&self) -> Option<(usize, SocketAddr)> {
        for _ in 0..self.schedule.len() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let index = *self.schedule.get(turn % self.schedule.len())?;
            let endpoint = self.endpoints.get(index)?;
            if let Some(address) = endpoint.address() {
                return Some((index, address));
            }
        }
        None
    }

    /// How many addresses there are to try.
    pub fn alternatives(&self) -> usize {
        self.endpoints.iter().map(Endpoint::address_count).sum()
    }

    /// Whether both lead to the same endpoints by the same weights.
    pub fn has_same_endpoints(&self, other: &Self) -> bool {
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
