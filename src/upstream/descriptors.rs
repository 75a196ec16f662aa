//! Shares the file descriptors of the process: some are reserved for clients and the admin endpoint, and idle
//! connections to upstreams are closed when descriptors run short. Knows nothing of requests.
//!
//! The kernel assigns the lowest free descriptor. So the number of a new one shows how many are open at least, and nothing
//! needs to be counted.

use atomic_waker::AtomicWaker;
use pingora::{Error, ErrorType, Result};
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

/// The first descriptor that no upstream gets.
static FIRST_RESERVED_FD: AtomicI32 = AtomicI32::new(RawFd::MAX);

/// The first descriptor with which a connection to an upstream may not be idle.
static FIRST_SCARCE_FD: AtomicI32 = AtomicI32::new(RawFd::MAX);

/// The first descriptor with which there is no room for copies of requests.
static FIRST_FD_WITHOUT_COPIES: AtomicI32 = AtomicI32::new(RawFd::MAX);

/// A connection to an upstream that can be closed while it is idle.
trait IdleCloseable: Send + Sync {
    fn is_idle(&self) -> bool;

    /// Whether it is being closed, and not gone yet.
    fn is_closing(&self) -> bool;

    /// Closes the connection if it is idle.
    fn close_if_idle(&self) -> bool;
}

/// The connections to upstreams that may become idle, oldest first.
static CONNECTIONS: Mutex<BTreeMap<u64, Arc<dyn IdleCloseable>>> = Mutex::new(BTreeMap::new());

/// The number of the next connection in [`CONNECTIONS`].
static NEXT_CONNECTION_NUMBER: AtomicU64 = AtomicU64::new(0);

/// Maximum number of times that connecting is retried while idle connections are closed.
const MAX_CONNECT_ATTEMPTS: u32 = 20;
const CLOSING_INTERVAL: Duration = Duration::from_millis(5);

/// Minimum number of idle connections that are closed together.
const MIN_CLOSED_TOGETHER: usize = 16;

/// Sets the limit on open files; `None` for no limit.
pub(crate) fn set_limit(files: Option<u64>) {
    let limit = files.and_then(|files| RawFd::try_from(files).ok()).unwrap_or(RawFd::MAX);
    FIRST_RESERVED_FD.store(limit - (limit / 16).clamp(4, 64).min(limit), Ordering::Relaxed);
    FIRST_SCARCE_FD.store(limit - limit / 4, Ordering::Relaxed);
    FIRST_FD_WITHOUT_COPIES.store(limit / 2, Ordering::Relaxed);
}

/// Whether at least half of the descriptors are free, by the number of this new one: mirrored copies must not use
/// those that requests need.
pub(crate) fn has_room_for_copies(descriptor: RawFd) -> bool {
    descriptor < FIRST_FD_WITHOUT_COPIES.load(Ordering::Relaxed)
}

/// Whether descriptors are scarce, by the number of this new one.
pub(crate) fn is_scarce(descriptor: RawFd) -> bool {
    descriptor >= FIRST_SCARCE_FD.load(Ordering::Relaxed)
}

/// Connects. If no descriptor is free, idle connections are closed first.
///
/// # Errors
/// Those of `connect`, and EMFILE if only descriptors that are reserved for clients are left.
pub(super) async fn connect_with_room<T, F>(
    connect: impl Fn() -> F,
    descriptor: impl Fn(&T) -> RawFd,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut attempts = MAX_CONNECT_ATTEMPTS;
    loop {
        let error = match connect().await {
            Ok(connection)
                if descriptor(&connection) < FIRST_RESERVED_FD.load(Ordering::Relaxed) =>
            {
                return Ok(connection);
            }
            Ok(_) => {
                let error = io::Error::from_raw_os_error(Errno::MFILE.raw_os_error());
                let context = "the remaining file descriptors are reserved for clients";
                Error::because(ErrorType::ConnectError, context, error)
            }
            Err(error) if is_out_of_files(&error) => error,
            Err(error) => return Err(error),
        };
        if attempts == 0 || close_idle() == 0 {
            return Err(error);
        }
        attempts -= 1;
        tokio::time::sleep(CLOSING_INTERVAL).await;
    }
}

/// Whether the process has reached its limit on open files.
pub(crate) fn is_out_of_files(error: &Error) -> bool {
    error.root_cause().downcast_ref::<io::Error>().is_some_and(is_out_of_descriptors)
}

/// Whether an I/O error means that the process or the system has reached its limit on open files.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|errno| {
        [Errno::MFILE, Errno::NFILE].contains(&Errno::from_raw_os_error(errno))
    })
}

/// Closes the oldest quarter of the idle connections to upstreams; returns their number.
pub(crate) fn close_idle() -> usize {
    let connections = connections();
    let closing = connections.values().filter(|it| it.is_closing()).count();
    let count = connections.values().filter(|it| it.is_idle()).count();
    let count = (count / 4).max(MIN_CLOSED_TOGETHER).saturating_sub(closing);
    closing + connections.values().filter(|it| it.close_if_idle()).take(count).count()
}

fn connections() -> MutexGuard<'static, BTreeMap<u64, Arc<dyn IdleCloseable>>> {
    CONNECTIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection's entry in [`CONNECTIONS`], removed at drop.
#[derive(Debug)]
struct ConnectionEntry(u64);

