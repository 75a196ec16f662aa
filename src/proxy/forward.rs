//! Prepares the request for the upstream and the response for the client: path, host, forwarding headers, hop-by-hop
//! headers. Knows nothing of bodies.

use super::{Context, caching, expectation, failure, request_body, response_framing, tracing};
use crate::filter::UpstreamRequest;
use crate::snapshot::HostHeader;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::ALPN;
use pingora::{Error, ErrorType, OrErr, Result};
use pingora_proxy::Session;
use std::borrow::Cow;
use tidegate_http::header_name::{
    self,
    spelled::{FORWARDED, VIA, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_REQUEST_ID},
};
use tidegate_http::{address, forwarded, grpc, head, path, proxy_headers};

/// Headers that determine where a body ends (RFC 9112, section 6).
static FRAMING_HEADERS: [HeaderName; 3] =
    [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::TRAILER];

/// Turns the client's request into the upstream's.
pub(super) fn prepare(
    session: &Session,
    upstream: &mut RequestHeader,
    ctx: &mut Context,
) -> Result<()> {
    require_http2(upstream, ctx)?;
    if upstream.version == Version::HTTP_2 {
        // Nobody cuts off a connection that other requests share.
        ctx.attempt.cut_off_handle = None;
    }
    set_path(session.req_header(), upstream, ctx)?;
    if upstream.version == Version::HTTP_2 {
        accept_trailers(session.req_header(), upstream)?;
    }
    let key_host = caching::host(session, ctx);
    set_client_headers(session, upstream, ctx, key_host.as_deref())?;
    upstream
        .append_header(VIA, ctx.route.global.via.element(session.req_header().version).clone())?;
    if let Some(trace) = ctx.exchange.trace {
        tracing::set_headers(trace, session.req_header(), upstream, ctx)?;
    }
    if upstream.method == Method::OPTIONS {
        count_hop(upstream)?;
    }
    let authority = session.req_header().uri.authority();
    let has_host = upstream.headers.contains_key(header::HOST);
    match ctx.route.host_for(has_host || authority.is_some()) {
        HostHeader::Preserve => {
            if let Some(host) = key_host {
                upstream.insert_header(header::HOST, host)?;
            } else if let Some(authority) = authority.filter(|_| !has_host) {
                // Pingora makes `:authority` of this, with the scheme of the connection.
                upstream.insert_header(header::HOST, authority.as_str())?;
            }
        }
        HostHeader::Name(name) => upstream.insert_header(header::HOST, name.clone())?,
        HostHeader::Upstream => {
            if let Some(chosen) = &ctx.attempt.endpoint {
                upstream.insert_header(header::HOST, chosen.endpoint().authority())?;
            }
        }
    }
    request_body::frame(upstream, ctx)?;
    let client = session.req_header();
    let exchange = &mut ctx.exchange;
    let forwarded = ctx.route.filters.iter().try_for_each(|filter| {
        filter.on_forward(&mut UpstreamRequest { head: upstream, client, exchange })
    });
    if let Err(error) = forwarded {
        return Err(failure::filter_failed(ctx, &error));
    }
    // RFC 9112, section 3.2: it is required, whatever a filter has removed.
    if let Some(authority) = authority.filter(|_| upstream.version != Version::HTTP_2)
        && !upstream.headers.contains_key(header::HOST)
    {
        upstream.insert_header(header::HOST, authority.as_str())?;
    }
    Ok(())
}

/// Decrements `Max-Forwards` of OPTIONS (RFC 9110, section 7.6.2).
fn count_hop(upstream: &mut RequestHeader) -> Result<()> {
    let written = upstream.headers.get(header::MAX_FORWARDS).and_then(|it| it.to_str().ok());
    let Some(left) = written.and_then(|it| it.parse::<u32>().ok()) else { return Ok(()) };
    upstream.insert_header(header::MAX_FORWARDS, left.saturating_sub(1))
}

/// Sends `TE: trailers` if the client did, and for every gRPC call: a gRPC server may refuse calls without it, because
/// it shows that no proxy drops trailers. Pingora has removed the client's `TE` as a hop-by-hop header.
fn accept_trailers(client: &RequestHeader, upstream: &mut RequestHeader) -> Result<()> {
    // Over HTTP/2 the header has no other value (RFC 9113, section 8.2.2).
    let is_said = client.version == Version::HTTP_2 && client.headers.contains_key(header::TE);
    if is_said || grpc::is_call(&upstream.headers) {
        upstream.insert_header(header::TE, HeaderValue::from_static("trailers"))?;
    }
    Ok(())
}

/// The reason for an error if an upstream with `protocols: [h2]` does not negotiate HTTP/2.
pub(super) const UPSTREAM_NOT_HTTP2: &str =
    "the upstream did not select HTTP/2 (ALPN), which `protocols: [h2]` requires";

