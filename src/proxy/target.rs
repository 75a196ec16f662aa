//! Which endpoint takes the request.

use super::Context;
use crate::websocket::TunnelConnector;
use pingora::protocols::TcpKeepalive;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How a dead connection to an upstream is found while it lies idle. Pingora notices one that the
/// upstream closes; `idle_timeout` would set a timer with every request.
const KEEPALIVE: TcpKeepalive = TcpKeepalive {
    idle: Duration::from_secs(60),
    interval: Duration::from_secs(10),
    count: 3,
    #[cfg(target_os = "linux")]
    user_timeout: Duration::ZERO,
};

/// The most endpoints that are tried until one can be connected to.
const MAX_CONNECTS: usize = 3;

/// The most requests at a time on one connection of HTTP/2.
const MAX_STREAMS: usize = 100;

/// Each tunnel is a pool of its own: its connection carries a tap and must not be shared.
static TUNNELS: AtomicU64 = AtomicU64::new(1);

/// The peer for the next attempt.
pub(super) fn choose(ctx: &mut Context) -> Result<Box<HttpPeer>> {
    let route = Arc::clone(&ctx.route);
    let next = route.pool.as_ref().and_then(|pool| pool.next(&ctx.tried));
    let Some((index, address)) = next else {
        return Error::e_explain(
            ErrorType::HTTPStatus(503),
            "no endpoint of the upstream has an address: its names do not resolve",
        );
    };
    ctx.endpoint = Some((index, address));
    let pool = route.pool.as_ref();
    let endpoint = pool.and_then(|pool| pool.endpoints().get(index));
    let tls = pool.and_then(|pool| pool.speech().tls.as_ref());
    // An empty name would switch Pingora's verification off; an endpoint has none that is empty.
    let name = tls.map(|tls| {
        let own = || endpoint.map_or("", |endpoint| endpoint.host());
        tls.server_name.as_deref().unwrap_or_else(own)
    });
    let is_tunnel = ctx.tunnel.is_some();
    let mut peer = match (tls, name) {
        (Some(tls), Some(name)) if !is_tunnel => {
            let mut peer = Box::new(HttpPeer::new(address, true, name.to_owned()));
            peer.client_cert_key.clone_from(&tls.identity);
            peer.options.ca.clone_from(&tls.ca);
            peer.options.verify_cert = tls.verify;
            peer.options.verify_hostname = tls.verify;
            // Pingora's pool would mix what was verified by one authority with what wasn't.
            peer.group_key = tls.fingerprint;
            peer
        }
        _ => Box::new(HttpPeer::new(address, false, String::new())),
    };
    let options = &mut peer.options;
    if let (Some(pool), false) = (pool, is_tunnel) {
        options.alpn.clone_from(&pool.speech().alpn);
        options.max_h2_streams = MAX_STREAMS;
    }
    options.connection_timeout = Some(route.connect_timeout);
    options.write_timeout = Some(route.write_timeout);
    options.tcp_keepalive = Some(KEEPALIVE);
    match route.websocket.as_ref().zip(ctx.tunnel.as_ref()) {
        None => options.read_timeout = Some(route.read_timeout),
        Some((settings, tunnel)) => {
            tunnel.session().set_endpoint(address, endpoint.map_or("", |it| it.written()));
            options.custom_l4 = Some(Arc::new(TunnelConnector {
                session: Arc::clone(tunnel.session()),
                connect_timeout: route.connect_timeout,
                handshake_timeout: route.read_timeout,
                watcher: route.watcher.clone(),
                settings: Arc::clone(settings),
                tls: tls.zip(name).map(|(tls, name)| (Arc::clone(&tls.tunnel), name.to_owned())),
                bridge: ctx.bridge.clone(),
            }));
            peer.group_key = TUNNELS.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(peer)
}

/// Nothing answered: another endpoint may, and nothing has been sent yet.
pub(super) fn unreachable(ctx: &mut Context, mut error: Box<Error>) -> Box<Error> {
    let pool = ctx.route.pool.as_ref();
    let endpoint = ctx.endpoint.and_then(|(index, address)| {
        pool.and_then(|pool| pool.endpoints().get(index)).map(|endpoint| (endpoint, address))
    });
    if let Some((endpoint, address)) = endpoint {
        endpoint.unreachable(&address);
        ctx.tried.push(address);
    }
    let alternatives = pool.map_or(0, |pool| pool.alternatives());
    error.set_retry(ctx.tried.len() < alternatives.min(MAX_CONNECTS));
    error
}
