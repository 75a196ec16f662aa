//! Takes an accepted connection to its protocol: PROXY header, TLS, HTTP/1.1 or HTTP/2. Knows nothing of requests.

use super::accepted::{AllowedProtocols, Connection, ConnectionLimits};
use super::engine::Engine;
use super::pre_http_response::PreHttpResponse;
use super::tasks::Tasks;
use super::{http1, http2, proxy_protocol};
use crate::load::{
    AcceptedConnections, ConnectionLimiter, ConnectionPermit, LimitExceeded, ListenerConnections,
};
use crate::snapshot::{CurrentSnapshot, GlobalSettings, Listener};
use crate::tls::{self, HandshakeFailure};
use crate::upstream::{close_idle, is_scarce};
use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::{ALPN, Peek, Stream};
use pingora::server::ShutdownWatch;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::time::timeout;

/// The first byte of a TLS handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// Serves each connection in its own task.
///
/// Pingora's task reserves memory for a TLS handshake and for HTTP/2 as long as the connection lives: 13 kB, for hours
/// with a WebSocket.
pub(super) struct Connections {
    proxy: Arc<Engine>,
    current: Arc<CurrentSnapshot>,
    limiter: Arc<ConnectionLimiter>,
    arrivals: Arc<AcceptedConnections>,
    listener: Arc<ListenerConnections>,
    tasks: Arc<Tasks>,
}

impl Connections {
    pub(super) fn new(
        proxy: Arc<Engine>,
        current: Arc<CurrentSnapshot>,
        limiter: Arc<ConnectionLimiter>,
        arrivals: Arc<AcceptedConnections>,
        tasks: Arc<Tasks>,
    ) -> Self {
        let listener = Arc::new(ListenerConnections::new(arrivals.address().clone()));
        Self { proxy, current, limiter, arrivals, listener, tasks }
    }
}

#[async_trait]
impl ServerApp for Connections {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        self.arrivals.count_accepted();
        if is_scarce(stream.id()) {
            close_idle();
        }
        let snapshot = self.current.load();
        let global = &snapshot.global;
        let listener = snapshot.listener(self.arrivals.address());
        let protocols = AllowedProtocols::for_listener(listener.map(|it| &**it));
        let listener_limit = listener.and_then(|listener| listener.connections);
        let listener = listener
            .filter(|listener| listener.tls.is_some() || !listener.proxy_protocol.is_empty());
        let permit = match self.limiter.acquire(global, &self.listener, listener_limit) {
            Ok(permit) => permit,
            Err(full) => {
                if listener.is_none() {
                    tokio::spawn(refuse(full, stream, Arc::clone(&self.current)));
                }
                return None;
            }
        };
        let limits = ConnectionLimits::from_limits(&global.limits);
        let (proxy, shutdown) = (Arc::clone(&self.proxy), shutdown.clone());
        let (current, task) = (Arc::clone(&self.current), self.tasks.reserve()?);
        let connection =
            Connection { stream, protocols, proxy, limits, shutdown, permit, current, task };
        match listener {
            Some(listener) => {
                let (listener, global) = (Arc::clone(listener), Arc::clone(global));
                let (tasks, number) = connection.task.key();
                let arrivals = Arc::clone(&self.arrivals);
                let serving = handshake_and_serve(connection, listener, global, arrivals);
                tasks.spawn(number, None, serving);
            }
            None => spawn_serving(connection, global),
        }
        None
    }
}

/// The address of the peer.
fn peer(stream: &Stream) -> Option<IpAddr> {
    let digest = stream.get_socket_digest()?;
    digest.peer_addr()?.as_inet().map(SocketAddr::ip)
}

/// The peer in a message.
fn address_of(peer: Option<IpAddr>) -> String {
    peer.map_or_else(|| "an unknown address".to_owned(), |address| address.to_string())
}

async fn refuse(full: LimitExceeded, stream: Stream, current: Arc<CurrentSnapshot>) {
    let answer = match full {
        LimitExceeded::Total | LimitExceeded::Listener => PreHttpResponse::Full,
        LimitExceeded::Client => PreHttpResponse::FullOfClient,
    };
    answer.send(stream, &[], &current).await;
}

