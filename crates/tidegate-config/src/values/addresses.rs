//! Networks, and the addresses where the gateway and its endpoints listen. Opens no socket and resolves no name.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use tidegate_http::address::Address;

/// A network: `10.0.0.0/8`, `::1/128`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr(pub ipnet::IpNet);

impl FromStr for Cidr {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        written
            .parse()
            .or_else(|_| written.parse::<IpAddr>().map(ipnet::IpNet::from))
            .map(|network| Self(canonical(network)))
            .map_err(|_| {
                "not an IP network or address; write it like `10.0.0.0/8` or `192.0.2.1`".to_owned()
            })
    }
}

/// Clients are known by their IPv4 address (RFC 4291, section 2.5.5.2), so a network of IPv4
/// addresses that are mapped into IPv6 is one of IPv4.
fn canonical(network: ipnet::IpNet) -> ipnet::IpNet {
    let (IpAddr::V4(address), Some(prefix)) =
        (network.addr().to_canonical(), network.prefix_len().checked_sub(96))
    else {
        return network;
    };
    match network {
        ipnet::IpNet::V6(_) => ipnet::Ipv4Net::new(address, prefix).map_or(network, Into::into),
        ipnet::IpNet::V4(_) => network,
    }
}

/// Whose forwarding headers are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustedProxy {
    /// A network's.
    Network(Cidr),
    /// The peers that connect through a Unix domain socket.
    Unix,
}

impl FromStr for TrustedProxy {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        match written {
            "unix" => Ok(Self::Unix),
            network => network.parse().map(Self::Network),
        }
    }
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress(pub Address);

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        if let Some(path) = socket_path(written) {
            return path.map(|path| Self(Address::Unix(path.into())));
        }
        if let Ok(address) = written.parse() {
            return Ok(Self(Address::Inet(address)));
        }
        Err(match written.strip_prefix(':').or_else(|| written.strip_prefix("*:")) {
            Some(port) => {
                format!("the IP address before the port is missing; write `0.0.0.0:{port}`")
            }
            None => "not an IP address and port; write it like `127.0.0.1:3000` or `[::]:3000`"
                .to_owned(),
        })
    }
}

/// Where a service listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointAddress {
    /// A name, or an IP address (IPv6 without brackets), and a port.
    Host(String, u16),
    /// The absolute path of a Unix domain socket.
    Unix(String),
}

/// The longest path of a Unix domain socket (Linux: 108 bytes with the zero at their end).
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// The path behind `unix:`.
fn socket_path(written: &str) -> Option<Result<&str, String>> {
    let path = written.strip_prefix("unix:")?;
    Some(match path {
        path if !path.starts_with('/') => {
            Err("a Unix socket needs an absolute path; write it like `unix:/run/app.sock`"
                .to_owned())
        }
        path if path.len() > MAX_SOCKET_PATH_BYTES => Err(format!(
            "the path of a Unix socket must not be longer than {MAX_SOCKET_PATH_BYTES} bytes"
        )),
        path if path.contains(|c: char| c == '\0' || c.is_whitespace()) => {
            Err("the path of a Unix socket must not contain spaces".to_owned())
        }
        path => Ok(path),
    })
}

impl FromStr for EndpointAddress {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        if let Some(path) = socket_path(written) {
            return path.map(|path| Self::Unix(path.to_owned()));
        }
        if let Some((scheme, rest)) = written.split_once("://") {
            let authority = rest.split('/').next().unwrap_or(rest);
            return Err(format!(
                "an endpoint is `host:port` without `{scheme}://`; write `{authority}`"
            ));
        }
        if let Ok(address) = written.parse::<SocketAddr>() {
            return Ok(Self::Host(address.ip().to_string(), address.port()));
        }
        let form = || "not `host:port`; write it like `127.0.0.1:4009` or `api.internal:8080`";
        let (host, port) = written.rsplit_once(':').ok_or_else(form)?;
        let port = port.parse().ok().filter(|&port| port > 0).ok_or_else(form)?;
        let is_name = !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        match is_name {
            true => Ok(Self::Host(host.to_owned(), port)),
            false => Err(form().to_owned()),
        }
    }
}
