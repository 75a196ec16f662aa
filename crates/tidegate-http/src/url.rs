//! URLs in one normal form, so that equal ones compare equal (RFC 3986, section 6.2). Resolves nothing.

use super::path::ParsedPath;
use http::Uri;

/// The port of `http` (RFC 9110, section 4.2.1).
pub const HTTP_PORT: u16 = 80;

/// The port of `https` (RFC 9110, section 4.2.2).
pub const HTTPS_PORT: u16 = 443;

/// The default port of this scheme.
pub fn default_port(scheme: &str) -> Option<u16> {
    if scheme.eq_ignore_ascii_case("https") {
        Some(HTTPS_PORT)
    } else if scheme.eq_ignore_ascii_case("http") {
        Some(HTTP_PORT)
    } else {
        None
    }
}

/// The default port of this scheme as the end of an authority: `:443` or `:80`.
pub(crate) fn default_port_suffix(scheme: &str) -> Option<&'static str> {
    match default_port(scheme)? {
        HTTPS_PORT => Some(":443"),
        _ => Some(":80"),
    }
}

/// A host and its port as the gateway writes them in a URL of this scheme.
pub fn normalized_authority(scheme: &str, authority: &str) -> String {
    without_default_port(scheme, authority).to_ascii_lowercase()
}

/// Whether two authorities name the same host and port in a URL of this scheme.
pub fn is_same_authority(scheme: &str, one: &str, other: &str) -> bool {
    let (one, other) = (without_default_port(scheme, one), without_default_port(scheme, other));
    one.eq_ignore_ascii_case(other)
}

fn without_default_port<'a>(scheme: &str, authority: &'a str) -> &'a str {
    let default = default_port_suffix(scheme).unwrap_or_default();
    let authority = authority.strip_suffix(default).unwrap_or(authority);
    // An empty port is the default too (RFC 3986, section 6.2.3).
    authority.strip_suffix(':').unwrap_or(authority)
}

/// The URL from its parts; the path must be normal already.
pub fn normal(scheme: &str, authority: &str, path: &str, query: Option<&str>) -> String {
    let authority = without_default_port(scheme, authority);
    let length = scheme.len() + authority.len() + path.len() + query.map_or(0, str::len) + 4;
    let mut url = String::with_capacity(length);
    url.push_str(scheme);
    url.push_str("://");
    url.push_str(authority);
    url.make_ascii_lowercase();
    url.push_str(path);
    if let Some(query) = query {
        url.push('?');
        url.push_str(query);
    }
    url
}

/// The normal form of a written URL; `None` if it is no HTTP URL.
pub fn parse(written: &str) -> Option<String> {
    let uri: Uri = written.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let path = ParsedPath::parse(uri.path()).ok()?.normal;
    Some(normal(scheme, uri.authority()?.as_str(), &path, uri.query()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_port_and_its_text_agree() {
        for scheme in ["http", "https", "HTTPS"] {
            let port = default_port(scheme).expect("a port");
            assert_eq!(default_port_suffix(scheme), Some(&*format!(":{port}")), "{scheme}");
        }
        assert_eq!(default_port("ws"), None);
    }

    #[test]
    fn every_spelling_of_a_url_has_one_form() {
        for (written, expected) in [
            ("http://Example.com", Some("http://example.com/")),
            ("http://example.com:80/a/../b", Some("http://example.com/b")),
            ("https://example.com:443/B?Q=1", Some("https://example.com/B?Q=1")),
            ("https://example.com:80/", Some("https://example.com:80/")),
            ("http://[::1]:8080/", Some("http://[::1]:8080/")),
            ("http://example.com/a%2Fb//c", Some("http://example.com/a/b/c")),
            ("ftp://example.com/", None),
            ("/a", None),
            ("", None),
        ] {
            assert_eq!(parse(written).as_deref(), expected, "{written}");
        }
    }
}
