use super::bridge::Bridge;
use super::tap::{Tap, Times};
use super::wire::Wire;
use super::{HandshakeTimeout, Session, Settings, Watcher};
use crate::upstream::{Socket, dial};
use async_trait::async_trait;
use pingora::connectors::l4::Connect;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::VirtualSocketStream;
use pingora::{Error, ErrorType, Result};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep_until;
use tokio_rustls::TlsConnector;

/// Connects the upstream end of one WebSocket, with a [`Tap`] on it.
///
/// Pingora asks it by `PeerOptions.custom_l4` and then tunnels natively.
#[derive(Debug)]
pub(crate) struct TunnelConnector {
    /// What the tap tells, and is told.
    pub session: Arc<Session>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long the TLS handshake may take.
    pub tls_timeout: Duration,
    /// How long the answer to the handshake may take.
    pub handshake: HandshakeTimeout,
    /// How long the upstream may send nothing of a refusal that it has begun.
    pub read_timeout: Duration,
    /// How long the upstream may take nothing of what the client sends.
    pub write_timeout: Duration,
    /// Who wants to know of frames and messages.
    pub watcher: Option<Arc<dyn Watcher>>,
    /// How the session is treated.
    pub settings: Arc<Settings>,
    /// TLS, and the name that the upstream's certificate must bear.
    pub tls: Option<Box<(Arc<ClientConfig>, String)>>,
    /// The key of the handshake that the gateway does itself, for a client that came by HTTP/2
    /// (RFC 8441).
    pub bridge: Option<Box<str>>,
}

impl TunnelConnector {
    /// Connects, unless the session is told to end before, or its handshake takes too long.
    async fn establish(&self, address: &SocketAddr) -> Result<Wire> {
        // What bounded the attempt before is over.
        self.session.schedule(None, None);
        let connecting = async {
            let stream = dial(address, self.connect_timeout).await?;
            match self.tls.as_deref() {
                None => Ok(Wire::Plain(stream)),
                Some((config, name)) => self.secure(stream, config, name).await,
            }
        };
        let overdue = async {
            let Some(bound) = self.settings.handshake_bound() else {
                return std::future::pending().await;
            };
            sleep_until((self.session.started + bound.time).into()).await;
            bound
        };
        tokio::select! {
            connected = connecting => connected,
            order = self.session.until_ordered() => {
                Error::e_explain(ErrorType::ConnectionClosed, order.reason.to_string())
            }
            bound = overdue => {
                let (kind, cause) = (ErrorType::ConnectTimedout, io::Error::from(bound));
                Err(Error::because(kind, address.to_string(), cause))
            }
        }
    }

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
        let wire = self.establish(address).await?;
        let (session, settings) = (Arc::clone(&self.session), Arc::clone(&self.settings));
        let watcher = self.watcher.clone();
        let times =
            Times { handshake: self.handshake, read: self.read_timeout, write: self.write_timeout };
        let tap = Tap::new(wire, session, settings, watcher, times);
        Ok(Stream::from(VirtualSocketStream::new(match &self.bridge {
            None => Box::new(tap),
            Some(key) => Box::new(Bridge::new(tap, key.clone())),
        })))
    }
}
