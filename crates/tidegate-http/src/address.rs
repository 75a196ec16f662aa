//! Addresses of clients and listeners: networks, Unix sockets, and their text forms. Opens no socket.

use std::fmt::{self, Write as _};
use std::net::{AddrParseError, IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

/// The address by which a client is counted: an IPv6 client has 2^64 addresses (RFC 6177), so this is its network.
pub fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & (!0 << 64)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// The address of a listener or an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// An IP address and a port.
    Inet(SocketAddr),
    /// The path of a Unix domain socket.
    Unix(Arc<str>),
}

impl Address {
    /// The IP address, if it has one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Inet(address) => Some(address.ip()),
            Self::Unix(_) => None,
        }
    }

    /// The port, if it has one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Inet(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }

    /// Whether it is an IPv6 address.
    pub fn is_ipv6(&self) -> bool {
        matches!(self, Self::Inet(address) if address.is_ipv6())
    }

    /// Whether it is an IPv4 address.
    pub fn is_ipv4(&self) -> bool {
        matches!(self, Self::Inet(address) if address.is_ipv4())
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Inet(address)
    }
}

impl FromStr for Address {
    type Err = AddrParseError;

    fn from_str(written: &str) -> Result<Self, AddrParseError> {
        match written.strip_prefix("unix:") {
            Some(path) => Ok(Self::Unix(path.into())),
            None => written.parse().map(Self::Inet),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

/// Appends an IP address. IPv4 addresses are in every log line and in two headers of every request, and formatting them
/// by `Display` costs more than writing their digits.
pub fn push_ip(text: &mut String, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let [first, rest @ ..] = address.octets();
            push_octet(text, first);
            for octet in rest {
                text.push('.');
                push_octet(text, octet);
            }
        }
        // Writing into a string can't fail.
        IpAddr::V6(address) => drop(write!(text, "{address}")),
    }
}

fn push_octet(text: &mut String, octet: u8) {
    let digit = |digit: u8| char::from(b'0' + digit % 10);
    if octet >= 100 {
        text.push(digit(octet / 100));
    }
    if octet >= 10 {
        text.push(digit(octet / 10));
    }
    text.push(digit(octet));
}

/// Appends an address with its port, or `unix:` and a path.
pub fn push_address(text: &mut String, address: &Address) {
    match address {
        Address::Inet(SocketAddr::V4(address)) => {
            push_ip(text, IpAddr::V4(*address.ip()));
            text.push(':');
            text.push_str(itoa::Buffer::new().format(address.port()));
        }
        Address::Inet(SocketAddr::V6(_)) | Address::Unix(_) => drop(write!(text, "{address}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_by_the_standard_library() {
        for written in ["0.0.0.0:0", "127.0.0.1:80", "255.10.99.100:65535", "[2001:db8::1]:443"] {
            let address: SocketAddr = written.parse().expect("address");
            let (mut ip, mut socket) = (String::new(), String::new());
            push_ip(&mut ip, address.ip());
            push_address(&mut socket, &address.into());
            assert_eq!((ip, socket), (address.ip().to_string(), address.to_string()));
        }
    }
}
