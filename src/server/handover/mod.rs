//! Hands the listening sockets over to the next process. Knows nothing of configurations and requests.
//!
//! At SIGQUIT the old process, the *donor*, sends its sockets with their addresses over a Unix socket that the new one,
//! the *receiver*, has bound (Pingora's `pingora::server::Fds`). Pingora then waits five seconds and exits, whether or
//! not the new process serves. Here a second Unix socket, the donor's *control socket*, answers that: a receiver that
//! has the sockets connects to it, and writes a byte once it serves. If the connection ends before that, the receiver
//! has failed, and the donor continues.

mod donor;
mod handover_socket;
mod receiver;
mod running;

use std::time::Duration;

pub(super) use donor::ListenerDonor;
pub(crate) use handover_socket::HandoverSocket;
pub(super) use receiver::InheritedListeners;
pub(crate) use running::{RunningAdmin, RunningGateway, query_running};

/// The receiver's byte at the control socket once it has the sockets.
const RECEIVED: u8 = b't';

/// The byte by which a command asks for the admin endpoint's address and token.
const ASK_ADMIN: u8 = b'a';

/// The byte by which a receiver asks for the logins that were revoked.
const ASK_REVOCATIONS: u8 = b'v';

/// The receiver's byte once it serves.
const READY: u8 = b'r';

/// How long the other gateway may take to send its sockets, or to say that it has them.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum number of sockets in Pingora's message.
const MAX_SOCKETS: usize = 32;

/// Maximum length of their addresses in it.
const MAX_ADDRESSES_BYTES: usize = 2048;
