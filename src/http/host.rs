//! Host names as requests name them (RFC 9110, section 7.2).

use std::fmt;

/// The name in a `Host` field or authority, without its port; brackets of IPv6 stay.
pub fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit())
                && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => authority,
    }
}

/// Whether a `Host` field holds what RFC 3986, section 3.2.2, allows of a host and port; it may
/// be empty (RFC 9110, section 7.2).
pub fn is_authority(written: &str) -> bool {
    let (name, port) = written.split_at(without_port(written).len());
    let is_port = port.bytes().skip(1).all(|byte| byte.is_ascii_digit());
    let is_name = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(literal) => literal.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte)),
    };
    is_name && is_port
}

/// What a route's host may be: one name, or every name below one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// Just this name, in lower case.
    Exact(String),
    /// Every name that ends with this suffix, which begins with a dot.
    Below(String),
}

impl HostPattern {
    /// Reads `example.com` or `*.example.com`.
    pub fn parse(written: &str) -> Self {
        let written = written.to_ascii_lowercase();
        match written.strip_prefix('*') {
            Some(suffix) => Self::Below(suffix.to_owned()),
            None => Self::Exact(written),
        }
    }

    /// Whether it takes this host, without port and in lower case.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Below(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(suffix) => write!(f, "*{suffix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3986_3_2_2_knows_a_host_from_noise() {
        for host in ["", "a", "a-b.example:80", "[::1]:3000", "127.0.0.1:", "a_b"] {
            assert!(is_authority(host), "{host}");
        }
        for noise in ["a b", "a/b", "a@b", "a:b", "a:80:80", "[::1", "[x]", "a#", "a?", "a\\b"] {
            assert!(!is_authority(noise), "{noise}");
        }
    }

    #[test]
    fn cuts_the_port_alone() {
        assert_eq!(without_port("example.com:3000"), "example.com");
        assert_eq!(without_port("example.com"), "example.com");
        assert_eq!(without_port("[::1]:3000"), "[::1]");
        assert_eq!(without_port("[::1]"), "[::1]");
    }
}
