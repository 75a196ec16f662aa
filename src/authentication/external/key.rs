//! The key of a cached admission: a digest of everything that the decision may depend on. Keeps nothing of the
//! credential.

use super::super::Credentials;
use super::question::{host_of, path_of, query_of};
use http::HeaderName;
use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};

/// The key of an admission: SHA-256.
pub(super) type Key = [u8; SHA256_OUTPUT_LEN];

/// What belongs to the key, beside the headers that are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CacheKeyParts {
    /// The method.
    pub(crate) method: bool,
    /// The scheme.
    pub(crate) scheme: bool,
    /// The host.
    pub(crate) host: bool,
    /// The path.
    pub(crate) path: bool,
    /// The query.
    pub(crate) query: bool,
    /// The client's address.
    pub(crate) client: bool,
}

impl CacheKeyParts {
    /// The key of this request. All requests of one scheme have the same parts, in the same order.
    pub(super) fn key(&self, credentials: Credentials<'_>, send: &[HeaderName]) -> Key {
        let Credentials { head, exchange } = credentials;
        let mut digest = Digest(Context::new(&SHA256));
        for name in send {
            let values = head.headers.get_all(name);
            digest.number(values.iter().count());
            values.iter().for_each(|value| digest.part(value.as_bytes()));
        }
        if self.method {
            digest.part(head.method.as_str().as_bytes());
        }
        if self.scheme {
            digest.part(exchange.scheme.as_bytes());
        }
        if self.host {
            digest.part(host_of(credentials).as_bytes());
        }
        if self.path {
            digest.part(path_of(credentials).as_bytes());
        }
        if self.query {
            let query = query_of(head);
            digest.number(query.is_some().into());
            digest.part(query.unwrap_or_default().as_bytes());
        }
        if self.client {
            let address = exchange.client_address.map(|address| address.to_canonical());
            digest.part(address.map(|it| it.to_string()).unwrap_or_default().as_bytes());
        }
        let mut key = Key::default();
        key.copy_from_slice(digest.0.finish().as_ref());
        key
    }
}

/// A digest of parts, each with its length, so that no two lists of parts look the same.
struct Digest(Context);

impl Digest {
    fn number(&mut self, number: usize) {
        self.0.update(&(number as u64).to_be_bytes());
    }

    fn part(&mut self, part: &[u8]) {
        self.number(part.len());
        self.0.update(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Exchange;
    use http::HeaderValue;
    use http::header::{AUTHORIZATION, COOKIE};
    use pingora::http::RequestHeader;

    const ALL: CacheKeyParts = CacheKeyParts {
        method: true,
        scheme: true,
        host: true,
        path: true,
        query: true,
        client: true,
    };

    /// A request: method, target, host, cookies, scheme, client.
    type Asked<'a> = (&'static str, &'a str, &'a str, &'a [&'a str], &'static str, &'a str);

    fn key(parts: CacheKeyParts, asked: Asked<'_>) -> Key {
        let (method, target, host, cookies, scheme, client) = asked;
        let mut head = RequestHeader::build(method, target.as_bytes(), None).unwrap();
        head.insert_header("host", host).unwrap();
        for cookie in cookies {
            head.append_header("cookie", *cookie).unwrap();
        }
        let mut exchange = Exchange::new("all".into(), HeaderValue::from_static("id"));
        exchange.scheme = scheme;
        exchange.client_address = Some(client.parse().unwrap());
        parts.key(Credentials { head: &head, exchange: &exchange }, &[AUTHORIZATION, COOKIE])
    }

    #[test]
    fn key_differs_with_each_part_and_with_each_header() {
        let asked: [Asked<'_>; 12] = [
            ("GET", "/a?b", "h", &["a=1"], "http", "192.0.2.1"),
            ("PUT", "/a?b", "h", &["a=1"], "http", "192.0.2.1"),
            ("GET", "/ab", "h", &["a=1"], "http", "192.0.2.1"),
            ("GET", "/ab?", "h", &["a=1"], "http", "192.0.2.1"),
            ("GET", "/a?c", "h", &["a=1"], "http", "192.0.2.1"),
            ("GET", "/a?b", "g", &["a=1"], "http", "192.0.2.1"),
            ("GET", "/a?b", "h", &["a=2"], "http", "192.0.2.1"),
            ("GET", "/a?b", "h", &[], "http", "192.0.2.1"),
            ("GET", "/a?b", "h", &["a=1", ""], "http", "192.0.2.1"),
            ("GET", "/a?b", "h", &["a=", "1"], "http", "192.0.2.1"),
            ("GET", "/a?b", "h", &["a=1"], "https", "192.0.2.1"),
            ("GET", "/a?b", "h", &["a=1"], "http", "192.0.2.2"),
        ];
        let keys: std::collections::HashSet<Key> = asked.iter().map(|it| key(ALL, *it)).collect();
        assert_eq!(keys.len(), asked.len());
        let [first, ..] = asked;
        assert_eq!(key(ALL, first), key(ALL, first));
    }

    #[test]
    fn key_without_parts_is_that_of_the_headers() {
        let none = CacheKeyParts::default();
        let one = key(none, ("GET", "/a?b", "h", &["a=1"], "http", "192.0.2.1"));
        assert_eq!(one, key(none, ("PUT", "/b", "g", &["a=1"], "https", "192.0.2.2")));
        assert_ne!(one, key(none, ("GET", "/a?b", "h", &["a=2"], "http", "192.0.2.1")));
    }
}
