//! Binds the listeners, or takes those of the process before. Accepts nothing.

use super::handover::InheritedListeners;
use super::socket::{Socket, UnixSocketFiles};
use std::fmt;
use std::io;
use tidegate_http::address::Address;

/// Why the gateway can't start.
#[derive(Debug)]
pub enum StartError {
    /// An address can't be listened on.
    Address(Address, io::Error),
    /// The signals can't be received.
    Signals(io::Error),
    /// The proxy can't be made, which needs loopback for a moment.
    Engine(io::Error),
    /// The gateway that runs does not hand its listeners over.
    Handover(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address, error) if error.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "cannot listen on {address}: the address is in use by another process")
            }
            Self::Address(address, error)
                if error.kind() == io::ErrorKind::PermissionDenied
                    && address.port().is_some_and(|port| port < 1024) =>
            {
                write!(
                    f,
                    "cannot listen on {address}: ports below 1024 need the capability \
                     CAP_NET_BIND_SERVICE; grant it, or use a higher port"
                )
            }
            Self::Address(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Handover(error) => {
                write!(f, "cannot take over from the running gateway: {error}")
            }
            Self::Engine(error) => write!(
                f,
                "cannot start the proxy, which needs a loopback connection to itself: {error}"
            ),
            Self::Signals(error) => write!(f, "cannot install the signal handlers: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Takes or binds all listeners or none. Pingora would bind them itself, but it tries for half a
/// minute and then panics when a port is in use.
pub(super) fn bind(
    addresses: impl IntoIterator<Item = (Address, u32)>,
    taken: &mut Option<InheritedListeners>,
) -> Result<Vec<(Address, Socket)>, StartError> {
    let mut bound = Vec::new();
    for (address, mode) in addresses {
        let handed = taken.as_mut().and_then(|taken| taken.socket(&address));
        match handed.map_or_else(|| Socket::bind(&address, mode), Ok) {
            Ok(socket) => bound.push((address, socket)),
            Err(error) => {
                // The files of those that were handed over are still another's.
                if taken.is_none() {
                    UnixSocketFiles::from_addresses(bound.iter().map(|(address, _)| address))
                        .remove();
                }
                return Err(StartError::Address(address, error));
            }
        }
    }
    Ok(bound)
}
