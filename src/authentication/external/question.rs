//! What a service that decides about a request learns of it. Knows no protocol to ask with.

use super::super::Credentials;
use crate::exchange::Exchange;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri, Version};
use pingora::http::RequestHeader;
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use tidegate_http::path;
use tidegate_http::trace_context::TraceParent;

/// A request whose admission a service decides about.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// The method.
    pub(crate) method: Method,
    /// `http` or `https`: the client's, as trusted proxies report it.
    pub(crate) scheme: &'static str,
    /// The host that the client asked for, as trusted proxies report it.
    pub(crate) host: String,
    /// The path and query that the upstream gets, before a prefix is replaced.
    pub(crate) target: String,
    /// The client's address, as trusted proxies report it.
    pub(crate) client: Option<IpAddr>,
    /// The id of the request.
    pub(crate) request_id: HeaderValue,
    /// The place of the request in a trace, if it is traced.
    pub(crate) trace: Option<TraceParent>,
    /// The headers that are sent, as the client sent them.
    pub(crate) headers: HeaderMap,
}

impl Question {
    /// The question about this request, with these headers of it.
    pub(super) fn new(credentials: Credentials<'_>, send: &[HeaderName]) -> Self {
        let Credentials { head, exchange } = credentials;
        let mut headers = HeaderMap::with_capacity(send.len());
        for name in send {
            for value in head.headers.get_all(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        let mut target = path_of(credentials).into_owned();
        if let Some(query) = query_of(head) {
            target.push('?');
            target.push_str(&query);
        }
        Self {
            method: head.method.clone(),
            scheme: exchange.scheme,
            host: host_of(credentials).to_owned(),
            target,
            client: exchange.client_address,
            request_id: exchange.request_id.clone(),
            trace: exchange.trace,
            headers,
        }
    }
}

/// The place of the handshake of a session: what a service decides about again when the session is renewed.
#[derive(Clone)]
pub(crate) struct HandshakeTarget {
    uri: Uri,
    host: Box<str>,
}

impl fmt::Debug for HandshakeTarget {
    /// Without the query, which may have a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandshakeTarget").field("host", &self.host).finish_non_exhaustive()
    }
}

impl HandshakeTarget {
    /// The place of this handshake; `None` if it cannot be written as a URI.
    pub(crate) fn of(credentials: Credentials<'_>) -> Option<Self> {
        let mut target = path_of(credentials).into_owned();
        if let Some(query) = query_of(credentials.head) {
            target.push('?');
            target.push_str(&query);
        }
        Some(Self { uri: target.parse().ok()?, host: host_of(credentials).into() })
    }

    /// A handshake at this place with the credentials of a renewal.
    pub(super) fn repeat(&self, renewal: Credentials<'_>) -> (RequestHeader, Exchange) {
        let mut head = renewal.head.clone();
        head.set_method(Method::GET);
        head.set_uri(self.uri.clone());
        head.set_version(Version::HTTP_11);
        let of = renewal.exchange;
        let exchange = Exchange {
            client_address: of.client_address,
            tls: of.tls.clone(),
            scheme: of.scheme,
            forwarded_host: Some(self.host.clone()),
            is_websocket: true,
            is_dry_run: of.is_dry_run,
            trace: of.trace,
            ..Exchange::new(Arc::clone(&of.route), of.request_id.clone())
        };
        (head, exchange)
    }
}

/// The path that is passed on. The service must decide about the one that the upstream sees.
pub(super) fn path_of(credentials: Credentials<'_>) -> Cow<'_, str> {
    let path = credentials.exchange.forwarded_path(credentials.head);
    match credentials.head.version {
        Version::HTTP_2 => path::escape_illegal_bytes(path, false),
        _ => Cow::Borrowed(path),
    }
}

/// The query that is passed on.
pub(super) fn query_of(head: &RequestHeader) -> Option<Cow<'_, str>> {
    let query = head.uri.query()?;
    Some(match head.version {
        Version::HTTP_2 => path::escape_illegal_bytes(query, true),
        _ => Cow::Borrowed(query),
    })
}

/// The host that the client asked for.
pub(super) fn host_of(credentials: Credentials<'_>) -> &str {
    let Credentials { head, exchange } = credentials;
    let written = || {
        let authority = head.uri.authority().map(http::uri::Authority::as_str);
        let host = head.headers.get(header::HOST);
        authority.or_else(|| host.and_then(|host| host.to_str().ok())).unwrap_or_default()
    };
    exchange.forwarded_host.as_deref().unwrap_or_else(written)
}
