//! The client of a request and the scheme and host that it used, as trusted proxies report them. Knows nothing of
//! connections beyond the peer's address.

use crate::snapshot::GlobalSettings;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use std::borrow::Cow;
use std::net::IpAddr;
use tidegate_http::forwarded::{self, ForwardedHop};
use tidegate_http::header_name::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};
use tidegate_http::host;

/// The client of a request, as far as the gateway can know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The scheme that the client used: `http` or `https`.
    pub scheme: &'static str,
    /// The host that the client requested, if a trusted proxy reports it.
    pub forwarded_host: Option<Box<str>>,
}

/// Identifies the client: the peer, or the client that a trusted proxy reports. Each fact comes from
/// `X-Forwarded-*`, and from `Forwarded` (RFC 7239) only if the proxy sends no such header: a load balancer
/// that writes the former may forward a client's `Forwarded` unchanged.
pub(crate) fn caller(
    global: &GlobalSettings,
    peer: Option<IpAddr>,
    is_trusted: bool,
    uses_tls: bool,
    headers: &HeaderMap,
) -> Caller {
    let scheme = if uses_tls { "https" } else { "http" };
    if !is_trusted {
        return Caller { address: peer, scheme, forwarded_host: None };
    }
    let trusts = |address| global.trusts(address);
    let forwarded: Vec<Cow<'_, str>>;
    let hop = if headers.contains_key(header::FORWARDED) {
        forwarded = header_texts(headers, &header::FORWARDED).collect();
        forwarded::first_trusted_hop(forwarded.iter().map(Cow::as_ref), trusts)
    } else {
        None
    };
    let ForwardedHop { client, host, scheme: forwarded_scheme } = hop.unwrap_or_default();
    let address = match headers.contains_key(X_FORWARDED_FOR) {
        true => {
            let fields: Vec<Cow<'_, str>> = header_texts(headers, &X_FORWARDED_FOR).collect();
            forwarded::client(fields.iter().map(Cow::as_ref), trusts)
        }
        false => client,
    };
    let reported_scheme = match headers.get(X_FORWARDED_PROTO) {
        Some(reported) => first(reported).and_then(forwarded::normal_scheme),
        None => forwarded_scheme,
    };
    let forwarded_host = match headers.get(X_FORWARDED_HOST) {
        Some(reported) => first(reported).map(Box::from),
        None => host.map(|host| host.into_owned().into_boxed_str()),
    };
    Caller {
        address: address.or(peer),
        scheme: reported_scheme.unwrap_or(scheme),
        forwarded_host: forwarded_host
            .and_then(|written| host::canonical(&written).map(Box::<str>::from))
            .filter(|host| !host.is_empty()),
    }
}

/// Each line of a header. Bytes that are not UTF-8 are replaced, so that a client's bytes at the beginning of a
/// list cannot hide what trusted proxies have added to its end.
fn header_texts<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = Cow<'h, str>> {
    headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()))
}

/// The first value of a list: each proxy appends its own, so the first is from the proxy next to the client.
fn first(list: &HeaderValue) -> Option<&str> {
    list.to_str().ok()?.split(',').map(str::trim).find(|element| !element.is_empty())
}
