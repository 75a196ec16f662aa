//! Hands the listening sockets to the gateway that comes after this one.
//!
//! It is Pingora's native upgrade: at SIGQUIT the old process sends its sockets, with their
//! addresses, over a Unix socket that the new one has bound (`pingora::server::Fds`). Pingora
//! then waits five seconds and goes, whatever became of the new process. Here a second Unix
//! socket, the old one's *control socket*, tells it: a new process that has taken the sockets
//! connects to it, and says a byte once it serves. When the connection ends before that, the
//! new one has failed, and the old one goes on.

mod ask;
mod give;
mod place;
mod take;

pub(crate) use ask::{Running, RunningAdmin, ask};
pub(super) use give::Keeper;
pub(crate) use place::Place;
pub(super) use take::Taken;

/// What a new gateway says at the control socket once it has the sockets.
const TOOK: u8 = b't';

/// What a command asks the admin endpoint's address and token with.
const ASK_ADMIN: u8 = b'a';

/// What it says once it serves.
const READY: u8 = b'r';

/// The most sockets that Pingora's message has room for.
const MAX_SOCKETS: usize = 32;

/// The most bytes of their addresses, for the same reason.
const MAX_NAMES: usize = 2048;
