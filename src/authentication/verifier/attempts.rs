//! Counts attempts to log in: those in flight, in all and per client, and those that failed. Verifies nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tidegate_http::address;

/// Maximum number of verifications in flight, running and waiting. Each holds a password of at most two kilobytes and
/// a request; at 50 ms per hash one core works on them for 13 seconds, which is longer than any of them may wait.
const MAX_IN_FLIGHT: usize = 256;

/// Maximum number of verifications in flight for one client: a page that loads its parts in parallel before the first
/// is verified needs some. Eight clients are needed to fill the queue.
const MAX_IN_FLIGHT_PER_CLIENT: usize = 32;

/// Maximum number of failed attempts that a client may have before it must wait: people who try their passwords, and
/// several people at one address, stay below it.
const MAX_FAILURES: u32 = 20;

/// Time after which one failed attempt is forgotten: a client that guesses has one guess in this time.
const FAILURE_RECOVERY: Duration = Duration::from_secs(3);

/// Maximum number of clients whose failures are remembered. An entry has about a hundred bytes, and is forgotten after a
/// minute ([`MAX_FAILURES`] times [`FAILURE_RECOVERY`]).
const MAX_CLIENTS: usize = 8192;

/// Why an attempt must wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Busy {
    /// Too many verifications are in flight.
    InFlight,
    /// The client has failed too often.
    Failures,
}

/// The attempts of all clients.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    in_flight: usize,
    /// By address, for IPv6 by network. Clients without an address share an entry.
    clients: HashMap<Option<IpAddr>, ClientCounts>,
}

#[derive(Debug, Clone, Copy)]
struct ClientCounts {
    in_flight: usize,
    failures: u32,
    /// From when on failures are forgotten.
    since: Instant,
}

/// An attempt in flight.
#[derive(Debug)]
pub(super) struct AttemptGuard {
    attempts: Arc<Attempts>,
    client: Option<IpAddr>,
    has_failed: bool,
}

impl Attempts {
    /// Counts an attempt in flight until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>, client: Option<IpAddr>) -> Result<AttemptGuard, Busy> {
        let client = client.map(address::client);
        self.lock().begin(client, Instant::now())?;
        Ok(AttemptGuard { attempts: Arc::clone(self), client, has_failed: false })
    }

    /// The counts. No panic can leave them half changed.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AttemptGuard {
    /// Counts the attempt as failed.
    pub(super) fn fail(&mut self) {
        self.has_failed = true;
    }
}

impl Drop for AttemptGuard {
    fn drop(&mut self) {
        self.attempts.lock().end(self.client, self.has_failed, Instant::now());
    }
}

impl Counts {
    fn begin(&mut self, client: Option<IpAddr>, now: Instant) -> Result<(), Busy> {
        if self.in_flight >= MAX_IN_FLIGHT {
            return Err(Busy::InFlight);
        }
        if !self.clients.contains_key(&client) {
            self.make_room(now);
        }
        let fresh = ClientCounts { in_flight: 0, failures: 0, since: now };
        let counts = self.clients.entry(client).or_insert(fresh);
        counts.recover(now);
        if counts.failures >= MAX_FAILURES {
            return Err(Busy::Failures);
        }
        if counts.in_flight >= MAX_IN_FLIGHT_PER_CLIENT {
            return Err(Busy::InFlight);
        }
        counts.in_flight += 1;
        self.in_flight += 1;
        Ok(())
    }

    fn end(&mut self, client: Option<IpAddr>, has_failed: bool, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(counts) = self.clients.get_mut(&client) else { return };
        counts.in_flight = counts.in_flight.saturating_sub(1);
        counts.recover(now);
        counts.failures = counts.failures.saturating_add(u32::from(has_failed)).min(MAX_FAILURES);
        if counts.is_forgettable() {
            self.clients.remove(&client);
        }
    }

