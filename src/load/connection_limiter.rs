//! Limits connections: in all, per listener and per client. Knows nothing of requests.

use super::{ClientLoad, Clients};
use crate::rate_limited_log::RateLimitedLog;
use crate::snapshot::GlobalSettings;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tidegate_http::address::Address;

/// Number of file descriptors that are reserved for other files than connections: listeners, logs, watched files,
/// the runtime.
const RESERVED_FILES: u64 = 48;

/// Minimum number of connections, however few files the process may open.
const MIN_CONNECTION_LIMIT: usize = 8;

/// The connections that are held: counted, in all and by client.
#[derive(Debug)]
pub(crate) struct ConnectionLimiter {
    /// The most that the process has files for.
    max_connections: usize,
    open_connections: AtomicUsize,
    clients: Arc<Clients>,
    /// Connections refused for there are too many.
    pub refusal_log: RateLimitedLog,
    /// Connections refused for there are too many at their listener.
    pub listener_refusal_log: RateLimitedLog,
    /// Connections refused for their client has too many.
    pub client_refusal_log: RateLimitedLog,
}

/// The connections at one listener.
#[derive(Debug)]
pub(crate) struct ListenerConnections {
    address: Address,
    count: AtomicUsize,
}

impl ListenerConnections {
    /// Nobody has come through.
    pub(crate) fn new(address: Address) -> Self {
        Self { address, count: AtomicUsize::new(0) }
    }
}

/// Why there is no permit for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LimitExceeded {
    /// `limits.connections`.
    Total,
    /// A listener's `connections`.
    Listener,
    /// `limits.connections_per_client`.
    Client,
}

/// One connection's permit; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    limiter: Arc<ConnectionLimiter>,
    /// None for a WebSocket session over HTTP/2, whose connection came through one.
    listener: Option<Arc<ListenerConnections>>,
    client: Option<Arc<ClientLoad>>,
}

/// How many connections a process can hold that may open so many files: each may need another
/// one, to an upstream.
pub(crate) fn max_connections(files: Option<u64>) -> usize {
    let files = files.unwrap_or(u64::from(u32::MAX));
    usize::try_from(files.saturating_sub(RESERVED_FILES) / 2)
        .unwrap_or(usize::MAX)
        .max(MIN_CONNECTION_LIMIT)
}

impl ConnectionLimiter {
    /// A limiter without connections, with this maximum.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max_connections: max,
            open_connections: AtomicUsize::new(0),
            clients: Arc::default(),
            refusal_log: RateLimitedLog::default(),
            listener_refusal_log: RateLimitedLog::default(),
            client_refusal_log: RateLimitedLog::default(),
        }
    }

    /// How many are held.
    pub(crate) fn open_connections(&self) -> usize {
        self.open_connections.load(Ordering::Relaxed)
    }

    /// The clients that hold something.
    pub(crate) fn clients(&self) -> &Arc<Clients> {
        &self.clients
    }

    /// The most that may be held.
    fn limit(&self, global: &GlobalSettings) -> usize {
        global
            .limits
            .connections
            .map_or(self.max_connections, |written| written.min(self.max_connections))
    }

    /// Takes a permit for a connection that this listener has accepted.
    ///
    /// # Errors
    /// When the gateway has as many connections as it may, or the listener has `listener_limit`.
    pub(crate) fn acquire(
        self: &Arc<Self>,
        global: &GlobalSettings,
        listener: &Arc<ListenerConnections>,
        listener_limit: Option<usize>,
    ) -> Result<ConnectionPermit, LimitExceeded> {
        let listener_limit = listener_limit.unwrap_or(usize::MAX);
        if listener.count.fetch_add(1, Ordering::Relaxed) >= listener_limit {
            listener.count.fetch_sub(1, Ordering::Relaxed);
            if self.listener_refusal_log.should_log() {
                log::warn!(
                    "{listener_limit} connections are open at the listener {}, its limit \
                     (listeners[].connections): the gateway refuses further ones",
                    listener.address
                );
            }
            return Err(LimitExceeded::Listener);
        }
        match self.count_total(global) {
            Ok(()) => {
                let (limiter, listener) = (Arc::clone(self), Some(Arc::clone(listener)));
                Ok(ConnectionPermit { limiter, listener, client: None })
            }
            Err(full) => {
                listener.count.fetch_sub(1, Ordering::Relaxed);
                Err(full)
            }
        }
    }

    /// Takes a permit for a WebSocket session over HTTP/2: it needs a file for its upstream as a
    /// connection does, and many of them share one connection.
    pub(crate) fn acquire_for_session(
        self: &Arc<Self>,
        global: &GlobalSettings,
        client: Option<IpAddr>,
    ) -> Result<ConnectionPermit, LimitExceeded> {
        self.count_total(global)?;
        let mut permit =
            ConnectionPermit { limiter: Arc::clone(self), listener: None, client: None };
        if let Some(client) = client {
            permit.count_for_client(client, global)?;
        }
        Ok(permit)
    }

    fn count_total(&self, global: &GlobalSettings) -> Result<(), LimitExceeded> {
        let max = self.limit(global);
        if self.open_connections.fetch_add(1, Ordering::Relaxed) < max {
            return Ok(());
        }
        self.open_connections.fetch_sub(1, Ordering::Relaxed);
        if self.refusal_log.should_log() {
            log::warn!(
                "{max} connections are open, the limit (limits.connections, or the open files \
                 that the process may have): the gateway refuses further ones"
            );
        }
        Err(LimitExceeded::Total)
    }
}

impl ConnectionPermit {
    /// Counts it among those of its client, whose address is known now.
    pub(crate) fn count_for_client(
        &mut self,
        address: IpAddr,
        global: &GlobalSettings,
    ) -> Result<(), LimitExceeded> {
        if self.client.is_some() || global.trusts(address) {
            return Ok(());
        }
        let limiter = &self.limiter;
        let client = limiter.clients.find(address);
        let max = global.limits.connections_per_client.unwrap_or_else(|| limiter.limit(global) / 2);
        if !client.add_connection(max.max(1)) {
            if limiter.client_refusal_log.should_log() {
                log::warn!(
                    "client {} has {max} connections, the limit for one client \
                     (limits.connections_per_client): the gateway refuses further ones",
                    client.address()
                );
            }
            return Err(LimitExceeded::Client);
        }
        self.client = Some(client);
        Ok(())
    }

    /// The client among whose connections it is counted.
    pub(crate) fn client(&self) -> Option<&Arc<ClientLoad>> {
        self.client.as_ref()
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.limiter.open_connections.fetch_sub(1, Ordering::Relaxed);
        if let Some(listener) = &self.listener {
            listener.count.fetch_sub(1, Ordering::Relaxed);
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
    fn default_in_the_reference_names_the_files_that_are_kept_back() {
        let schema = tidegate_config::json_schema();
        let words = &schema["$defs"]["Limits"]["properties"]["connections"]["x-default"];
        let words = words.as_str().expect("words");
        assert!(words.contains(&format!("{RESERVED_FILES} files")), "{words}");
    }

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
        assert_eq!(max_connections(Some(1024)), 488);
        assert_eq!(max_connections(Some(20)), MIN_CONNECTION_LIMIT);
        assert!(max_connections(None) > 1_000_000);
    }
}
