use super::bridge::Bridge;
use super::tap::Tap;
use super::{Session, Settings, Watcher};
use async_trait::async_trait;
use pingora::connectors::l4::Connect;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::VirtualSocketStream;
use pingora::{Error, ErrorType, Result};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// Connects the upstream end of one WebSocket, with a [`Tap`] on it.
///
/// Pingora asks it by `PeerOptions.custom_l4` and then tunnels natively.
#[derive(Debug)]
pub struct TunnelConnector {
    /// What the tap tells, and is told.
    pub session: Arc<Session>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long the answer to the handshake may take.
    pub handshake_timeout: Duration,
    /// Who wants to know of frames and messages.
    pub watcher: Option<Arc<dyn Watcher>>,
    /// How the session is treated.
    pub settings: Arc<Settings>,
    /// The key of the handshake that the gateway does itself, for a client that came by HTTP/2
    /// (RFC 8441).
    pub bridge: Option<String>,
}

#[async_trait]
impl Connect for TunnelConnector {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let Some(address) = address.as_inet() else {
            return Error::e_explain(ErrorType::ConnectError, "not an internet address");
        };
        let stream = tokio::time::timeout(self.connect_timeout, TcpStream::connect(address))
            .await
            .map_err(|elapsed| {
                Error::because(ErrorType::ConnectTimedout, address.to_string(), elapsed)
            })?
            .map_err(|error| {
                let kind = match error.kind() {
                    ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
                    ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                        ErrorType::ConnectNoRoute
                    }
                    ErrorKind::TimedOut => ErrorType::ConnectTimedout,
                    _ => ErrorType::ConnectError,
                };
                Error::because(kind, address.to_string(), error)
            })?;
        let (session, settings) = (Arc::clone(&self.session), Arc::clone(&self.settings));
        let watcher = self.watcher.clone();
        let tap = Tap::new(stream, session, settings, watcher, self.handshake_timeout);
        Ok(Stream::from(VirtualSocketStream::new(match &self.bridge {
            None => Box::new(tap),
            Some(key) => Box::new(Bridge::new(tap, key.clone())),
        })))
    }
}
