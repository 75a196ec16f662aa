//! Counts attempts to log in: those in flight, in all and per client, and those that failed. Verifies nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tidegate_http::address;

/// Maximum numbers of attempts in flight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttemptLimits {
    /// In all, running and waiting.
    pub(crate) in_flight: usize,
    /// For one client.
    pub(crate) per_client: usize,
    /// For all clients without an address together.
    pub(crate) without_address: usize,
}

/// Number of failures from which on a client must wait: people who try their passwords, and several people at one
/// address, stay below it. An attempt that costs several hashes counts as that many.
///
/// Clients without an address, as at a Unix socket, cannot be told apart: whoever guesses would lock out everybody. Their
/// failures don't count; what bounds their guesses is the number in flight and the time that each takes.
const MAX_FAILURES: u32 = 20;

/// Time after which one failure is forgotten: a client that guesses has one guess in this time.
const FAILURE_RECOVERY: Duration = Duration::from_secs(3);

/// Maximum number of clients whose failures are remembered. An entry has about a hundred bytes, and is forgotten when its
/// failures are: after minutes, as no more can be added than were in flight.
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
#[derive(Debug)]
pub(crate) struct Attempts(Mutex<Counts>);

#[derive(Debug)]
struct Counts {
    limits: AttemptLimits,
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
pub(crate) struct AttemptGuard {
    attempts: Arc<Attempts>,
    client: Option<IpAddr>,
    failures: u32,
}

impl Attempts {
    /// Nothing counted yet, with these limits.
    pub(crate) fn new(limits: AttemptLimits) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Counts::new(limits))))
    }

    /// Counts an attempt in flight until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>, client: Option<IpAddr>) -> Result<AttemptGuard, Busy> {
        let client = client.map(address::client);
        self.lock().begin(client, Instant::now())?;
        Ok(AttemptGuard { attempts: Arc::clone(self), client, failures: 0 })
    }

    /// The counts. No panic can leave them half changed.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AttemptGuard {
    /// Counts the attempt as failed, as this many failures.
    pub(crate) fn fail(&mut self, failures: usize) {
        self.failures = u32::try_from(failures).unwrap_or(u32::MAX);
    }
}

impl Drop for AttemptGuard {
    fn drop(&mut self) {
        self.attempts.lock().end(self.client, self.failures, Instant::now());
    }
}

impl Counts {
    fn new(limits: AttemptLimits) -> Self {
        Self { limits, in_flight: 0, clients: HashMap::new() }
    }

