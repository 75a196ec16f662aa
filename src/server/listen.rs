//! Binds the listeners, or takes those of the process before. Accepts nothing.

use super::RunError;
use super::handover::InheritedListeners;
use super::socket::{Socket, UnixSocketFiles};
use tidegate_http::address::Address;

/// Takes or binds all listeners or none. Pingora would bind them itself, but it tries for half a
/// minute and then panics when a port is in use.
pub(super) fn take_or_bind_all(
    addresses: impl IntoIterator<Item = (Address, u32)>,
    taken: &mut Option<InheritedListeners>,
) -> Result<Vec<(Address, Socket)>, RunError> {
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
                return Err(RunError::Listen { address, source: error });
            }
        }
    }
    Ok(bound)
}
