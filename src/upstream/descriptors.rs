//! The files that the process may open: some are kept for clients and for the admin endpoint, and
//! idle connections to upstreams give theirs back when they run short.
//!
//! The kernel gives out the lowest descriptor that is free. So the number of a new one tells how
//! many are open at least, and nothing needs to be counted.

use atomic_waker::AtomicWaker;
use pingora::{Error, ErrorType, Result};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

/// The first descriptor that no upstream gets.
static RESERVED_FROM: AtomicI32 = AtomicI32::new(RawFd::MAX);

/// The first descriptor with which a connection to an upstream may not be idle.
static SCARCE_FROM: AtomicI32 = AtomicI32::new(RawFd::MAX);

/// The first descriptor with which there is no room for copies of requests.
static NO_COPIES_FROM: AtomicI32 = AtomicI32::new(RawFd::MAX);

/// The connections to upstreams that may become idle, oldest first.
static CONNECTIONS: Mutex<BTreeMap<u64, Arc<Idleness>>> = Mutex::new(BTreeMap::new());

static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// How often connecting is tried again while idle connections are closed, and after how long.
const ATTEMPTS: u32 = 20;
const CLOSING_INTERVAL: Duration = Duration::from_millis(5);

/// How many idle connections are closed together, at least.
const CLOSED_TOGETHER: usize = 16;

/// The process may open so many files; `None` is without limit.
pub fn set_limit(files: Option<u64>) {
    let limit = files.and_then(|files| RawFd::try_from(files).ok()).unwrap_or(RawFd::MAX);
    RESERVED_FROM.store(limit - (limit / 16).clamp(4, 64).min(limit), Ordering::Relaxed);
    SCARCE_FROM.store(limit - limit / 4, Ordering::Relaxed);
    NO_COPIES_FROM.store(limit / 2, Ordering::Relaxed);
}

/// Whether half of the descriptors are free at least, as this new one tells: copies of requests must not
/// take those that requests need.
pub fn has_room_for_copies(descriptor: RawFd) -> bool {
    descriptor < NO_COPIES_FROM.load(Ordering::Relaxed)
}

/// Whether descriptors are scarce, as this new one tells.
pub fn is_scarce(descriptor: RawFd) -> bool {
    descriptor >= SCARCE_FROM.load(Ordering::Relaxed)
}

/// Connects. Where the process has no file for it, idle connections are closed first.
///
/// # Errors
/// Those of `connect`; EMFILE too where a file would be one of those that are kept for clients.
pub async fn connect_with_room<T, F>(
    connect: impl Fn() -> F,
    descriptor: impl Fn(&T) -> RawFd,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut attempts = ATTEMPTS;
    loop {
        let error = match connect().await {
            Ok(connection) if descriptor(&connection) < RESERVED_FROM.load(Ordering::Relaxed) => {
                return Ok(connection);
            }
            Ok(_) => {
                let error = io::Error::from_raw_os_error(Errno::MFILE.raw_os_error());
                let context = "the files that are left are kept for clients";
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

/// Whether the process may open no more files, and thus no more connections.
pub fn is_out_of_files(error: &Error) -> bool {
    error.root_cause().downcast_ref::<io::Error>().is_some_and(is_out_of_descriptors)
}

/// The same of what opened a file.
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|errno| {
        [Errno::MFILE, Errno::NFILE].contains(&Errno::from_raw_os_error(errno))
    })
}

/// Closes a quarter of the idle connections to upstreams, those that were opened first. Returns
/// how many are being closed.
pub fn close_idle() -> usize {
    let connections = connections();
    let of = |state| move |it: &&Arc<Idleness>| it.state.load(Ordering::Relaxed) == state;
    let closing = connections.values().filter(of(CLOSING)).count();
    let count = connections.values().filter(of(IDLE)).count();
    let count = (count / 4).max(CLOSED_TOGETHER).saturating_sub(closing);
    let idle = connections.values().filter(of(IDLE));
    closing + idle.filter(|it| it.close()).take(count).count()
}

fn connections() -> MutexGuard<'static, BTreeMap<u64, Arc<Idleness>>> {
    CONNECTIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

const BUSY: u8 = 0;
const IDLE: u8 = 1;
const CLOSING: u8 = 2;

/// Whether a connection is idle.
#[derive(Debug, Default)]
struct Idleness {
    state: AtomicU8,
    waker: AtomicWaker,
}

impl Idleness {
    /// Ends the connection if it is idle.
    fn close(&self) -> bool {
        let closes =
            self.state.compare_exchange(IDLE, CLOSING, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if closes {
            self.waker.wake();
        }
        closes
    }
}

/// What a connection to an upstream tells of itself, and is told, while it is idle.
#[derive(Debug)]
pub(super) struct IdleWatch {
    number: u64,
    idleness: Arc<Idleness>,
}

impl IdleWatch {
    /// For a connection that is in use.
    pub(super) fn new() -> Self {
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let idleness = Arc::new(Idleness::default());
        connections().insert(number, Arc::clone(&idleness));
        Self { number, idleness }
    }

    /// The connection is idle; whether it may be. The waker is woken when it may be no more.
    pub(super) fn rest(&self, descriptor: RawFd, waker: &Waker) -> bool {
        let state = &self.idleness.state;
        if is_scarce(descriptor) || state.load(Ordering::Relaxed) == CLOSING {
            return false;
        }
        self.idleness.waker.register(waker);
        let idle = state.compare_exchange(BUSY, IDLE, Ordering::AcqRel, Ordering::Acquire);
        idle != Err(CLOSING)
    }

    /// The connection is in use.
    pub(super) fn work(&self) {
        if self.idleness.state.load(Ordering::Relaxed) != BUSY {
            self.idleness.state.store(BUSY, Ordering::Relaxed);
        }
    }
}

impl Drop for IdleWatch {
    fn drop(&mut self) {
        connections().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_idle_connection_is_closed() {
        let watch = IdleWatch::new();
        assert!(!watch.idleness.close(), "it is in use");
        assert!(watch.rest(3, Waker::noop()));
        assert!(watch.idleness.close());
        assert!(!watch.rest(3, Waker::noop()), "it is told so");
        watch.work();
        assert!(watch.rest(3, Waker::noop()), "it was taken before it was closed");
    }
}
