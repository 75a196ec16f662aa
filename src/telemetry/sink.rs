//! The destination of access log lines: a file or stdout, behind a queue that never blocks a request. It
//! knows nothing of what a line says.

use super::RecentLines;
use super::writer::{LineObserver, Writer, WriterOptions};
use crate::rate_limited_log::RateLimitedLog;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Maximum number of lines that wait for the writer: some 6 MiB for lines of 400 bytes.
const MAX_QUEUED_LINES: usize = 16_384;

/// How long lines may gather before they are written together.
const GATHER_INTERVAL: Duration = Duration::from_millis(5);

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogTarget {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to.
    File(PathBuf),
}

impl fmt::Display for LogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::Stderr => f.write_str("stderr"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// Writes lines in a thread of its own. Whoever has a line never waits: what the queue can't
/// take is dropped and counted, and so is what a full disk can't take.
#[derive(Debug)]
pub(crate) struct LineSink {
    target: LogTarget,
    writer: Writer,
    recent: Arc<RecentLines>,
}

impl LineSink {
    /// Opens the target and starts the writer.
    pub(crate) fn open(target: LogTarget) -> io::Result<Self> {
        let recent = Arc::new(RecentLines::default());
        let observer = AccessLogObserver {
            target: target.clone(),
            recent: Arc::clone(&recent),
            failure_log: RateLimitedLog::default(),
            is_logged: false,
        };
        let options =
            WriterOptions { name: "access-log", queue: MAX_QUEUED_LINES, gather: GATHER_INTERVAL };
        let writer = Writer::start(target.clone(), options, observer)?;
        Ok(Self { target, writer, recent })
    }

    /// Where the lines go.
    pub(crate) fn target(&self) -> &LogTarget {
        &self.target
    }

    /// The lines that were written last.
    pub(crate) fn recent_lines(&self) -> &RecentLines {
        &self.recent
    }

    /// Lines that the queue could not take, for the writer is too slow.
    pub(crate) fn dropped_lines(&self) -> u64 {
        self.writer.lost.dropped.load(Ordering::Relaxed)
    }

    /// Lines that the target could not take: a full disk, a closed pipe.
    pub(crate) fn unwritten_lines(&self) -> u64 {
        self.writer.lost.unwritten.load(Ordering::Relaxed)
    }

    /// Hands over a line, its line feed included.
    pub(crate) fn write(&self, line: Vec<u8>) {
        if !self.writer.write(line) {
            // Now and then only: the gateway's own log must not drown as well.
            let dropped = self.dropped_lines();
            if dropped.is_power_of_two() {
                ::log::warn!(
                    "access log: {dropped} lines dropped so far, because they come faster than \
                     they can be written"
                );
            }
        }
    }

    /// Opens a file again under its name, for it may have been rotated. It does not wait.
    pub(crate) fn reopen(&self) {
        self.writer.reopen();
    }

    /// Waits until all lines handed over so far are written, but no longer than `bound`.
    pub(crate) fn flush(&self, bound: Duration) {
        if !self.writer.flush(bound) {
            ::log::warn!(
                "access log: writing to {} is blocked; the last lines are lost",
                self.target
            );
        }
    }
}

struct AccessLogObserver {
    target: LogTarget,
    recent: Arc<RecentLines>,
    failure_log: RateLimitedLog,
    /// Whether the failure that lasts was logged.
    is_logged: bool,
}

impl LineObserver for AccessLogObserver {
    fn lines_written(&mut self, text: &[u8], lines: usize) {
        self.recent.add(text, lines);
    }

    fn failed(&mut self, error: &io::Error) {
        self.is_logged = self.failure_log.should_log();
        if self.is_logged {
            ::log::error!(
                "access log: cannot write to {}: {error}; lines are lost until writing succeeds \
                 again",
                self.target
            );
        }
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.is_logged) {
            ::log::info!("access log: writing to {} succeeds again", self.target);
        }
    }

    fn not_reopened(&mut self, error: &io::Error) {
        ::log::error!(
            "access log: cannot reopen {}: {error}; lines go to the file that was open before",
            self.target
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(10);

    #[test]
    fn sink_writes_to_the_new_file_after_a_rotation() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("access.log");
        let sink = LineSink::open(LogTarget::File(path.clone())).expect("sink");
        sink.write(b"one\n".to_vec());
        sink.flush(BOUND);
        std::fs::rename(&path, folder.path().join("access.log.1")).expect("rotate");
        sink.reopen();
        sink.write(b"two\n".to_vec());
        sink.flush(BOUND);
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect(name);
        assert_eq!(
            (read("access.log.1").as_str(), read("access.log").as_str()),
            ("one\n", "two\n")
        );
    }

    #[test]
    fn lines_lost_to_a_full_disk_are_counted() {
        let sink = LineSink::open(LogTarget::File("/dev/full".into())).expect("sink");
        sink.write(b"one\n".to_vec());
        sink.write(b"two\n".to_vec());
        sink.flush(BOUND);
        assert_eq!((sink.unwritten_lines(), sink.dropped_lines()), (2, 0));
    }
}
