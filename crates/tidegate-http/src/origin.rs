//! Origins (RFC 6454), and the patterns that allow them. Knows nothing of CORS.

use crate::stable_hash::{StableHash, StableHasher};
use crate::url;

/// An origin as a browser sends it: scheme, host, port, or the opaque `null`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin<'o> {
    /// `null`: a sandboxed frame, a `file:` page, a redirect across origins.
    Opaque,
    /// `scheme://host[:port]`.
    Tuple {
        /// The scheme, as sent.
        scheme: &'o str,
        /// The host, as sent, without port.
        host: &'o str,
        /// The port; the scheme's default if none was sent.
        port: u16,
    },
}

impl<'o> Origin<'o> {
    /// Reads an `Origin` field strictly; whatever is not an origin is `None`. Apps and devices
    /// send a scheme without a host: `file://`, `qrc://`.
    pub fn parse(written: &'o str) -> Option<Self> {
        if written == "null" {
            return Some(Self::Opaque);
        }
        let (scheme, authority) = written.split_once("://")?;
        let valid_scheme = !scheme.is_empty()
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        if authority.is_empty() && valid_scheme && !needs_host(scheme) {
            return Some(Self::Tuple { scheme, host: "", port: port_of(scheme) });
        }
        let host = super::host::without_port(authority);
        let port = match authority.get(host.len()..).unwrap_or_default().strip_prefix(':') {
            Some(digits) => digits.parse().ok()?,
            None => port_of(scheme),
        };
        let valid_host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(literal) => literal.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty()
                    && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
            }
        };
        (valid_scheme && valid_host).then_some(Self::Tuple { scheme, host, port })
    }

    /// Whether a page of this origin talks to its own server, `authority`, over `http` or `https`. The scheme belongs to an
    /// origin (RFC 6454, section 4): anyone on the network path can forge a page over `http`, so it is not the same origin
    /// as `https`. A page over `https` matches `http` too, because an untrusted load balancer may have removed TLS.
    pub fn is_own(&self, authority: &str, request_scheme: &str) -> bool {
        match *self {
            Self::Opaque => false,
            Self::Tuple { scheme, host, port } => {
                let is_web = scheme.eq_ignore_ascii_case("https")
                    || (scheme.eq_ignore_ascii_case("http") && request_scheme == "http");
                if !is_web {
                    return false;
                }
                let target = super::host::without_port(authority);
                let target_port = authority
                    .get(target.len()..)
                    .and_then(|rest| rest.strip_prefix(':'))
                    .filter(|digits| !digits.is_empty())
                    .map_or(Some(port_of(scheme)), |digits| digits.parse().ok());
                // A name with its final dot is the same name (RFC 1034, section 3.1).
                let [target, host] = [target, host].map(|it| it.strip_suffix('.').unwrap_or(it));
                target.eq_ignore_ascii_case(host) && target_port == Some(port)
            }
        }
    }
}

/// Whether URLs of this scheme always have a host (URL standard, "special scheme").
fn needs_host(scheme: &str) -> bool {
    ["http", "https", "ws", "wss", "ftp"].iter().any(|it| scheme.eq_ignore_ascii_case(it))
}

/// The default port of a scheme; 0 for schemes of apps.
fn port_of(scheme: &str) -> u16 {
    url::default_port(scheme).unwrap_or(0)
}

/// Which origins are allowed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum OriginPattern {
    /// `*`: every origin.
    Any,
    /// `null`.
    Opaque,
    /// Exactly this origin, in lower case; `scheme://` has an empty host.
    Exact {
        /// The scheme.
        scheme: String,
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// `scheme://*.example.com[:port]`: every host below one.
    Below {
        /// The scheme.
        scheme: String,
        /// What the host must end with; it begins with a dot.
        suffix: String,
        /// The port.
        port: u16,
    },
}

impl StableHash for OriginPattern {
    fn feed(&self, hasher: &mut StableHasher) {
        match self {
            Self::Any => hasher.number(0),
            Self::Opaque => hasher.number(1),
            Self::Exact { scheme, host, port } => (2_u8, scheme, host, *port).feed(hasher),
            Self::Below { scheme, suffix, port } => (3_u8, scheme, suffix, *port).feed(hasher),
        }
    }
}

impl OriginPattern {
    /// Reads a pattern; `None` when it is not one.
    pub fn parse(written: &str) -> Option<Self> {
        if written == "*" {
            return Some(Self::Any);
        }
        let lower = written.to_ascii_lowercase();
        if let Some((scheme, rest)) = lower.split_once("://*.") {
            let concrete = format!("{scheme}://{rest}");
            return match Origin::parse(&concrete)? {
                Origin::Tuple { host: "", .. } => None,
                Origin::Tuple { host, port, .. } => Some(Self::Below {
                    scheme: scheme.to_owned(),
                    suffix: format!(".{host}"),
                    port,
                }),
                Origin::Opaque => None,
            };
        }
        Some(match Origin::parse(&lower)? {
            Origin::Opaque => Self::Opaque,
            Origin::Tuple { scheme, host, port } => {
                Self::Exact { scheme: scheme.to_owned(), host: host.to_owned(), port }
            }
        })
    }