    /// Makes room for another client. A flood from many addresses makes the gateway forget failures of one of them, not
    /// what is in flight: that has bounds of its own.
    fn make_room(&mut self, now: Instant) {
        if self.clients.len() < MAX_CLIENTS {
            return;
        }
        self.clients.retain(|_, counts| {
            counts.recover(now);
            !counts.is_forgettable()
        });
        if self.clients.len() >= MAX_CLIENTS {
            let idle = self.clients.iter().find(|(_, counts)| counts.in_flight == 0);
            if let Some(client) = idle.map(|(client, _)| *client) {
                self.clients.remove(&client);
            }
        }
    }
}

impl ClientCounts {
    /// Forgets failures whose time is over.
    fn recover(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since).as_secs();
        let recovered = passed / FAILURE_RECOVERY.as_secs();
        if recovered >= u64::from(self.failures) {
            (self.failures, self.since) = (0, now);
            return;
        }
        let recovered = u32::try_from(recovered).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_sub(recovered);
        self.since += FAILURE_RECOVERY * recovered;
    }

    fn is_forgettable(&self) -> bool {
        self.in_flight == 0 && self.failures == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u32) -> Option<IpAddr> {
        Some(IpAddr::from(number.to_be_bytes()))
    }

    #[test]
    fn attempts_in_flight_are_bounded_per_client_and_in_all() {
        let now = Instant::now();
        let mut counts = Counts::default();
        for _ in 0..MAX_IN_FLIGHT_PER_CLIENT {
            assert_eq!(counts.begin(client(1), now), Ok(()));
        }
        assert_eq!(counts.begin(client(1), now), Err(Busy::InFlight));
        assert_eq!(counts.begin(None, now), Ok(()));
        for other in 2.. {
            if counts.in_flight == MAX_IN_FLIGHT {
                break;
            }
            assert_eq!(counts.begin(client(other), now), Ok(()));
        }
        assert_eq!(counts.begin(client(9999), now), Err(Busy::InFlight));
        counts.end(client(1), false, now);
        assert_eq!(counts.begin(client(9999), now), Ok(()));
    }

    #[test]
    fn failures_are_forgotten_one_by_one() {
        let start = Instant::now();
        let mut counts = Counts::default();
        for _ in 0..MAX_FAILURES {
            assert_eq!(counts.begin(client(1), start), Ok(()));
            counts.end(client(1), true, start);
        }
        assert_eq!(counts.begin(client(1), start), Err(Busy::Failures));
        assert_eq!(counts.begin(client(2), start), Ok(()), "others are not concerned");
        let later = start + FAILURE_RECOVERY;
        assert_eq!(counts.begin(client(1), later), Ok(()));
        counts.end(client(1), true, later);
        assert_eq!(counts.begin(client(1), later), Err(Busy::Failures));
        let much_later = later + FAILURE_RECOVERY * MAX_FAILURES;
        assert_eq!(counts.begin(client(1), much_later), Ok(()));
        counts.end(client(1), false, much_later);
        assert!(!counts.clients.contains_key(&client(1)), "nothing is left to remember");
    }

    #[test]
    fn remembered_clients_are_bounded() {
        let now = Instant::now();
        let mut counts = Counts::default();
        assert_eq!(counts.begin(client(0), now), Ok(()));
        for number in 1..=u32::try_from(MAX_CLIENTS + 100).unwrap() {
            assert_eq!(counts.begin(client(number), now), Ok(()));
            counts.end(client(number), true, now);
        }
        assert!(counts.clients.len() <= MAX_CLIENTS);
        assert_eq!(counts.clients[&client(0)].in_flight, 1, "what is in flight stays counted");
    }

    #[test]
    fn guard_counts_until_it_is_dropped() {
        let attempts = Arc::new(Attempts::default());
        let mut guard = attempts.begin(client(1)).unwrap();
        assert_eq!(attempts.lock().in_flight, 1);
        guard.fail();
        drop(guard);
        let counts = attempts.lock();
        assert_eq!((counts.in_flight, counts.clients[&client(1)].failures), (0, 1));
    }
}
