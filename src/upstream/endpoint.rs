use arc_swap::ArcSwap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// One address of a service, as written, and what it stands for now.
#[derive(Debug)]
pub struct Endpoint {
    written: String,
    host: String,
    port: u16,
    weight: u32,
    resolved: ArcSwap<Vec<SocketAddr>>,
    turn: AtomicUsize,
    prefers_ipv6: AtomicBool,
}

impl Endpoint {
    /// An endpoint. A host that is an IP address stands for itself; a name stands for nothing
    /// until [`Endpoint::resolve`] has found its addresses.
    pub fn new(host: &str, port: u16, weight: u32) -> Self {
        let address = host.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, port));
        Self {
            written: match address {
                Ok(address) => address.to_string(),
                Err(_) => format!("{host}:{port}"),
            },
            host: host.to_owned(),
            port,
            weight,
            resolved: ArcSwap::from_pointee(address.into_iter().collect()),
            turn: AtomicUsize::new(0),
            prefers_ipv6: AtomicBool::new(false),
        }
    }

    /// `host:port`, as written.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// The host alone, without the port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its share of the requests relative to its neighbours'.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// Whether DNS has to be asked for its addresses.
    pub fn is_name(&self) -> bool {
        self.host.parse::<IpAddr>().is_err()
    }

    /// The next of its addresses that is not among those `tried`; `None` when there is none, or
    /// its name does not resolve.
    ///
    /// A dual-stack name (`localhost`!) often has a service behind one family only, so turns
    /// are taken within a family, until [`Endpoint::unreachable`] says that it is the wrong one.
    pub fn address(&self, tried: &[SocketAddr]) -> Option<SocketAddr> {
        let addresses = self.resolved.load();
        let untried = addresses.iter().filter(|address| !tried.contains(address));
        if addresses.len() < 2 {
            return untried.copied().next();
        }
        let ipv6 = self.prefers_ipv6.load(Ordering::Relaxed);
        let preferred = untried.clone().filter(|address| address.is_ipv6() == ipv6);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let of_turn = |count: usize| turn.checked_rem(count);
        match of_turn(preferred.clone().count()) {
            Some(turn) => preferred.copied().nth(turn),
            None => untried.clone().copied().nth(of_turn(untried.count())?),
        }
    }

    /// How many addresses it stands for now.
    pub fn address_count(&self) -> usize {
        self.resolved.load().len()
    }

    /// Tells that nothing answered at this address.
    pub fn unreachable(&self, address: &SocketAddr) {
        self.prefers_ipv6.store(address.is_ipv4(), Ordering::Relaxed);
    }

    /// Asks DNS. When that fails, the addresses known so far stay.
    pub async fn resolve(&self) {
        if !self.is_name() {
            return;
        }
        match tokio::net::lookup_host((self.host.as_str(), self.port)).await {
            Ok(addresses) => {
                let mut addresses: Vec<_> = addresses.collect();
                addresses.sort();
                addresses.dedup();
                if addresses != **self.resolved.load() {
                    log::info!("{} resolves to {addresses:?}", self.written);
                    self.resolved.store(Arc::new(addresses));
                }
            }
            Err(error) => log::warn!("{} does not resolve: {error}", self.written),
        }
    }
}
