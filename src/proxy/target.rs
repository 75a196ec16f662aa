//! Selects the endpoint of an attempt and describes the connection to Pingora. Does not decide about retries.

use super::{Context, first_byte_timeout, tracing};
use crate::tls;
use crate::upstream::{
    AffinityKey, Balance, Dialer, HTTP1, Pool, SecondHandle, SelectedEndpoint, SelectionHint,
};
use crate::websocket::{HandshakeLimit, HandshakeTimeout, TunnelConnector};
use http::HeaderValue;
use pingora::protocols::{ALPN, TcpKeepalive};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tidegate_http::cookie;

/// Finds dead connections while they are idle. Pingora notices one that the upstream closes; `idle_timeout` would set
/// a timer with every request.
const TCP_KEEPALIVE: TcpKeepalive = TcpKeepalive {
    idle: Duration::from_secs(60),
    interval: Duration::from_secs(10),
    count: 3,
    #[cfg(target_os = "linux")]
    user_timeout: Duration::ZERO,
};

/// Maximum concurrent requests on one HTTP/2 connection.
const MAX_HTTP2_STREAMS_PER_CONNECTION: usize = 100;

/// Set in the pool key of connections that can be cut off, so that they have a pool of their own.
const CUT_OFF_POOL_BIT: u64 = 1 << 63;

/// The pool key of the next tunnel: a tunnel's connection has a frame interceptor and must not be shared.
static NEXT_TUNNEL: AtomicU64 = AtomicU64::new(1);

/// The peer for the next attempt.
pub(super) async fn select_peer(session: &Session, ctx: &mut Context) -> Result<Box<HttpPeer>> {
    if let Some(wait) = ctx.attempt.retries.backoff(ctx.route.retry.backoff) {
        match &ctx.session.permit {
            None => tokio::time::sleep(wait).await,
            // A handshake that a request closes does not wait.
            Some(tunnel) => {
                let _ = tokio::time::timeout(wait, tunnel.session().close_requested()).await;
            }
        }
    }
    let Some(pool) = ctx.pool().cloned() else {
        return Error::e_explain(ErrorType::InternalError, "the route has no upstream");
    };
    // Release the endpoint of the attempt before, then select another.
    ctx.attempt.endpoint = None;
    acquire_upstream_permit(&pool, ctx)?;
    let chosen = select_endpoint(&pool, session, ctx)?;
    let peer = peer(&pool, &chosen, ctx)?;
    tracing::start_attempt(&pool, &chosen, session, ctx);
    ctx.attempt.endpoint = Some(chosen);
    Ok(peer)
}

/// Counts the request among those in flight to the upstream, once for all attempts.
fn acquire_upstream_permit(pool: &Pool, ctx: &mut Context) -> Result<()> {
    if ctx.attempt.upstream_permit.is_some() {
        return Ok(());
    }
    pool.budget().add_share();
    match pool.acquire_permit(ctx.exchange.is_websocket) {
        Ok(permit) => {
            ctx.attempt.upstream_permit = permit;
            Ok(())
        }
        Err(exceeded) => {
            ctx.attempt.hit_upstream_limit = true;
            Error::e_explain(ErrorType::HTTPStatus(503), exceeded.to_string())
        }
    }
}

fn select_endpoint(pool: &Pool, session: &Session, ctx: &mut Context) -> Result<SelectedEndpoint> {
    let balance = &pool.settings().balance;
    let headers = &session.req_header().headers;
    let key = match balance {
        Balance::RoundRobin | Balance::LeastRequests | Balance::PeakEwma => None,
        Balance::Hash(AffinityKey::UserId) => {
            ctx.exchange.user_id().map(|user| Cow::Borrowed(user.as_str()))
        }
        Balance::Hash(AffinityKey::ClientAddress) => {
            ctx.exchange.client_address().map(|address| Cow::Owned(address.to_string()))
        }
        Balance::Hash(AffinityKey::Header(name)) => {
            headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()))
        }
        Balance::Hash(AffinityKey::Cookie(name)) | Balance::StickyCookie(name) => {
            cookie::find(headers, name).map(String::from_utf8_lossy)
        }
    };
    let hint = SelectionHint { tried: &ctx.attempt.tried, key: key.as_deref() };
    // If all have been tried, another attempt is better than none.
    let again = || pool.select(SelectionHint { tried: &[], ..hint });
    let Some(chosen) = pool.select(hint).or_else(again) else {
        return Error::e_explain(ErrorType::HTTPStatus(503), pool.no_endpoint_reason());
    };
    if let Balance::StickyCookie(name) = balance
        && key.as_deref() != Some(chosen.endpoint().id())
    {
        let secure = if ctx.exchange.scheme() == "https" { "; Secure" } else { "" };
        let id = chosen.endpoint().id();
        let cookie = format!("{name}={id}; Path=/; HttpOnly; SameSite=Lax{secure}");
        ctx.attempt.sticky_cookie = HeaderValue::try_from(cookie).ok().map(Box::new);
    }
    Ok(chosen)
}

