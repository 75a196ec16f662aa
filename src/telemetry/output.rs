//! Where log lines are written, and what happens to lines that cannot be written. Knows nothing of what a line says.

use super::LogTarget;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use tidegate_disk::{open_log, set_append_mode};

/// The pause before a write is retried on a descriptor that another process has made non-blocking.
const RETRY_INTERVAL: Duration = Duration::from_millis(5);

/// Keeps lines of two logs apart that go to stderr from two threads.
static STDERR_LOCK: Mutex<()> = Mutex::new(());

/// What lines are written to, without Rust's locks and buffers around it: a write that nobody
/// takes must hold up its own thread and no other.
#[derive(Debug)]
pub(super) struct Output {
    file: File,
    is_stderr: bool,
    /// The last line is cut short: the next write begins with a line feed.
    is_cut: bool,
}

/// What could not be written.
#[derive(Debug)]
pub(super) struct WriteFailure {
    pub(super) error: io::Error,
    /// Lines that are not there, the one that was cut short included.
    pub(super) lines: u64,
}

impl Output {
    pub(super) fn open(target: &LogTarget) -> io::Result<Self> {
        let (file, is_stderr) = match target {
            LogTarget::Stdout => (duplicate(io::stdout().as_fd())?, false),
            LogTarget::Stderr => (duplicate(io::stderr().as_fd())?, true),
            LogTarget::File(path) => (open_log(path)?, false),
        };
        let is_cut = matches!(target, LogTarget::File(_)) && ends_inside_a_line(&file);
        Ok(Self { file, is_stderr, is_cut })
    }

    /// Writes whole lines. What a full disk takes of a line only in part is taken back where that
    /// is possible.
    pub(super) fn write(&mut self, lines: &[u8]) -> Result<(), WriteFailure> {
        let _guard =
            self.is_stderr.then(|| STDERR_LOCK.lock().unwrap_or_else(PoisonError::into_inner));
        if self.is_cut && !lines.is_empty() {
            self.write_all(b"\n")
                .map_err(|(_, error)| WriteFailure { error, lines: count(lines) })?;
            self.is_cut = false;
        }
        self.write_all(lines).map_err(|(written, error)| {
            let (there, missing) = lines.split_at(written.min(lines.len()));
            let cut = there.iter().rev().take_while(|byte| **byte != b'\n').count();
            self.is_cut = cut > 0 && self.take_back(cut).is_none();
            WriteFailure { error, lines: count(missing) }
        })
    }

    /// How much of it was written before an error, and the error.
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match self.file.write(rest) {
                Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::sleep(RETRY_INTERVAL);
                }
                Err(error) => return Err((written, error)),
            }
        }
        Ok(())
    }

    /// Removes the last bytes again, unless another process has written since.
    fn take_back(&mut self, count: usize) -> Option<()> {
        let found = self.file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let end = self.file.stream_position().ok().filter(|end| *end == found.len())?;
        self.file.set_len(end.checked_sub(count as u64)?).ok()
    }
}

/// Each line ends with a line feed.
fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn duplicate(descriptor: BorrowedFd<'_>) -> io::Result<File> {
    let file = File::from(descriptor.try_clone_to_owned()?);
    set_append_mode(&file);
    Ok(file)
}

/// A process that was killed, or a full disk, may have left half a line.
fn ends_inside_a_line(file: &File) -> bool {
    let last = || -> io::Result<u8> {
        let mut last = [b'\n'];
        let mut file = file;
        if file.metadata()?.is_file() && file.seek(SeekFrom::End(0))? > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        Ok(last[0])
    };
    last().is_ok_and(|last| last != b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn unfinished_line_of_an_earlier_process_is_ended_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("access.log");
        fs::write(&path, "one\ntw").expect("half a line");
        let mut output = Output::open(&LogTarget::File(path.clone())).expect("opened");
        output.write(b"three\n").expect("written");
        output.write(b"four\n").expect("written");
        assert_eq!(fs::read_to_string(path).expect("read"), "one\ntw\nthree\nfour\n");
    }

    #[test]
    fn partly_written_line_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("access.log");
        let mut output = Output::open(&LogTarget::File(path.clone())).expect("opened");
        output.write(b"one\ntwo\n").expect("written");
        assert_eq!(output.take_back(2), Some(()));
        assert_eq!(fs::read_to_string(&path).expect("read"), "one\ntw");
        // Another process has written since.
        output.write(b"three\n").expect("written");
        fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .and_then(|mut other| other.write_all(b"four\n"))
            .expect("written");
        assert_eq!(output.take_back(2), None);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let mut output = Output::open(&LogTarget::File("/dev/full".into())).expect("opened");
        let lost = output.write(b"one\ntwo\n").expect_err("no space");
        assert_eq!((lost.lines, lost.error.kind()), (2, io::ErrorKind::StorageFull));
    }
}