/// Counts the connection for its client, and serves it.
fn spawn_serving(mut connection: Connection, global: &GlobalSettings) {
    let client = peer(&connection.stream);
    match client.map_or(Ok(()), |client| connection.permit.count_for_client(client, global)) {
        Ok(()) => serve(connection),
        Err(full) => {
            tokio::spawn(refuse(full, connection.stream, connection.current));
        }
    }
}

/// The steps before HTTP: the PROXY header and the TLS handshake.
async fn handshake_and_serve(
    connection: Connection,
    listener: Arc<Listener>,
    global: Arc<GlobalSettings>,
    arrivals: Arc<AcceptedConnections>,
) {
    let Connection { stream, protocols, proxy, limits, shutdown, mut permit, current, task } =
        connection;
    let peer = peer(&stream);
    let Ok(socket) = stream.into_any().downcast::<Socket>() else { return };
    let secured =
        proxy_header_and_tls(&listener, &global, *socket, peer, &mut permit, &arrivals, &current);
    match timeout(limits.handshake_timeout, secured).await {
        Ok(Ok(Some(stream))) => {
            serve(Connection { stream, protocols, proxy, limits, shutdown, permit, current, task });
        }
        Ok(Ok(None)) => {}
        Ok(Err(error)) => log::debug!(
            "listener {}: the connection from {} failed before its first request: {error}",
            listener.address,
            address_of(peer)
        ),
        Err(_) => {
            match listener.tls {
                Some(_) => arrivals.no_handshake(HandshakeFailure::Timeout),
                None => arrivals.no_proxy_header(),
            }
            log::debug!(
                "listener {}: no complete TLS handshake or PROXY protocol header from {} \
                 within {:?}",
                listener.address,
                address_of(peer),
                limits.handshake_timeout
            );
        }
    }
}

async fn proxy_header_and_tls(
    listener: &Listener,
    global: &GlobalSettings,
    mut socket: Socket,
    mut client: Option<IpAddr>,
    permit: &mut ConnectionPermit,
    arrivals: &AcceptedConnections,
    current: &Arc<CurrentSnapshot>,
) -> io::Result<Option<Stream>> {
    if client.is_some_and(|peer| listener.expects_proxy_header(peer)) {
        // With a PROXY header the client is known; a health check of the load balancer itself has none.
        match proxy_protocol::take_header(&mut socket).await {
            Ok(source) => client = source,
            Err(error) => {
                arrivals.no_proxy_header();
                // A TLS client would read the text as a broken handshake.
                if listener.tls.is_none() && error.kind() == io::ErrorKind::InvalidData {
                    PreHttpResponse::NoProxyHeader.send(Box::new(socket), &[], current).await;
                }
                return Err(error);
            }
        }
    }
    let entered = client.map_or(Ok(()), |client| permit.count_for_client(client, global));
    let Some(tls) = &listener.tls else {
        let stream: Stream = Box::new(socket);
        return match entered {
            Ok(()) => Ok(Some(stream)),
            Err(full) => {
                refuse(full, stream, Arc::clone(current)).await;
                Ok(None)
            }
        };
    };
    if entered.is_err() {
        return Ok(None);
    }
    let failed = |error: &io::Error| arrivals.no_handshake(HandshakeFailure::from_error(error));
    let mut first = [0];
    socket.try_peek(&mut first).await.inspect_err(failed)?;
    if first != [TLS_HANDSHAKE] {
        arrivals.no_handshake(HandshakeFailure::NotTls);
        PreHttpResponse::NotTls.send(Box::new(socket), &[], current).await;
        return Ok(None);
    }
    tls::accept(socket, Arc::clone(&tls.config)).await.inspect_err(failed)
}

/// Serves the connection in its own task.
fn serve(connection: Connection) {
    let is_h2 = connection.stream.get_ssl_digest().is_some()
        && connection.stream.selected_alpn_proto() == Some(ALPN::H2);
    let (tasks, number) = connection.task.key();
    let client = connection.permit.client().map(|client| client.address());
    if is_h2 {
        tasks.spawn(number, client, http2::serve(connection));
    } else {
        tasks.spawn(number, client, http1::serve(Box::new(connection)));
    }
}
