//! Builds Pingora's proxy with a connector of the gateway's own. Serves no request itself.

use crate::proxy::Proxy;
use crate::upstream::Http1Connector;
use pingora::apps::HttpServerOptions;
use pingora::connectors::ConnectorOptions;
use pingora::listeners::ListenerConfig;
use pingora::server::configuration::ServerConf;
use pingora::server::{Fds, ListenFds};
use pingora::services::Service as _;
use pingora_proxy::{HttpProxy, ProcessCustomSession, ProxyServiceBuilder};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Pingora's proxy, as the connections use it.
pub(super) type Engine = HttpProxy<Proxy, Http1Connector>;

/// Maximum time to build an engine.
const BUILD_TIMEOUT: Duration = Duration::from_secs(5);

/// Builds an engine.
///
/// Pingora 0.9.1 builds a proxy with a custom connector only inside a service, and passes it only to the callback for
/// connections of a custom protocol. So this function starts such a service on loopback, opens one connection to it
/// and ends it.
///
/// # Errors
/// When loopback can't be listened on or connected to.
pub(super) async fn build(proxy: Proxy, conf: &Arc<ServerConf>) -> io::Result<Arc<Engine>> {
    let (give, mut given) = mpsc::channel(1);
    let on_connection: ProcessCustomSession<Proxy, Http1Connector> =
        Arc::new(move |engine, _, _| {
            let _ = give.try_send(engine);
            Box::pin(async { None })
        });
    let mut options = HttpServerOptions::default();
    // Let through to `admission`, which refuses it with a reason and a log line.
    options.allow_connect_method_proxying = true;
    // The connection below is one of a protocol of the gateway's own.
    options.force_custom = true;
    let connector = Http1Connector::new(ConnectorOptions::from_server_conf(conf));
    let mut service = ProxyServiceBuilder::new(conf, proxy)
        .custom(connector, on_connection)
        .server_options(options)
        .build();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    service.add_listener(ListenerConfig::tcp(address.to_string()));
    let mut sockets = Fds::new();
    sockets.add(address.to_string(), listener.into_raw_fd());
    let sockets: ListenFds = Arc::new(sockets.into());
    let (stop, stopping) = watch::channel(false);
    let serving = tokio::spawn(async move {
        service.start_service(Some(sockets), stopping, 1).await;
    });
    let building = async {
        let _connection = TcpStream::connect(address).await?;
        given.recv().await.ok_or_else(|| io::Error::other("Pingora accepted no connection"))
    };
    let built = timeout(BUILD_TIMEOUT, building).await;
    // Ended in good order, the service would tell the engine to stop as well.
    serving.abort();
    let _ = serving.await;
    let _ = stop.send(true);
    built.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