impl ConnectionEntry {
    fn new(connection: Arc<dyn IdleCloseable>) -> Self {
        let number = NEXT_CONNECTION_NUMBER.fetch_add(1, Ordering::Relaxed);
        connections().insert(number, connection);
        Self(number)
    }
}

impl Drop for ConnectionEntry {
    fn drop(&mut self) {
        connections().remove(&self.0);
    }
}

const BUSY: u8 = 0;
const IDLE: u8 = 1;
const CLOSING: u8 = 2;

/// Whether a connection is in use, idle or being closed.
#[derive(Debug, Default)]
struct ConnectionUse {
    state: AtomicU8,
    waker: AtomicWaker,
}

impl IdleCloseable for ConnectionUse {
    fn is_idle(&self) -> bool {
        self.state.load(Ordering::Relaxed) == IDLE
    }

    fn is_closing(&self) -> bool {
        self.state.load(Ordering::Relaxed) == CLOSING
    }

    fn close_if_idle(&self) -> bool {
        let closes =
            self.state.compare_exchange(IDLE, CLOSING, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if closes {
            self.waker.wake();
        }
        closes
    }
}

/// What an idle connection and this registry tell each other.
#[derive(Debug)]
pub(super) struct IdleWatch {
    state: Arc<ConnectionUse>,
    _entry: ConnectionEntry,
}

impl IdleWatch {
    /// For a connection that is in use.
    pub(super) fn new() -> Self {
        let idleness = Arc::new(ConnectionUse::default());
        Self { _entry: ConnectionEntry::new(idleness.clone()), state: idleness }
    }

    /// The connection is idle; whether it may be. The waker is woken when it may be no more.
    pub(super) fn try_idle(&self, descriptor: RawFd, waker: &Waker) -> bool {
        let state = &self.state.state;
        if is_scarce(descriptor) || state.load(Ordering::Relaxed) == CLOSING {
            return false;
        }
        self.state.waker.register(waker);
        let idle = state.compare_exchange(BUSY, IDLE, Ordering::AcqRel, Ordering::Acquire);
        idle != Err(CLOSING)
    }

    /// The connection is in use.
    pub(super) fn mark_busy(&self) {
        if self.state.state.load(Ordering::Relaxed) != BUSY {
            self.state.state.store(BUSY, Ordering::Relaxed);
        }
    }
}

/// The requests in flight on a connection that several share, as over HTTP/2. Pingora's pool keeps
/// such a connection by itself, so it is closed by a second handle of its socket.
#[derive(Debug)]
pub(super) struct SharedConnection {
    uses: Arc<RequestCount>,
    _entry: ConnectionEntry,
}

#[derive(Debug)]
struct RequestCount {
    socket: OwnedFd,
    /// How many requests are in flight; [`UNUSED`] until the first, [`CLOSED`] after the last.
    count: AtomicUsize,
}

const UNUSED: usize = 1 << (usize::BITS - 1);
const CLOSED: usize = 1 << (usize::BITS - 2);

impl SharedConnection {
    /// For a new connection, by a second handle of its socket.
    pub(super) fn new(socket: OwnedFd) -> Self {
        let uses = Arc::new(RequestCount { socket, count: AtomicUsize::new(UNUSED) });
        Self { _entry: ConnectionEntry::new(uses.clone()), uses }
    }

    /// A request uses it; `None` when it is being closed.
    pub(super) fn start_request(&self) -> Option<UseGuard> {
        let begin = |count| match count {
            CLOSED => None,
            UNUSED => Some(1),
            count => Some(count + 1),
        };
        self.uses.count.fetch_update(Ordering::AcqRel, Ordering::Relaxed, begin).ok()?;
        Some(UseGuard(Arc::clone(&self.uses)))
    }
}

impl IdleCloseable for RequestCount {
    fn is_idle(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    fn is_closing(&self) -> bool {
        self.count.load(Ordering::Relaxed) == CLOSED
    }

    fn close_if_idle(&self) -> bool {
        let closes =
            self.count.compare_exchange(0, CLOSED, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if closes {
            // It may be at its end already.
            let _ = shutdown(&self.socket, Shutdown::Both);
        }
        closes
    }
}

/// A request in flight on a connection that several share.
#[derive(Debug)]
pub(crate) struct UseGuard(Arc<RequestCount>);

impl Drop for UseGuard {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::AcqRel);
        if is_scarce(self.0.socket.as_raw_fd()) {
            self.0.close_if_idle();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_connection_is_closed_only_when_unused() {
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let shared = SharedConnection::new(socket.into());
        assert!(!shared.uses.close_if_idle(), "its first request comes");
        let (one, other) = (shared.start_request().unwrap(), shared.start_request().unwrap());
        drop(one);
        assert!(!shared.uses.close_if_idle(), "another uses it");
        drop(other);
        assert!(shared.uses.close_if_idle());
        assert!(shared.start_request().is_none(), "it is refused");
        assert!(!shared.uses.close_if_idle());
    }

    #[test]
    fn connection_is_closed_only_when_idle() {
        let watch = IdleWatch::new();
        assert!(!watch.state.close_if_idle(), "it is in use");
        assert!(watch.try_idle(3, Waker::noop()));
        assert!(watch.state.close_if_idle());
        assert!(!watch.try_idle(3, Waker::noop()), "the connection is being closed");
        watch.mark_busy();
        assert!(watch.try_idle(3, Waker::noop()), "it was taken before it was closed");
    }
}
