use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{IntoRawFd, RawFd};

/// Why the gateway can't start.
#[derive(Debug)]
pub enum BindError {
    /// An address can't be listened on.
    Address(SocketAddr, io::Error),
    /// The signals can't be received.
    Signals(io::Error),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address, error) if error.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "{address} is in use by another process")
            }
            Self::Address(address, error)
                if error.kind() == io::ErrorKind::PermissionDenied && address.port() < 1024 =>
            {
                write!(
                    f,
                    "{address}: ports below 1024 need the capability CAP_NET_BIND_SERVICE, or a \
                     listener on a higher port"
                )
            }
            Self::Address(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Signals(error) => write!(f, "cannot receive signals: {error}"),
        }
    }
}

impl std::error::Error for BindError {}

/// Binds all listeners or none. Pingora would bind them itself, but it tries for half a minute
/// and then panics when a port is in use.
pub(super) fn bind(
    addresses: impl IntoIterator<Item = SocketAddr>,
) -> Result<Vec<RawFd>, BindError> {
    let sockets: Result<Vec<TcpListener>, BindError> = addresses
        .into_iter()
        .map(|address| {
            let bound = TcpListener::bind(address).and_then(|socket| {
                socket.set_nonblocking(true)?;
                Ok(socket)
            });
            bound.map_err(|error| BindError::Address(address, error))
        })
        .collect();
    // Pingora owns and closes them from here on.
    Ok(sockets?.into_iter().map(IntoRawFd::into_raw_fd).collect())
}
