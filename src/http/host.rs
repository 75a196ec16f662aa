//! Host names as requests name them (RFC 9110, section 7.2).

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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_the_port_alone() {
        assert_eq!(without_port("example.com:3000"), "example.com");
        assert_eq!(without_port("example.com"), "example.com");
        assert_eq!(without_port("[::1]:3000"), "[::1]");
        assert_eq!(without_port("[::1]"), "[::1]");
    }
}