/// Fails the request if an upstream with `protocols: [h2]` negotiated HTTP/1.1 (ALPN). WebSockets use HTTP/1.1
/// anyway.
fn require_http2(upstream: &RequestHeader, ctx: &Context) -> Result<()> {
    let is_due = ctx.session.permit.is_none()
        && upstream.version != Version::HTTP_2
        && ctx.pool().is_some_and(|pool| pool.settings().protocol.alpn == ALPN::H2);
    if !is_due {
        return Ok(());
    }
    Err(Error::explain(ErrorType::TLSHandshakeFailure, UPSTREAM_NOT_HTTP2).into_up())
}

/// Sets the forwarded path, with its prefix replaced, and the unchanged query; characters that only HTTP/2 allows
/// are percent-encoded.
fn set_path(head: &RequestHeader, upstream: &mut RequestHeader, ctx: &Context) -> Result<()> {
    let exchange = &ctx.exchange;
    let is_as_it_came = match &exchange.forwarded {
        None => exchange.path.is_none(),
        Some(forwarded) => forwarded.path.is_none(),
    };
    let is_origin_form = upstream.raw_path().starts_with(b"/");
    let query = head.uri.query().map(|query| match head.version {
        Version::HTTP_2 => path::escape_illegal_bytes(query, true),
        _ => Cow::Borrowed(query),
    });
    let is_as_it_came = is_as_it_came && !matches!(query, Some(Cow::Owned(_)));
    if is_as_it_came && ctx.route.rewrite_prefix.is_none() && is_origin_form {
        return Ok(());
    }
    let target = ctx.route.target(exchange, head, query.as_deref());
    upstream.set_raw_path(target.as_bytes())
}

/// Sets `X-Forwarded-*` and `Forwarded` (RFC 7239), from trusted proxies and from the connection, and the request
/// id.
fn set_client_headers(
    session: &Session,
    upstream: &mut RequestHeader,
    ctx: &Context,
    key_host: Option<&str>,
) -> Result<()> {
    let head = session.req_header();
    let peer = session.client_addr().and_then(|address| address.as_inet());
    // Who connects to a Unix domain socket has no address.
    let peer = peer.map(|address| address.ip().to_canonical());
    let host = head.headers.get(header::HOST);
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    let host = authority.or(host.and_then(|host| host.to_str().ok())).unwrap_or_default();
    let host = key_host.unwrap_or(host);
    let scheme = if ctx.exchange.tls.is_some() { "https" } else { "http" };
    let mut element = forwarded::element(peer, host, scheme);
    let mut address = String::with_capacity(40);
    if let Some(peer) = peer {
        address::push_ip(&mut address, peer);
    }
    // One walk over the names costs less than a look-up for each. What the gateway sends itself is
    // added behind it, and need not be looked for again.
    remove(upstream, |name| {
        *name == header_name::PROXY
            || *name == header_name::X_REQUEST_ID
            || (!ctx.peer_is_trusted && proxy_headers::is_set_by_gateway(name))
    });
    if ctx.peer_is_trusted {
        let exchange = &ctx.exchange;
        let client = exchange.client_address;
        let client_host = exchange.forwarded_host.as_deref().unwrap_or(host);
        let has = |name: &str| upstream.headers.contains_key(name);
        // A proxy may speak one of the two languages alone; the upstream is told in both.
        if !has(FORWARDED) && (client, exchange.scheme, client_host) != (peer, scheme, host) {
            let before = forwarded::element(client, client_host, exchange.scheme);
            element = format!("{before}, {element}");
        }
        if !has(X_FORWARDED_FOR)
            && let Some(client) = client.filter(|_| client != peer)
        {
            let mut before = String::with_capacity(80);
            address::push_ip(&mut before, client);
            if peer.is_some() {
                before.push_str(", ");
                before.push_str(&address);
            }
            upstream.insert_header(X_FORWARDED_FOR, before)?;
        } else if peer.is_some() {
            append_to_list(upstream, X_FORWARDED_FOR, &address)?;
        }
        append_to_list(upstream, FORWARDED, &element)?;
    } else {
        if peer.is_some() {
            upstream.append_header(X_FORWARDED_FOR, address)?;
        }
        upstream.append_header(FORWARDED, element)?;
    }
    if !ctx.peer_is_trusted || !upstream.headers.contains_key(X_FORWARDED_PROTO) {
        // Without a trusted proxy it is the connection's own.
        upstream.append_header(X_FORWARDED_PROTO, HeaderValue::from_static(ctx.exchange.scheme))?;
    }
    if !ctx.peer_is_trusted || !upstream.headers.contains_key(X_FORWARDED_HOST) {
        upstream.append_header(
            X_FORWARDED_HOST,
            ctx.exchange.forwarded_host.as_deref().unwrap_or(host),
        )?;
    }
    upstream.append_header(X_REQUEST_ID, ctx.exchange.request_id.clone())?;
    Ok(())
}

