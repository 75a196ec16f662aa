//! Addresses as text, into what is being written.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// Appends an IP address. Those of version 4 stand in every log line and in two header fields
/// of every request, and the formatting machinery costs more than their digits.
pub fn push_ip(text: &mut String, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            let mut digits = itoa::Buffer::new();
            text.push_str(digits.format(a));
            for octet in [b, c, d] {
                text.push('.');
                text.push_str(digits.format(octet));
            }
        }
        // Writing into a string can't fail.
        IpAddr::V6(address) => drop(write!(text, "{address}")),
    }
}

/// Appends an address with its port.
pub fn push_socket(text: &mut String, address: SocketAddr) {
    match address {
        SocketAddr::V4(address) => {
            push_ip(text, IpAddr::V4(*address.ip()));
            text.push(':');
            text.push_str(itoa::Buffer::new().format(address.port()));
        }
        SocketAddr::V6(address) => drop(write!(text, "{address}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_standard_library() {
        for written in ["0.0.0.0:0", "127.0.0.1:80", "255.10.99.100:65535", "[2001:db8::1]:443"] {
            let address: SocketAddr = written.parse().expect("address");
            let (mut ip, mut socket) = (String::new(), String::new());
            push_ip(&mut ip, address.ip());
            push_socket(&mut socket, address);
            assert_eq!((ip, socket), (address.ip().to_string(), address.to_string()));
        }
    }
}
