use super::{Client, Clients};
use crate::snapshot::GlobalSettings;
use crate::telemetry::RateLimitedLog;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tidegate_http::address::Address;

/// Files that are no connections: listeners, logs, what is watched, the runtime's own.
const OWN_FILES: u64 = 48;

/// What even the smallest process can serve.
const FEWEST: usize = 8;

/// The connections that are held: counted, in all and by client.
#[derive(Debug)]
pub(crate) struct Places {
    /// The most that the process has files for.
    most: usize,
    taken: AtomicUsize,
    clients: Arc<Clients>,
    /// Connections refused for there are too many.
    pub full: RateLimitedLog,
    /// Connections refused for there are too many at their listener.
    pub full_of_listener: RateLimitedLog,
    /// Connections refused for their client has too many.
    pub full_of_client: RateLimitedLog,
}

/// The connections at one listener.
#[derive(Debug)]
pub(crate) struct Door {
    address: Address,
    taken: AtomicUsize,
}

impl Door {
    /// Nobody has come through.
    pub(crate) fn new(address: Address) -> Self {
        Self { address, taken: AtomicUsize::new(0) }
    }
}

/// Why there is no place for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// `limits.connections`.
    All,
    /// A listener's `connections`.
    Listener,
    /// `limits.connections_per_client`.
    Client,
}

/// One connection's place; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    /// None for a WebSocket session over HTTP/2, whose connection came through one.
    door: Option<Arc<Door>>,
    client: Option<Arc<Client>>,
}

/// How many connections a process can hold that may open so many files: each may need another
/// one, to an upstream.
pub(crate) fn connections(files: Option<u64>) -> usize {
    let files = files.unwrap_or(u64::from(u32::MAX));
    usize::try_from(files.saturating_sub(OWN_FILES) / 2).unwrap_or(usize::MAX).max(FEWEST)
}

impl Places {
    /// None is taken, of so many at most.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            taken: AtomicUsize::new(0),
            clients: Arc::default(),
            full: RateLimitedLog::default(),
            full_of_listener: RateLimitedLog::default(),
            full_of_client: RateLimitedLog::default(),
        }
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// The clients that hold something.
    pub(crate) fn clients(&self) -> &Arc<Clients> {
        &self.clients
    }

    /// The most that may be taken.
    fn most(&self, global: &GlobalSettings) -> usize {
        global.limits.connections.map_or(self.most, |written| written.min(self.most))
    }

    /// Takes a place for who comes through this door, if there is one; there, `most_there` may be.
    pub(crate) fn take(
        self: &Arc<Self>,
        global: &GlobalSettings,
        door: &Arc<Door>,
        most_there: Option<usize>,
    ) -> Result<Place, Full> {
        let most_there = most_there.unwrap_or(usize::MAX);
        if door.taken.fetch_add(1, Ordering::Relaxed) >= most_there {
            door.taken.fetch_sub(1, Ordering::Relaxed);
            if self.full_of_listener.should_log() {
                log::warn!(
                    "{most_there} connections are held at {}, as many as may be \
                     (listeners[].connections): what comes beyond is refused",
                    door.address
                );
            }
            return Err(Full::Listener);
        }
        match self.claim(global) {
            Ok(()) => {
                let (places, door) = (Arc::clone(self), Some(Arc::clone(door)));
                Ok(Place { places, door, client: None })
            }
            Err(full) => {
                door.taken.fetch_sub(1, Ordering::Relaxed);
                Err(full)
            }
        }
    }

    /// Takes a place for a WebSocket session over HTTP/2: it needs a file for its upstream as a
    /// connection does, and many of them share one connection.
    pub(crate) fn take_for_session(
        self: &Arc<Self>,
        global: &GlobalSettings,
        client: Option<IpAddr>,
    ) -> Result<Place, Full> {
        self.claim(global)?;
        let mut place = Place { places: Arc::clone(self), door: None, client: None };
        if let Some(client) = client {
            place.belongs_to(client, global)?;
        }
        Ok(place)
    }

    fn claim(&self, global: &GlobalSettings) -> Result<(), Full> {
        let most = self.most(global);
        if self.taken.fetch_add(1, Ordering::Relaxed) < most {
            return Ok(());
        }
        self.taken.fetch_sub(1, Ordering::Relaxed);
        if self.full.should_log() {
            log::warn!(
                "{most} connections are held, as many as may be (limits.connections, and the \
                 files that the process may open): what comes beyond is refused"
            );
        }
        Err(Full::All)
    }
}

impl Place {
    /// Counts it among those of its client, whose address is known now.
    pub(crate) fn belongs_to(
        &mut self,
        address: IpAddr,
        global: &GlobalSettings,
    ) -> Result<(), Full> {
        if self.client.is_some() || global.trusts(address) {
            return Ok(());
        }
        let places = &self.places;
        let client = places.clients.find(address);
        let most = global.limits.connections_per_client.unwrap_or_else(|| places.most(global) / 2);
        if !client.add_connection(most.max(1)) {
            if places.full_of_client.should_log() {
                log::warn!(
                    "{} has {most} connections, as many as one client may \
                     (limits.connections_per_client): more of its are refused",
                    client.address()
                );
            }
            return Err(Full::Client);
        }
        self.client = Some(client);
        Ok(())
    }

    /// The client among whose connections it is counted.
    pub(crate) fn client(&self) -> Option<&Arc<Client>> {
        self.client.as_ref()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.fetch_sub(1, Ordering::Relaxed);
        if let Some(door) = &self.door {
            door.taken.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(client) = &self.client {
            client.remove_connection();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_http::address::client;

    #[test]
    fn client_is_an_ipv4_address_or_an_ipv6_network() {
        for (one, other, are_one) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8::1", "2001:db8::ffff:1:2:3", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            let [a, b] = [one, other].map(|written| client(written.parse().unwrap()));
            assert_eq!(a == b, are_one, "{one} and {other}");
        }
    }

    #[test]
    fn half_of_the_file_descriptors_are_for_connections() {
        assert_eq!(connections(Some(1024)), 488);
        assert_eq!(connections(Some(20)), FEWEST);
        assert!(connections(None) > 1_000_000);
    }
}