fn peer(pool: &Pool, chosen: &SelectedEndpoint, ctx: &Context) -> Result<Box<HttpPeer>> {
    let route = &ctx.route;
    let (address, endpoint) = (chosen.address(), chosen.endpoint());
    let protocol = &pool.settings().protocol;
    let secured = protocol.tls.as_ref();
    let is_tunnel = ctx.session.permit.is_some();
    let mut peer = Box::new(match secured {
        Some(tls) if !is_tunnel => tls.peer(address, endpoint.host())?,
        _ => tls::plain_peer(address)?,
    });
    let within = match route.request_timeout.filter(|_| !is_tunnel) {
        None => Duration::MAX,
        Some(whole) => match whole.checked_sub(ctx.started.elapsed()) {
            Some(left) if !left.is_zero() => left,
            _ => {
                let reason = "no time is left for this attempt (timeouts.request)";
                return Err(Error::explain(ErrorType::ReadTimedout, reason).into_up());
            }
        },
    };
    let options = &mut peer.options;
    if !is_tunnel {
        let alpn = if protocol.alpn == ALPN::H1 { &*HTTP1 } else { &protocol.alpn };
        options.alpn.clone_from(alpn);
        options.max_h2_streams = MAX_HTTP2_STREAMS_PER_CONNECTION;
        options.h2_stream_window_size = Some(protocol.http2_window);
        // Slow clients can't fill that of the connection, or they would hold up the responses of others.
        let all_streams =
            protocol.http2_window.saturating_mul(MAX_HTTP2_STREAMS_PER_CONNECTION as u32 + 1);
        options.h2_connection_window_size = Some(all_streams);
        // A connection keeps the window that it began with, and Pingora doesn't tell them apart by it.
        peer.group_key ^= u64::from(protocol.http2_window) << 32;
        options.idle_timeout = pool.settings().idle_timeout;
    }
    let connect = route.connect_timeout.min(within);
    options.connection_timeout = Some(connect);
    // One of HTTP/2 is shared.
    let keeps_handle = first_byte_timeout::needs_cut_off(ctx) && protocol.alpn != ALPN::H2;
    let handle = match protocol.alpn {
        ALPN::H2 => SecondHandle::Shared,
        _ if keeps_handle => SecondHandle::CutOff,
        _ => SecondHandle::None,
    };
    if !is_tunnel && (secured.is_some() || handle != SecondHandle::None) {
        let handshake = route.tls_timeout.min(within);
        options.custom_l4 = Some(Arc::new(Dialer { time: connect, handle }));
        options.connection_timeout = Some(handshake);
        options.total_connection_timeout = Some(connect.saturating_add(handshake).min(within));
    }
    // The frame interceptor of a tunnel keeps this time itself, and closes both sides.
    options.write_timeout = (!is_tunnel).then(|| route.write_timeout.min(within));
    options.tcp_keepalive = Some(TCP_KEEPALIVE);
    match route.websocket.as_ref().zip(ctx.session.permit.as_ref()) {
        None => options.read_timeout = Some(route.read_timeout.min(within)),
        Some((settings, tunnel)) => {
            tunnel.session().set_endpoint(address.clone(), endpoint.address_text());
            options.custom_l4 = Some(Arc::new(TunnelConnector {
                session: Arc::clone(tunnel.session()),
                connect_timeout: route.connect_timeout,
                tls_timeout: route.tls_timeout,
                handshake: match route.first_byte_timeout {
                    Some(time) => HandshakeTimeout { limit: HandshakeLimit::FirstByte, time },
                    None => {
                        HandshakeTimeout { limit: HandshakeLimit::Read, time: route.read_timeout }
                    }
                },
                read_timeout: route.read_timeout,
                write_timeout: route.write_timeout,
                observer: route.observer.clone(),
                settings: Arc::clone(settings),
                tls: secured.map(|tls| {
                    let name = tls.server_name.as_deref().unwrap_or_else(|| endpoint.host());
                    Box::new((Arc::clone(&tls.tunnel), name.to_owned()))
                }),
                bridge: ctx.session.bridge_key.clone(),
            }));
            peer.group_key = NEXT_TUNNEL.fetch_add(1, Ordering::Relaxed);
        }
    }
    if !is_tunnel && keeps_handle {
        peer.group_key ^= CUT_OFF_POOL_BIT;
    }
    Ok(peer)
}
