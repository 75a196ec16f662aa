//! Host names as requests write them (RFC 9110, section 7.2), and their canonical form. Resolves no name.

use crate::stable_hash::{StableHash, StableHasher};
use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;

/// The name in a `Host` field or authority, without its port; brackets of IPv6 stay.
pub fn without_port(authority: &str) -> &str {
    let digits = authority.bytes().rev().take_while(u8::is_ascii_digit).count();
    let before = authority.get(..authority.len() - digits).unwrap_or(authority);
    match before.strip_suffix(':') {
        Some(name) if name.ends_with(']') || !name.bytes().any(|byte| byte == b':') => name,
        _ => authority,
    }
}

/// Whether a `Host` header holds a host and port. It may be empty (RFC 9110, section 7.2), but a port needs a name before
/// it (section 4.2.1).
///
/// RFC 3986, section 3.2.2, allows delimiters such as `,` and `;` in a name, which no real host has. Services read a
/// comma in X-Forwarded-Host as the end of the first host in a list, so `admin.test,x` would bypass a match of
/// `admin.test` and still be that host to the service.
pub fn is_authority(written: &str) -> bool {
    name_and_port(written).is_some()
}

/// The name of an authority, and its port with the colon, unless it is none.
fn name_and_port(written: &str) -> Option<(&str, &str)> {
    let (name, port) = written.split_at(without_port(written).len());
    let digits = port.strip_prefix(':').unwrap_or_default();
    let is_port = digits.trim_start_matches('0').is_empty()
        || digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok();
    let is_name = match ipv6_literal(name) {
        Some(literal) => literal.parse::<Ipv6Addr>().is_ok(),
        // Only the last label may be empty; it is the root.
        None if name.is_empty() => port.is_empty(),
        None => {
            let mut previous = b'.';
            name.bytes().all(|byte| {
                let before = std::mem::replace(&mut previous, byte);
                match byte {
                    b'.' => before != b'.',
                    b'-' | b'_' | b'~' => true,
                    _ => byte.is_ascii_alphanumeric(),
                }
            })
        }
    };
    (is_name && is_port).then_some((name, port))
}

/// The text between the brackets of an IPv6 address.
fn ipv6_literal(name: &str) -> Option<&str> {
    name.strip_prefix('[')?.strip_suffix(']')
}

/// The canonical form of a host and port: without the dot at the end of the name (the DNS root), without an empty port
/// and zeros before a port (RFC 3986, section 6.2.3), IPv6 addresses in the form of RFC 5952. `None` if it is no host
/// and port by RFC 3986, section 3.2.2, or has percent-encoded characters, which only some servers decode. The case of
/// letters stays.
pub fn canonical(written: &str) -> Option<Cow<'_, str>> {
    let (name, port) = name_and_port(written)?;
    let host = match ipv6_literal(name) {
        Some(literal) => Cow::Owned(format!("[{}]", literal.parse::<Ipv6Addr>().ok()?)),
        None => Cow::Borrowed(name.strip_suffix('.').unwrap_or(name)),
    };
    let digits = port.strip_prefix(':').unwrap_or_default();
    let number = match digits.trim_start_matches('0') {
        "" if !digits.is_empty() => "0",
        number => number,
    };
    let is_same = host == name && number.len() == digits.len() && port != ":";
    Some(match number {
        _ if is_same => written.into(),
        "" => host,
        number => format!("{host}:{number}").into(),
    })
}

/// A host condition of a route: one name, or every name below one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// Exactly this name, in lower case.
    Exact(String),
    /// Every name that ends with this suffix, which begins with a dot.
    Below(String),
}

impl StableHash for HostPattern {
    fn feed(&self, hasher: &mut StableHasher) {
        match self {
            Self::Exact(name) => (0_u8, name).feed(hasher),
            Self::Below(name) => (1_u8, name).feed(hasher),
        }
    }
}

impl HostPattern {
    /// Reads `example.com` or `*.example.com`.
    pub fn parse(written: &str) -> Self {
        let written = written.to_ascii_lowercase();
        match written.strip_prefix('*') {
            Some(suffix) => Self::Below(suffix.strip_suffix('.').unwrap_or(suffix).to_owned()),
            None => Self::Exact(canonical(&written).map_or(written.clone(), Cow::into_owned)),
        }
    }

    /// Whether it matches this host, without port and in lower case.
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
    fn rfc3986_3_2_2_malformed_authority_is_refused() {
        for host in ["", "a", "a-b.example:80", "[::1]:3000", "127.0.0.1:", "a_b"] {
            assert!(is_authority(host), "{host}");
        }
        for noise in [
            "a%2eb",
            "%61",
            "a..b",
            ".a",
            ".",
            "a..",
            "[fe80::1%25eth0]",
            "a b",
            "a/b",
            "a@b",
            "a:b",
            "a:80:80",
            ":80",
            ":",
            ".:80",
            "[::1",
            "[x]",
            "a#",
            "a?",
            "a\\b",
            "a,b",
            "a;b",
            "a=b",
            "'",
            "*",
            "*.b",
            "a:65536",
            "a:99999999999",
        ] {
            assert!(!is_authority(noise), "{noise}");
        }
    }

    #[test]
    fn every_spelling_of_a_host_has_one_canonical_form() {
        for (written, expected) in [
            ("a.test:", "a.test"),
            ("a.test.:", "a.test"),
            ("[::1]:", "[::1]"),
            ("a.example", "a.example"),
            ("a.example.", "a.example"),
            ("A.example.:8080", "A.example:8080"),
            ("[0:0::1]:80", "[::1]:80"),
            ("[2001:DB8::0:1]", "[2001:db8::1]"),
            ("[::1]", "[::1]"),
            ("127.0.0.1.:1", "127.0.0.1:1"),
            ("a.example:", "a.example"),
            ("a.example.:", "a.example"),
            ("a.example:0080", "a.example:80"),
            ("a.example:000", "a.example:0"),
            ("a.example:0", "a.example:0"),
            ("a.example:65535", "a.example:65535"),
            ("a.example:0000000080", "a.example:80"),
            ("[0::1]:", "[::1]"),
            ("[::1]:08", "[::1]:8"),
            ("", ""),
        ] {
            assert_eq!(canonical(written).as_deref(), Some(expected), "{written}");
        }
        for port in [":80", ":"] {
            assert_eq!(canonical(port), None, "rfc9110_4_2_1: {port}");
        }
        assert_eq!(HostPattern::parse("[0::1]"), HostPattern::Exact("[::1]".to_owned()));
        assert_eq!(HostPattern::parse("A.b."), HostPattern::Exact("a.b".to_owned()));
        assert_eq!(HostPattern::parse("*.b."), HostPattern::Below(".b".to_owned()));
    }

    #[test]
    fn without_port_removes_only_the_port() {
        assert_eq!(without_port("example.com:3000"), "example.com");
        assert_eq!(without_port("example.com"), "example.com");
        assert_eq!(without_port("[::1]:3000"), "[::1]");
        assert_eq!(without_port("[::1]"), "[::1]");
    }
}
