//! Opens the sockets to upstreams, with a timeout for connecting alone and a handle to cut a connection off. Speaks no
//! protocol on them.

use super::descriptors::{SharedConnection, UseGuard, connect_with_room};
use async_trait::async_trait;
use pingora::connectors::l4::Connect;
use pingora::http::ResponseHeader;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{Digest, GetProxyDigest};
use pingora::{Error, ErrorType, Result};
use rustix::net::{Shutdown, shutdown};
use std::any::Any;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::error::Elapsed;
use tokio_util::either::Either;

/// A TCP or Unix domain socket.
pub(crate) type RawSocket = Either<TcpStream, UnixStream>;

/// Connects to this address.
///
/// # Errors
/// When there is no connection within `time`.
pub(crate) async fn dial(address: &SocketAddr, time: Duration) -> Result<RawSocket> {
    let descriptor = |socket: &RawSocket| match socket {
        RawSocket::Left(socket) => socket.as_raw_fd(),
        RawSocket::Right(socket) => socket.as_raw_fd(),
    };
    connect_with_room(|| dial_once(address, time), descriptor).await
}

async fn dial_once(address: &SocketAddr, time: Duration) -> Result<RawSocket> {
    let connecting = async {
        match address {
            SocketAddr::Inet(address) => TcpStream::connect(address).await.map(RawSocket::Left),
            SocketAddr::Unix(address) => match address.as_pathname() {
                Some(path) => UnixStream::connect(path).await.map(RawSocket::Right),
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

/// Whether this error is from [`dial`], and not from an open connection.
pub(crate) fn is_dial_error(error: &Error) -> bool {
    let cause = error.cause.as_deref();
    cause.is_some_and(|cause| cause.is::<Elapsed>() || cause.is::<io::Error>())
}

/// Connects instead of Pingora (`PeerOptions.custom_l4`), whose single timeout includes the TLS handshake.
#[derive(Debug)]
pub(crate) struct Dialer {
    /// How long connecting may take.
    pub time: Duration,
    /// What second handle of the connection is kept.
    pub handle: SecondHandle,
}

/// A second handle of a connection. It costs a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecondHandle {
    /// None.
    None,
    /// A [`CutOffHandle`].
    CutOff,
    /// One that closes the connection while none of those who share it uses it (see [`begin_use`]).
    Shared,
}

/// A second handle of a connection, which can cut it off while another task reads from it.
#[derive(Debug)]
pub(crate) struct CutOffHandle(OwnedFd);

/// Marks the connection as in use: a shared connection is not closed while the guard lives.
///
/// # Errors
/// When it is being closed.
pub(crate) fn begin_use(digest: Option<&Digest>) -> Result<Option<UseGuard>> {
    let Some(shared) = digest.and_then(user_data::<Arc<SharedConnection>>) else { return Ok(None) };
    let explain = || {
        Error::explain(
            CONNECTION_CLOSING,
            "the idle connection was closed because file descriptors are scarce",
        )
    };
    shared.start_request().map(Some).ok_or_else(explain)
}

/// The error for a connection from the pool that is being closed. Nothing was sent on it.
pub(crate) const CONNECTION_CLOSING: ErrorType = ErrorType::new("UpstreamConnectionClosing");

/// What a [`Dialer`] stored for a connection.
fn user_data<T: 'static>(digest: &Digest) -> Option<&T> {
    digest.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref()
}

impl CutOffHandle {
    /// That of a connection which a [`Dialer`] has made.
    pub(crate) fn from_digest(digest: &Digest) -> Option<Arc<Self>> {
        user_data::<Arc<Self>>(digest).cloned()
    }

    /// Ends the connection in both directions: who reads from it finds its end.
    pub(crate) fn cut(&self) {
        // It may be at its end already.
        let _ = shutdown(&self.0, Shutdown::Both);
    }
}

#[async_trait]
impl Connect for Dialer {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let descriptor = |(socket, handle): &(RawSocket, Option<OwnedFd>)| match (handle, socket) {
            (Some(handle), _) => handle.as_raw_fd(),
            (None, RawSocket::Left(socket)) => socket.as_raw_fd(),
            (None, RawSocket::Right(socket)) => socket.as_raw_fd(),
        };
        let connect = || async {
            let socket = dial_once(address, self.time).await?;
            let handle = match (self.handle, &socket) {
                (SecondHandle::None, _) => None,
                (_, RawSocket::Left(socket)) => Some(socket.as_fd().try_clone_to_owned()),
                (_, RawSocket::Right(socket)) => Some(socket.as_fd().try_clone_to_owned()),
            };
            Ok((socket, handle.transpose().map_err(|error| failed(address, error))?))
        };
        let (socket, handle) = connect_with_room(connect, descriptor).await?;
        let mut stream = match socket {
            RawSocket::Left(socket) => Stream::from(socket),
            RawSocket::Right(socket) => Stream::from(socket),
        };
        if let Some(handle) = handle {
            // The one place of a digest where Pingora carries something for others, from the
            // connection to each of its requests.
            let response = Box::new(ResponseHeader::build(200, Some(0))?);
            let data: Box<dyn Any + Send + Sync> = match self.handle {
                SecondHandle::Shared => Box::new(Arc::new(SharedConnection::new(handle))),
                _ => Box::new(Arc::new(CutOffHandle(handle))),
            };
            stream.set_proxy_digest(ProxyDigest::new(response, Some(data)));
        }
        Ok(stream)
    }
}
