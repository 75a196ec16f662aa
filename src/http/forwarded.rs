//! `Forwarded` (RFC 7239) and its older kin, `X-Forwarded-For`.

use super::address;
use std::net::IpAddr;

/// One element of `Forwarded`: who asked, for which host, by which scheme.
pub fn element(client: Option<IpAddr>, host: &str, scheme: &str) -> String {
    let mut element = String::with_capacity(64 + host.len());
    match client.map(|client| client.to_canonical()) {
        // RFC 7239, section 6.3.
        None => element.push_str("for=unknown"),
        Some(client) => {
            // Section 6: an IPv6 address stands in brackets, and thus in quotes.
            let (before, behind) = if client.is_ipv6() { ("for=\"[", "]\"") } else { ("for=", "") };
            element.push_str(before);
            address::push_ip(&mut element, client);
            element.push_str(behind);
        }
    }
    if !host.is_empty() {
        element.push_str(";host=\"");
        // RFC 9110, section 5.6.4: a `"` or `\` would end the quoted string; a host has neither.
        element.extend(host.split(['"', '\\']));
        element.push('"');
    }
    element.push_str(";proto=");
    element.push_str(scheme);
    element
}

/// The address nearest to us in an `X-Forwarded-For` list that `trusted` does not hold: the
/// client, as far as anybody we trust can tell.
pub fn client<'v>(
    fields: impl DoubleEndedIterator<Item = &'v str>,
    trusted: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let mut farthest = None;
    for element in fields.rev().flat_map(|field| field.rsplit(',')) {
        let address = parse_node(element.trim())?;
        farthest = Some(address);
        if !trusted(address) {
            break;
        }
    }
    farthest
}

/// An address with or without brackets and port.
fn parse_node(node: &str) -> Option<IpAddr> {
    if let Ok(address) = node.parse() {
        return Some(address);
    }
    if let Ok(socket) = node.parse::<std::net::SocketAddr>() {
        return Some(socket.ip());
    }
    node.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7239_6_quotes_ipv6_and_hosts() {
        let v4 = "192.0.2.1".parse().expect("address");
        let v6 = "2001:db8::1".parse().expect("address");
        assert_eq!(element(Some(v4), "a:80", "http"), "for=192.0.2.1;host=\"a:80\";proto=http");
        assert_eq!(element(Some(v6), "", "https"), "for=\"[2001:db8::1]\";proto=https");
    }

    #[test]
    fn takes_the_nearest_address_that_is_not_trusted() {
        let trusted = |address: IpAddr| address.to_string().starts_with("10.");
        let find = |fields: &[&'static str]| client(fields.iter().copied(), trusted);
        let address = |text: &str| text.parse::<IpAddr>().ok();
        assert_eq!(find(&["6.6.6.6, 1.2.3.4, 10.0.0.1"]), address("1.2.3.4"));
        assert_eq!(find(&["1.2.3.4", "10.0.0.1"]), address("1.2.3.4"));
        assert_eq!(find(&["10.0.0.2, 10.0.0.1"]), address("10.0.0.2"));
        assert_eq!(find(&["[2001:db8::1]:4711"]), address("2001:db8::1"));
        assert_eq!(find(&["unknown"]), None);
        assert_eq!(find(&[]), None);
    }
}
