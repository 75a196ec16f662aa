//! One endpoint as the configuration names it, and its addresses. Selects nothing.

use super::Health;
use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha1::{Digest, Sha1};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tidegate_http::address::Address;

/// One address of a service, as written, and the IP addresses that it resolves to now.
#[derive(Debug)]
pub(crate) struct Endpoint {
    address_text: String,
    host: String,
    port: u16,
    weight: u32,
    is_backup: bool,
    id: String,
    health: Health,
    resolved: ArcSwap<Vec<Address>>,
    turn: AtomicUsize,
    prefers_ipv6: AtomicBool,
    /// Whether discovery sets the addresses, instead of a lookup of the name.
    has_fixed_addresses: bool,
}

impl Endpoint {
    /// An endpoint. A host that is an IP address needs no lookup; a name has no address until
    /// [`Endpoint::resolve`] has found some.
    pub(crate) fn new(host: &str, port: u16, weight: u32, is_backup: bool) -> Self {
        let address = host.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, port));
        let address_text = match address {
            Ok(address) => address.to_string(),
            Err(_) => format!("{host}:{port}"),
        };
        Self {
            id: id(&address_text),
            address_text,
            is_backup,
            health: Health::default(),
            host: host.to_owned(),
            port,
            weight,
            resolved: ArcSwap::from_pointee(address.into_iter().map(Address::Inet).collect()),
            turn: AtomicUsize::new(0),
            prefers_ipv6: AtomicBool::new(false),
            has_fixed_addresses: false,
        }
    }

    /// An endpoint at a Unix domain socket.
    pub(crate) fn unix(path: &str, weight: u32, is_backup: bool) -> Self {
        let endpoint = Self::new("localhost", 0, weight, is_backup);
        let address_text = format!("unix:{path}");
        endpoint.resolved.store(Arc::new(vec![Address::Unix(path.into())]));
        Self { id: id(&address_text), address_text, has_fixed_addresses: true, ..endpoint }
    }

    /// An endpoint that discovery found, with these addresses.
    pub(crate) fn discovered(
        host: &str,
        port: u16,
        weight: u32,
        is_backup: bool,
        addresses: Vec<SocketAddr>,
    ) -> Self {
        let addresses: Vec<Address> = addresses.into_iter().map(Address::Inet).collect();
        let endpoint = Self::new(host, port, weight, is_backup);
        endpoint.resolved.store(Arc::new(addresses));
        Self { has_fixed_addresses: true, ..endpoint }
    }

    /// `host:port` or `unix:/path`, as written.
    pub(crate) fn address_text(&self) -> &str {
        &self.address_text
    }

    /// The name for a `Host` header; a socket path has none.
    pub(crate) fn authority(&self) -> &str {
        if self.port == 0 { &self.host } else { &self.address_text }
    }

    /// The host alone, without the port.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The value of a sticky cookie for this endpoint, which reveals nothing about the network behind the gateway.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Whether it is used only if too few other endpoints are healthy.
    pub(crate) fn is_backup(&self) -> bool {
        self.is_backup
    }

    /// The health of the endpoint.
    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// Whether it is healthy.
    pub(super) fn is_available(&self, now: u64) -> bool {
        self.health.is_available(now)
    }

    /// Whether both are the same endpoint, as written or as discovered.
    pub(crate) fn is_equivalent_to(&self, other: &Self) -> bool {
        (&self.address_text, self.weight, self.is_backup, self.has_fixed_addresses)
            == (&other.address_text, other.weight, other.is_backup, other.has_fixed_addresses)
            && (!self.has_fixed_addresses || *self.resolved.load() == *other.resolved.load())
    }

    /// Its share of the requests relative to the other endpoints.
    pub(crate) fn weight(&self) -> u32 {
        self.weight
    }

    /// Whether its addresses come from DNS.
    pub(crate) fn is_name(&self) -> bool {
        self.host.parse::<IpAddr>().is_err()
    }

    /// The next of its addresses that is not among those `tried`; `None` when there is none, or
    /// its name does not resolve.
    ///
    /// A dual-stack name (`localhost`!) often has a service behind one family only, so turns
    /// are taken within a family, until [`Endpoint::record_unreachable`] says that it is the wrong one.
    pub(crate) fn address(&self, tried: &[Address]) -> Option<Address> {
        let addresses = self.resolved.load();
        let untried = addresses.iter().filter(|address| !tried.contains(address));
        if addresses.len() < 2 {
            return untried.clone().next().cloned();
        }
        let ipv6 = self.prefers_ipv6.load(Ordering::Relaxed);
        let preferred = untried.clone().filter(|address| address.is_ipv6() == ipv6);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let of_turn = |count: usize| turn.checked_rem(count);
        match of_turn(preferred.clone().count()) {
            Some(turn) => preferred.clone().nth(turn).cloned(),
            None => untried.clone().nth(of_turn(untried.count())?).cloned(),
        }
    }

    /// Number of addresses that the endpoint resolves to now.
    pub(crate) fn address_count(&self) -> usize {
        self.resolved.load().len()
    }

    /// Whether this is one of its addresses now.
    pub(super) fn has_address(&self, address: &Address) -> bool {
        self.resolved.load().contains(address)
    }

    /// Records that connecting to this address failed.
    pub(crate) fn record_unreachable(&self, address: &Address) {
        self.prefers_ipv6.store(address.is_ipv4(), Ordering::Relaxed);
    }

    /// Looks the name up in DNS. If that fails, the known addresses stay.
    pub(crate) async fn resolve(&self) {
        if self.has_fixed_addresses || !self.is_name() {
            return;
        }
        match tokio::net::lookup_host((self.host.as_str(), self.port)).await {
            Ok(addresses) => {
                let mut addresses: Vec<_> = addresses.map(Address::Inet).collect();
                addresses.sort();
                addresses.dedup();
                if addresses != **self.resolved.load() {
                    let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                    log::info!("endpoint {} resolves to {}", self.address_text, shown.join(", "));
                    self.resolved.store(Arc::new(addresses));
                }
            }
            Err(error) => log::warn!(
                "endpoint {} does not resolve: {error}; its last known addresses stay in use",
                self.address_text
            ),
        }
    }
}

/// The id of an endpoint in sticky cookies: every replica computes the same one.
fn id(address_text: &str) -> String {
    let digest =
        Sha1::new().chain_update("tidegate endpoint ").chain_update(address_text).finalize();
    URL_SAFE_NO_PAD.encode(digest.get(..9).unwrap_or_default())
}
