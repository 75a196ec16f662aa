use crate::generation::Edge;
use crate::http::forwarded;
use http::header::{HeaderMap, HeaderName};
use std::net::IpAddr;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Who asks, as far as the gateway can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// By what it came: `http` or `https`.
    pub scheme: &'static str,
}

/// Who asks: who connects, or whom it speaks for where it is a proxy that is believed.
pub fn caller(
    edge: &Edge,
    peer: Option<IpAddr>,
    is_trusted: bool,
    is_secured: bool,
    headers: &HeaderMap,
) -> Caller {
    let mut address = peer;
    if is_trusted {
        let fields: Vec<&str> = headers
            .get_all(X_FORWARDED_FOR)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        let told = forwarded::client(fields.into_iter(), |address| edge.trusts(address));
        address = told.or(peer);
    }
    Caller { address, scheme: scheme(is_trusted, is_secured, headers) }
}

fn scheme(is_trusted: bool, is_secured: bool, headers: &HeaderMap) -> &'static str {
    let told = headers.get(X_FORWARDED_PROTO).filter(|_| is_trusted);
    // Each proxy on the way may have added its own; the first met the client.
    let told = told.and_then(|told| told.to_str().ok()?.split(',').next());
    match told.map(str::trim) {
        Some(told) if told.eq_ignore_ascii_case("https") => "https",
        Some(told) if told.eq_ignore_ascii_case("http") => "http",
        _ if is_secured => "https",
        _ => "http",
    }
}
