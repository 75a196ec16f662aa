//! The compiled settings of a listener. It knows nothing of sockets; `server/` opens them.

use crate::acme::ManagedCertificate;
use crate::filter::ClientLists;
use crate::tls::Certificates;
use http::HeaderValue;
use ipnet::IpNet;
use rustls::ServerConfig;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tidegate_http::address::Address;

/// How connections are accepted at an address.
#[derive(Debug)]
pub(crate) struct Listener {
    /// The address.
    pub address: Address,
    /// Whether HTTP/1 is spoken there.
    pub h1: bool,
    /// Whether HTTP/2 without TLS is.
    pub h2c: bool,
    /// The most concurrent connections, if written.
    pub connections: Option<usize>,
    /// TLS, unless it is off.
    pub tls: Option<TlsListener>,
    /// The port that every request is redirected to, by HTTPS.
    pub redirect_to: Option<u16>,
    /// Which client addresses are admitted, unless all are.
    pub(crate) clients: Option<Arc<ClientLists>>,
    /// Networks whose connections begin with a header of the PROXY protocol.
    pub proxy_protocol: Vec<IpNet>,
}

/// TLS at a listener.
#[derive(Debug)]
pub(crate) struct TlsListener {
    /// What handshakes are done with.
    pub config: Arc<ServerConfig>,
    /// The certificates in it.
    pub certificates: Arc<Certificates>,
    /// The certificate among them that is ordered by ACME.
    pub acme: Option<Arc<ManagedCertificate>>,
    /// `Strict-Transport-Security`, on every response.
    pub hsts: Option<Arc<HeaderValue>>,
}

/// Time before the end of a certificate from which the gateway warns of it.
const EXPIRY_WARNING_TIME: Duration = Duration::from_secs(14 * 24 * 60 * 60);

impl TlsListener {
    /// Warns of certificates that have expired or are about to.
    pub(crate) fn warn_of_expiry(&self, now: SystemTime) {
        for certificate in self.certificates.all() {
            let (name, until) = (certificate.name(), certificate.not_after);
            let left = until.duration_since(now).unwrap_or_default();
            let until = humantime::format_rfc3339_seconds(until);
            if left.is_zero() {
                log::error!(
                    "certificate `{name}` expired at {until}: clients refuse the connection \
                     until you replace it"
                );
            } else if left < EXPIRY_WARNING_TIME {
                let days = left.as_secs() / (24 * 60 * 60);
                log::warn!("certificate `{name}` expires in {days} days, at {until}");
            }
        }
    }
}

impl Listener {
    /// Whether a connection from there begins with a header of the PROXY protocol.
    pub(crate) fn expects_proxy_header(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.proxy_protocol.iter().any(|network| network.contains(&peer))
    }
}