    fn begin(&mut self, client: Option<IpAddr>, now: Instant) -> Result<(), Busy> {
        if self.in_flight >= self.limits.in_flight {
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
        let max_in_flight = match client {
            Some(_) => self.limits.per_client,
            None => self.limits.without_address,
        };
        if counts.in_flight >= max_in_flight {
            return Err(Busy::InFlight);
        }
        counts.in_flight += 1;
        self.in_flight += 1;
        Ok(())
    }

    fn end(&mut self, client: Option<IpAddr>, failures: u32, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(counts) = self.clients.get_mut(&client) else { return };
        counts.in_flight = counts.in_flight.saturating_sub(1);
        counts.recover(now);
        if client.is_some() {
            counts.failures = counts.failures.saturating_add(failures);
        }
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

    const LIMITS: AttemptLimits =
        AttemptLimits { in_flight: 256, per_client: 32, without_address: 64 };

    fn client(number: u32) -> Option<IpAddr> {
        Some(IpAddr::from(number.to_be_bytes()))
    }

    #[test]
    fn attempts_in_flight_are_bounded_per_client_and_in_all() {
        let now = Instant::now();
        let mut counts = Counts::new(LIMITS);
        for _ in 0..LIMITS.per_client {
            assert_eq!(counts.begin(client(1), now), Ok(()));
        }
        assert_eq!(counts.begin(client(1), now), Err(Busy::InFlight));
        assert_eq!(counts.begin(None, now), Ok(()));
        for other in 2.. {
            if counts.in_flight == LIMITS.in_flight {
                break;
            }
            assert_eq!(counts.begin(client(other), now), Ok(()));
        }
        assert_eq!(counts.begin(client(9999), now), Err(Busy::InFlight));
        counts.end(client(1), 0, now);
        assert_eq!(counts.begin(client(9999), now), Ok(()));
    }

    #[test]
    fn failures_are_forgotten_one_by_one() {
        let start = Instant::now();
        let mut counts = Counts::new(LIMITS);
        for _ in 0..MAX_FAILURES {
            assert_eq!(counts.begin(client(1), start), Ok(()));
            counts.end(client(1), 1, start);
        }
        assert_eq!(counts.begin(client(1), start), Err(Busy::Failures));
        assert_eq!(counts.begin(client(2), start), Ok(()), "others are not concerned");
        let later = start + FAILURE_RECOVERY;
        assert_eq!(counts.begin(client(1), later), Ok(()));
        counts.end(client(1), 1, later);
        assert_eq!(counts.begin(client(1), later), Err(Busy::Failures));
        let much_later = later + FAILURE_RECOVERY * MAX_FAILURES;
        assert_eq!(counts.begin(client(1), much_later), Ok(()));
        counts.end(client(1), 0, much_later);
        assert!(!counts.clients.contains_key(&client(1)), "nothing is left to remember");
    }

    #[test]
    fn attempt_that_costs_several_hashes_counts_as_many_failures() {
        let start = Instant::now();
        let mut counts = Counts::new(LIMITS);
        for _ in 0..3 {
            assert_eq!(counts.begin(client(1), start), Ok(()));
            counts.end(client(1), 8, start);
        }
        // 24 failures: five are over at the limit.
        let (early, later) = (start + FAILURE_RECOVERY * 4, start + FAILURE_RECOVERY * 5);
        assert_eq!(counts.begin(client(1), early), Err(Busy::Failures));
        assert_eq!(counts.begin(client(1), later), Ok(()));
        counts.end(client(1), 8, later);
        let soon = later + FAILURE_RECOVERY * 7;
        assert_eq!(counts.begin(client(1), soon), Err(Busy::Failures));
        assert_eq!(counts.begin(client(1), soon + FAILURE_RECOVERY), Ok(()));
    }

    #[test]
    fn clients_without_an_address_do_not_lock_each_other_out() {
        let now = Instant::now();
        let mut counts = Counts::new(LIMITS);
        for _ in 0..10 * MAX_FAILURES {
            assert_eq!(counts.begin(None, now), Ok(()));
            counts.end(None, 1, now);
        }
        assert!(counts.clients.is_empty(), "nothing is remembered of them");
        for _ in 0..LIMITS.without_address {
            assert_eq!(counts.begin(None, now), Ok(()));
        }
        assert_eq!(counts.begin(None, now), Err(Busy::InFlight));
        assert_eq!(counts.begin(client(1), now), Ok(()), "others have room");
    }

    #[test]
    fn remembered_clients_are_bounded() {
        let now = Instant::now();
        let mut counts = Counts::new(LIMITS);
        assert_eq!(counts.begin(client(0), now), Ok(()));
        for number in 1..=u32::try_from(MAX_CLIENTS + 100).unwrap() {
            assert_eq!(counts.begin(client(number), now), Ok(()));
            counts.end(client(number), 1, now);
        }
        assert!(counts.clients.len() <= MAX_CLIENTS);
        assert_eq!(counts.clients[&client(0)].in_flight, 1, "what is in flight stays counted");
    }

    #[test]
    fn guard_counts_until_it_is_dropped() {
        let attempts = Attempts::new(LIMITS);
        let mut guard = attempts.begin(client(1)).unwrap();
        assert_eq!(attempts.lock().in_flight, 1);
        guard.fail(3);
        drop(guard);
        let counts = attempts.lock();
        assert_eq!((counts.in_flight, counts.clients[&client(1)].failures), (0, 3));
    }
}