    /// An exact origin as browsers write it (RFC 6454, section 6.2): without a default port.
    pub fn exact_origin(&self) -> Option<String> {
        match self {
            Self::Exact { scheme, host, port } if *port == port_of(scheme) => {
                Some(format!("{scheme}://{host}"))
            }
            Self::Exact { scheme, host, port } => Some(format!("{scheme}://{host}:{port}")),
            Self::Any | Self::Opaque | Self::Below { .. } => None,
        }
    }

    /// As in a configuration file.
    pub fn display(&self) -> String {
        match self {
            Self::Any => "*".to_owned(),
            Self::Opaque => "null".to_owned(),
            Self::Below { scheme, suffix, port } if *port == port_of(scheme) => {
                format!("{scheme}://*{suffix}")
            }
            Self::Below { scheme, suffix, port } => format!("{scheme}://*{suffix}:{port}"),
            Self::Exact { .. } => self.exact_origin().unwrap_or_default(),
        }
    }

    /// Whether the pattern matches this origin.
    pub fn matches(&self, origin: &Origin<'_>) -> bool {
        match (self, *origin) {
            (Self::Any, _) | (Self::Opaque, Origin::Opaque) => true,
            (Self::Exact { scheme, host, port }, Origin::Tuple { scheme: s, host: h, port: p }) => {
                *port == p && host.eq_ignore_ascii_case(h) && scheme.eq_ignore_ascii_case(s)
            }
            (
                Self::Below { scheme, suffix, port },
                Origin::Tuple { scheme: s, host: h, port: p },
            ) => {
                *port == p
                    && scheme.eq_ignore_ascii_case(s)
                    && h.len() > suffix.len()
                    && h.get(h.len() - suffix.len()..)
                        .is_some_and(|tail| tail.eq_ignore_ascii_case(suffix))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(pattern: &str, origin: &str) -> bool {
        let pattern = OriginPattern::parse(pattern).expect(pattern);
        Origin::parse(origin).is_some_and(|origin| pattern.matches(&origin))
    }

    #[test]
    fn exact_pattern_allows_only_its_own_origin() {
        assert!(allows("http://localhost:3000", "http://localhost:3000"));
        assert!(allows("https://example.com", "https://example.com:443"));
        assert!(!allows("http://localhost:3000", "http://localhost:3001"));
        assert!(!allows("http://localhost:3000", "https://localhost:3000"));
    }

    #[test]
    fn wildcard_pattern_does_not_allow_lookalike_origins() {
        let pattern = "https://*.example.com";
        assert!(allows(pattern, "https://a.example.com"));
        assert!(allows(pattern, "https://a.b.example.com"));
        for origin in [
            "https://example.com",
            "https://.example.com.evil.com",
            "https://evilexample.com",
            "https://a.example.com.evil.com",
            "https://evil.com/.example.com",
            "https://evil.com#.example.com",
            "https://evil.com?.example.com",
            "https://user@a.example.com",
            "https://a.example.com:8443",
            "http://a.example.com",
            "https://evil.com\\.example.com",
            "null",
        ] {
            assert!(!allows(pattern, origin), "{origin}");
        }
    }

    #[test]
    fn null_origin_is_allowed_only_where_it_is_listed() {
        assert!(allows("null", "null"));
        assert!(allows("*", "null"));
        assert!(!allows("http://localhost:3000", "null"));
    }

    #[test]
    fn origin_of_the_own_host_is_own() {
        let own = |origin, host, by| Origin::parse(origin).expect("origin").is_own(host, by);
        assert!(own("http://localhost:3000", "localhost:3000", "http"));
        assert!(own("https://example.com", "example.com", "https"));
        assert!(own("https://example.com", "EXAMPLE.com:443", "https"));
        assert!(own("https://example.com", "example.com:", "https"), "rfc3986_3_2_3");
        assert!(!own("https://example.com:444", "example.com:", "https"));
        assert!(own("https://example.com", "example.com", "http"), "behind a balancer");
        assert!(own("https://example.com.", "example.com", "https"));
        assert!(!own("http://localhost:5173", "localhost:3000", "http"));
        assert!(!own("null", "localhost", "http"));
        for origin in ["http://a.test", "http://a.test:80", "ws://a.test", "HTTP://a.test"] {
            assert!(!own(origin, "a.test", "https"), "rfc6454_4: {origin}");
        }
        for origin in ["foo://a.test", "chrome-extension://a.test", "file://", "wss://a.test"] {
            assert!(!own(origin, "a.test", "http"), "{origin}");
        }
    }

    #[test]
    fn origin_without_a_host_can_be_listed() {
        assert!(allows("file://", "file://"));
        assert!(allows("qrc://", "QRC://"));
        assert!(!allows("file://", "qrc://"));
        assert!(!allows("file://", "file://host"));
        assert_eq!(
            OriginPattern::parse("file://").map(|it| it.display()).as_deref(),
            Some("file://")
        );
        for written in
            ["http://", "https://", "://", "https://*.", "file://*.", "file:", "file:///"]
        {
            assert_eq!(OriginPattern::parse(written), None, "{written}");
        }
    }
}