/// Removes the headers whose names match.
fn remove(head: &mut RequestHeader, is_meant: impl Fn(&HeaderName) -> bool) {
    while let Some(name) = find_header(&head.headers, &is_meant) {
        head.remove_header(&name);
    }
}

/// The first header whose name matches.
fn find_header(headers: &HeaderMap, is_meant: impl Fn(&HeaderName) -> bool) -> Option<HeaderName> {
    headers.keys().find(|name| is_meant(name)).cloned()
}

/// Appends to a comma-separated list, which may span several header lines.
fn append_to_list(head: &mut RequestHeader, name: &'static str, element: &str) -> Result<()> {
    let fields = head.headers.get_all(name).iter();
    let mut list: Vec<u8> = Vec::new();
    for field in fields.map(HeaderValue::as_bytes).chain([element.as_bytes()]) {
        if !list.is_empty() {
            list.extend_from_slice(b", ");
        }
        list.extend_from_slice(field);
    }
    let list = HeaderValue::from_bytes(&list)
        .or_err(ErrorType::InvalidHTTPHeader, "a forwarding header is malformed")?;
    head.insert_header(name, list)
}

/// Removes headers that concern only the upstream's connection (RFC 9110, section 7.6.1).
pub(super) fn remove_hop_by_hop_headers(session: &mut Session, response: &mut ResponseHeader) {
    session.as_downstream_mut().set_close_on_response_before_downstream_finish(true);
    if response.status == StatusCode::SWITCHING_PROTOCOLS {
        return clean_switch(response);
    }
    if session.req_header().version == Version::HTTP_10 {
        // RFC 9112, section 6.1: such a client knows no chunks; the end of the connection is
        // the end of the body. Where an upstream over HTTP/2 tells no length, Pingora adds chunks behind
        // this: `proxy/compression.rs` has the last word.
        let has_chunks = response.remove_header(&header::TRANSFER_ENCODING).is_some();
        let is_endless = || {
            !response_framing::is_bodiless(response.status)
                && session.req_header().method != Method::HEAD
                && !response.headers.contains_key(header::CONTENT_LENGTH)
        };
        if has_chunks || is_endless() {
            session.set_keepalive(None);
        }
    }
    // Pingora passes trailers on from HTTP/2 to HTTP/2 alone.
    let loses_trailers =
        response.version != Version::HTTP_2 || session.req_header().version != Version::HTTP_2;
    strip_hop_by_hop(response, loses_trailers);
}

/// Adapts an interim response to the client (RFC 9110, section 15.2): removes framing, since it has no body, and drops
/// it for HTTP/1.0.
pub(super) fn clean_interim(session: &mut Session, response: &mut ResponseHeader) {
    if session.req_header().version == Version::HTTP_10 {
        session.as_downstream_mut().set_ignore_info_resp(true);
        return;
    }
    expectation::record_interim(session);
    strip_hop_by_hop(response, true);
    for name in [header::TRANSFER_ENCODING, header::CONTENT_LENGTH] {
        if response.headers.contains_key(&name) {
            response.remove_header(&name);
        }
    }
}

/// Removes hop-by-hop headers and those that `Connection` names, and `Trailer` if the client gets no trailers.
fn strip_hop_by_hop(response: &mut ResponseHeader, loses_trailers: bool) {
    // RFC 9110, section 15.5.22: in a 426 `Upgrade` is the message itself.
    let is_message = response.status == StatusCode::UPGRADE_REQUIRED;
    let is_meant = |name: &HeaderName| match head::is_hop_by_hop(name.as_str()) {
        true => !(is_message && *name == header::UPGRADE),
        false => loses_trailers && *name == header::TRAILER,
    };
    while let Some(name) = find_header(&response.headers, is_meant) {
        if name == header::CONNECTION {
            for name in head::nominated(&response.headers) {
                response.remove_header(&name);
            }
        }
        response.remove_header(&name);
    }
}

/// Removes framing headers from a 101, which has no body and ends HTTP on the connection.
fn clean_switch(response: &mut ResponseHeader) {
    let nominated = head::nominated(&response.headers);
    let is_meant = |name: &HeaderName| {
        let is_due = head::is_hop_by_hop(name.as_str()) && *name != header::UPGRADE;
        is_due || FRAMING_HEADERS.contains(name) || nominated.contains(name)
    };
    while let Some(name) = find_header(&response.headers, is_meant) {
        response.remove_header(&name);
    }
    // A name and a value that every head may hold.
    let _ = response.insert_header(header::CONNECTION, HeaderValue::from_static("Upgrade"));
}
