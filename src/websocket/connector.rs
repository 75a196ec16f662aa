//! Opens the upstream connection of one WebSocket for Pingora. Knows one session and nothing of the registry.

use super::bridge::Bridge;
use super::interceptor::{FrameInterceptor, UpstreamTimeouts};
use super::upstream_stream::UpstreamStream;
use super::{FrameObserver, HandshakeTimeout, Session, WebSocketSettings};
use crate::upstream::{RawSocket, dial};
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

/// Connects the upstream end of one WebSocket, with a [`FrameInterceptor`] on it.
///
/// Pingora asks it by `PeerOptions.custom_l4` and then tunnels natively.
#[derive(Debug)]
pub(crate) struct TunnelConnector {
    /// Its session, which counts frames and carries requests to close it.
    pub session: Arc<Session>,
    /// Maximum time to connect.
    pub connect_timeout: Duration,
    /// Maximum time for the TLS handshake.
    pub tls_timeout: Duration,
    /// Maximum time until the answer to the handshake.
    pub handshake: HandshakeTimeout,
    /// Maximum time between two parts of a refusal.
    pub read_timeout: Duration,
    /// Maximum time for the upstream to take what the client sends.
    pub write_timeout: Duration,
    /// The observer of its frames and messages.
    pub observer: Option<Arc<dyn FrameObserver>>,
    /// The route's settings of its sessions.
    pub settings: Arc<WebSocketSettings>,
    /// TLS, and the name that the upstream's certificate must have.
    pub tls: Option<Box<(Arc<ClientConfig>, String)>>,
    /// The key of the handshake that the gateway makes itself, for a client over HTTP/2 (RFC 8441).
    pub bridge: Option<Box<str>>,
}

impl TunnelConnector {
    /// Connects, unless a request closes the session before, or its handshake takes too long.
    async fn establish(&self, address: &SocketAddr) -> Result<UpstreamStream> {
        // The deadline of an earlier attempt no longer counts.
        self.session.schedule(None, None);
        let connecting = async {
            let stream = dial(address, self.connect_timeout).await?;
            match self.tls.as_deref() {
                None => Ok(UpstreamStream::Plain(stream)),
                Some((config, name)) => self.secure(stream, config, name).await,
            }
        };
        let overdue = async {
            let Some(bound) = self.settings.handshake_timeout() else {
                return std::future::pending().await;
            };
            sleep_until((self.session.started + bound.time).into()).await;
            bound
        };
        tokio::select! {
            connected = connecting => connected,
            request = self.session.close_requested() => {
                Error::e_explain(ErrorType::ConnectionClosed, request.reason.to_string())
            }
            bound = overdue => {
                let (kind, cause) = (ErrorType::ConnectTimedout, io::Error::from(bound));
                Err(Error::because(kind, address.to_string(), cause))
            }
        }
    }

    async fn secure(
        &self,
        stream: RawSocket,
        config: &Arc<ClientConfig>,
        name: &str,
    ) -> Result<UpstreamStream> {
        let name = ServerName::try_from(name.to_owned()).map_err(|error| {
            Error::because(ErrorType::TLSHandshakeFailure, name.to_owned(), error)
        })?;
        let handshake = TlsConnector::from(Arc::clone(config)).connect(name, stream);
        match tokio::time::timeout(self.tls_timeout, handshake).await {
            Ok(Ok(stream)) => Ok(UpstreamStream::Secured(Box::new(stream))),
            Ok(Err(error)) => Err(Error::because(ErrorType::TLSHandshakeFailure, "TLS", error)),
            Err(elapsed) => Err(Error::because(ErrorType::TLSHandshakeTimedout, "TLS", elapsed)),
        }
    }
}

#[async_trait]
impl Connect for TunnelConnector {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let stream = self.establish(address).await?;
        let (session, settings) = (Arc::clone(&self.session), Arc::clone(&self.settings));
        let observer = self.observer.clone();
        let times = UpstreamTimeouts {
            handshake: self.handshake,
            read: self.read_timeout,
            write: self.write_timeout,
        };
        let interceptor = FrameInterceptor::new(stream, session, settings, observer, times);
        Ok(Stream::from(VirtualSocketStream::new(match &self.bridge {
            None => Box::new(interceptor),
            Some(key) => Box::new(Bridge::new(interceptor, key.clone())),
        })))
    }
}
