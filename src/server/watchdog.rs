//! Ends a process that does not stop in time. Knows nothing of what it waits for.

use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// Exit status of a process that the watchdog ended.
const EXIT_STUCK: i32 = 1;

/// Ends the process after a time, unless it is dropped before. It has its own thread, because what blocks the stop may
/// block all others: a file on an unreachable server, a pipe that nobody reads.
pub(super) struct Watchdog {
    _dropped: SyncSender<()>,
}

impl Watchdog {
    /// `None` where there are no more threads.
    pub(super) fn start(after: Duration) -> Option<Self> {
        let (sender, dropped) = sync_channel(0);
        let watch = move || {
            if dropped.recv_timeout(after) == Err(RecvTimeoutError::Timeout) {
                log::error!(
                    "stopping: a blocked thread keeps the gateway running beyond shutdown.grace; \
                     the process exits now"
                );
                crate::telemetry::log::flush(LOG_FLUSH_TIMEOUT);
                std::process::exit(EXIT_STUCK);
            }
        };
        thread::Builder::new().name("watchdog".to_owned()).spawn(watch).ok()?;
        Some(Self { _dropped: sender })
    }
}

/// Maximum time to write the last line to stderr.
const LOG_FLUSH_TIMEOUT: Duration = Duration::from_millis(100);
