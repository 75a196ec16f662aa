//! The URL that is examined, and how URLs and foreign texts are shown: bounded and without secrets. It does not know
//! connections.

use http::Uri;
use std::fmt;
use tidegate_http::control::is_control;
use tidegate_http::query;
use tidegate_http::secret::is_secret;
use tidegate_http::url::{HTTP_PORT, HTTPS_PORT};

/// The URL to examine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Whether the scheme is `ws` or `wss`.
    pub is_websocket: bool,
    /// Whether the scheme is `wss` or `https`.
    pub is_tls: bool,
    /// The host, without brackets.
    pub host: String,
    /// The port, by default the scheme's.
    pub port: u16,
    /// The value of the `Host` header.
    pub authority: String,
    /// The path.
    pub path: String,
    /// The query, without `?`.
    pub query: Option<String>,
}

impl Target {
    /// Parses `ws://host:port/path?query`, or a URL with `wss`, `http` or `https`.
    pub fn parse(written: &str) -> Result<Self, String> {
        let form = || "not a URL; write it like `ws://localhost:3000/path?userId=x`".to_owned();
        // A browser does not send the fragment.
        let written = written.split('#').next().unwrap_or(written);
        let uri: Uri = written.parse().map_err(|_| form())?;
        let (is_websocket, is_tls) = match uri.scheme_str() {
            Some("ws") => (true, false),
            Some("wss") => (true, true),
            Some("http") => (false, false),
            Some("https") => (false, true),
            Some(_) => return Err("the scheme must be ws, wss, http or https".to_owned()),
            None => return Err(form()),
        };
        let authority = uri.authority().ok_or_else(form)?;
        if authority.as_str().contains('@') {
            return Err(
                "the URL must not contain a user name or password; send them with --header"
                    .to_owned(),
            );
        }
        let host = authority.host();
        let port = match authority.port() {
            Some(port) => port.as_str().parse().ok().filter(|&port| port > 0).ok_or_else(form)?,
            None if is_tls => HTTPS_PORT,
            None => HTTP_PORT,
        };
        if host.is_empty() {
            return Err(form());
        }
        Ok(Self {
            is_websocket,
            is_tls,
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            authority: authority.as_str().to_owned(),
            path: if uri.path().is_empty() { "/".to_owned() } else { uri.path().to_owned() },
            query: uri.query().map(str::to_owned),
        })
    }

    /// Path and query, as in a request line.
    pub fn path_and_query(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }
}

/// The URL without the values of secret query keys.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.is_websocket, self.is_tls) {
            (true, false) => "ws",
            (true, true) => "wss",
            (false, false) => "http",
            (false, true) => "https",
        };
        write!(f, "{scheme}://{}{}", self.authority, redacted(&self.path_and_query()))
    }
}

/// A URL or a part of one for display: bounded, without control characters and without the values of secret query keys.
pub(crate) fn redacted(url: &str) -> String {
    let url: String = url.chars().filter(|c| !is_control(*c)).take(300).collect();
    match url.split_once('?') {
        Some((path, query)) => format!("{path}?{}", query::redact(query, is_secret)),
        None => url,
    }
}

/// Foreign bytes for display: bounded and printable.
pub(crate) fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..200).unwrap_or(bytes))
        .chars()
        .filter(|c| !c.is_control() && *c != char::REPLACEMENT_CHARACTER)
        .take(160)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_url_schemes_are_read_with_their_default_ports() {
        for (url, host, port) in [
            ("ws://a/x?y=1", "a", 80),
            ("wss://a", "a", 443),
            ("http://[::1]:3000/", "::1", 3000),
            ("https://a.example:8443/x#part", "a.example", 8443),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!((target.host.as_str(), target.port), (host, port), "{url}");
        }
    }

    #[test]
    fn url_that_cannot_be_examined_is_refused() {
        for url in ["", "localhost:3000", "/x", "ftp://a", "ws://", "ws://u:p@a/", "ws://a:0/"] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn secrets_in_a_query_are_redacted() {
        let target = Target::parse("ws://a/x?userId=1&token=hush&Password=hush").unwrap();
        assert_eq!(target.to_string(), "ws://a/x?userId=1&token=REDACTED&Password=REDACTED");
    }
}
