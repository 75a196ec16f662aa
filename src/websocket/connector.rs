use super::bridge::Bridge;
use super::tap::Tap;
use super::wire::Wire;
use super::{Session, Settings, Watcher};
use crate::upstream::{Socket, dial};
use async_trait::async_trait;
use pingora::connectors::l4::Connect;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::VirtualSocketStream;
use pingora::{Error, ErrorType, Result};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsConnector;

/// Connects the upstream end of one WebSocket, with a [`Tap`] on it.
///
/// Pingora asks it by `PeerOptions.custom_l4` and then tunnels natively.
#[derive(Debug)]
pub struct TunnelConnector {
    /// What the tap tells, and is told.
    pub session: Arc<Session>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long the TLS handshake may take.
    pub tls_timeout: Duration,
    /// How long the answer to the handshake may take.
    pub handshake_timeout: Duration,
    /// How long the upstream may take nothing of what the client sends.
    pub write_timeout: Duration,
    /// Who wants to know of frames and messages.
    pub watcher: Option<Arc<dyn Watcher>>,
    /// How the session is treated.
    pub settings: Arc<Settings>,
    /// TLS, and the name that the upstream's certificate must bear.
    pub tls: Option<(Arc<ClientConfig>, String)>,
    /// The key of the handshake that the gateway does itself, for a client that came by HTTP/2
    /// (RFC 8441).
    pub bridge: Option<Box<str>>,
}

impl TunnelConnector {
    async fn secure(&self, stream: Socket, config: &Arc<ClientConfig>, name: &str) -> Result<Wire> {
        let name = ServerName::try_from(name.to_owned()).map_err(|error| {
            Error::because(ErrorType::TLSHandshakeFailure, name.to_owned(), error)
        })?;
        let handshake = TlsConnector::from(Arc::clone(config)).connect(name, stream);
        match tokio::time::timeout(self.tls_timeout, handshake).await {
            Ok(Ok(stream)) => Ok(Wire::Secured(Box::new(stream))),
            Ok(Err(error)) => Err(Error::because(ErrorType::TLSHandshakeFailure, "TLS", error)),
            Err(elapsed) => Err(Error::because(ErrorType::TLSHandshakeTimedout, "TLS", elapsed)),
        }
    }
}

#[async_trait]
impl Connect for TunnelConnector {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let stream = dial(address, self.connect_timeout).await?;
        let wire = match &self.tls {
            None => Wire::Plain(stream),
            Some((config, name)) => self.secure(stream, config, name).await?,
        };
        let (session, settings) = (Arc::clone(&self.session), Arc::clone(&self.settings));
        let watcher = self.watcher.clone();
        let (handshake, write) = (self.handshake_timeout, self.write_timeout);
        let tap = Tap::new(wire, session, settings, watcher, handshake, write);
        Ok(Stream::from(VirtualSocketStream::new(match &self.bridge {
            None => Box::new(tap),
            Some(key) => Box::new(Bridge::new(tap, key.clone())),
        })))
    }
}
