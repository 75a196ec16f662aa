//! Sockets to upstreams that the gateway opens itself: with a time of their own for connecting,
//! and so that they can be cut off from outside.

use super::descriptors::connect_with_room;
use async_trait::async_trait;
use pingora::connectors::l4::Connect;
use pingora::http::ResponseHeader;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{Digest, GetProxyDigest};
use pingora::{Error, ErrorType, Result};
use rustix::net::{Shutdown, shutdown};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::error::Elapsed;
use tokio_util::either::Either;

/// A socket of TCP, or a Unix domain socket.
pub type Socket = Either<TcpStream, UnixStream>;

/// Connects to this address.
///
/// # Errors
/// When there is no connection within `time`.
pub async fn dial(address: &SocketAddr, time: Duration) -> Result<Socket> {
    let descriptor = |socket: &Socket| match socket {
        Socket::Left(socket) => socket.as_raw_fd(),
        Socket::Right(socket) => socket.as_raw_fd(),
    };
    connect_with_room(|| dial_once(address, time), descriptor).await
}

async fn dial_once(address: &SocketAddr, time: Duration) -> Result<Socket> {
    let connecting = async {
        match address {
            SocketAddr::Inet(address) => TcpStream::connect(address).await.map(Socket::Left),
            SocketAddr::Unix(address) => match address.as_pathname() {
                Some(path) => UnixStream::connect(path).await.map(Socket::Right),
                None => Err(ErrorKind::InvalidInput.into()),
            },
        }
    };
    match tokio::time::timeout(time, connecting).await {
        Ok(connected) => connected.map_err(|error| failed(address, error)),
        Err(elapsed) => {
            Err(Error::because(ErrorType::ConnectTimedout, address.to_string(), elapsed))
        }
    }
}

fn failed(address: &SocketAddr, error: io::Error) -> Box<Error> {
    let kind = match error.kind() {
        ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => ErrorType::ConnectNoRoute,
        ErrorKind::TimedOut => ErrorType::ConnectTimedout,
        _ => ErrorType::ConnectError,
    };
    Error::because(kind, address.to_string(), error)
}

/// Whether this error is [`dial`]'s, and not what came when there was a connection.
pub fn is_of_dial(error: &Error) -> bool {
    let cause = error.cause.as_deref();
    cause.is_some_and(|cause| cause.is::<Elapsed>() || cause.is::<io::Error>())
}

/// Connects in Pingora's place (`PeerOptions.custom_l4`), whose one time is for the TLS handshake
/// as well.
#[derive(Debug)]
pub struct Dialer {
    /// How long connecting may take.
    pub time: Duration,
    /// Whether a [`Line`] is kept.
    pub keeps_line: bool,
}

/// A second handle of a connection, by which it can be cut off whoever reads from it. It costs a
/// file.
#[derive(Debug)]
pub struct Line(OwnedFd);

impl Line {
    /// That of a connection which a [`Dialer`] has made.
    pub fn of(digest: &Digest) -> Option<Arc<Self>> {
        let data = digest.proxy_digest.as_ref()?.user_data.as_ref()?;
        data.downcast_ref::<Arc<Self>>().cloned()
    }

    /// Ends the connection in both directions: who reads from it finds its end.
    pub fn cut(&self) {
        // It may be at its end already.
        let _ = shutdown(&self.0, Shutdown::Both);
    }
}

#[async_trait]
impl Connect for Dialer {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let socket = dial(address, self.time).await?;
        let line = match (self.keeps_line, &socket) {
            (false, _) => None,
            (true, Socket::Left(socket)) => Some(socket.as_fd().try_clone_to_owned()),
            (true, Socket::Right(socket)) => Some(socket.as_fd().try_clone_to_owned()),
        };
        let line = line.transpose().map_err(|error| failed(address, error))?;
        let mut stream = match socket {
            Socket::Left(socket) => Stream::from(socket),
            Socket::Right(socket) => Stream::from(socket),
        };
        if let Some(line) = line {
            // The one place of a digest where Pingora carries something for others, from the
            // connection to each of its requests.
            let response = Box::new(ResponseHeader::build(200, Some(0))?);
            let data = Box::new(Arc::new(Line(line)));
            stream.set_proxy_digest(ProxyDigest::new(response, Some(data)));
        }
        Ok(stream)
    }
}
