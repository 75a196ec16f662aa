use super::Recent;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

/// Lines that may wait for the writer. A line of 400 bytes makes that some 6 MiB.
const QUEUE: usize = 16_384;

/// How long lines may gather before they are written together. While the writer rests, a sender
/// has nobody to wake, and so makes no system call.
const GATHER: Duration = Duration::from_millis(5);

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to.
    File(PathBuf),
}

enum Message {
    Line(Vec<u8>),
    /// Open the file again: it has been rotated.
    Reopen,
    /// Write all that came before, then say so.
    Flush(SyncSender<()>),
}

/// Writes lines in a thread of its own. Whoever has a line never waits: what the queue can't
/// take is dropped and counted.
#[derive(Debug)]
pub struct Sink {
    target: Target,
    queue: SyncSender<Message>,
    recent: Arc<Recent>,
    dropped: AtomicU64,
}

impl Sink {
    /// Opens the target and starts the writer.
    pub fn open(target: Target) -> io::Result<Self> {
        let output = Output::open(&target)?;
        let (queue, messages) = sync_channel(QUEUE);
        let thread_target = target.clone();
        let recent = Arc::new(Recent::default());
        let kept = Arc::clone(&recent);
        thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_all(&messages, output, &thread_target, &kept))?;
        Ok(Self { target, queue, recent, dropped: AtomicU64::new(0) })
    }

    /// Where the lines go.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The lines that were written last.
    pub fn recent(&self) -> &Recent {
        &self.recent
    }

    /// Hands over a line, its line feed included.
    pub fn write(&self, line: Vec<u8>) {
        match self.queue.try_send(Message::Line(line)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                // Said aloud now and then only: the gateway's own log must not drown as well.
                let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
                if dropped.is_power_of_two() {
                    ::log::warn!(
                        "access log: {dropped} lines dropped so far, the writer is too slow"
                    );
                }
            }
        }
    }

    /// Opens a file again under its name, for it may have been rotated.
    pub fn reopen(&self) {
        let _ = self.queue.send(Message::Reopen);
    }

    /// Waits until all lines handed over so far are written, but not for ever.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.queue.send(Message::Flush(done)).is_ok() {
            let _ = written.recv_timeout(Duration::from_secs(2));
        }
    }
}

fn write_all(messages: &Receiver<Message>, mut output: Output, target: &Target, recent: &Recent) {
    let mut batch = Vec::with_capacity(64 * 1024);
    let mut lines = Vec::new();
    while let Ok(first) = messages.recv() {
        let mut waiting = Vec::new();
        for message in std::iter::once(first).chain(messages.try_iter()) {
            match message {
                Message::Line(line) => {
                    batch.extend_from_slice(&line);
                    lines.push(line);
                }
                Message::Flush(done) => waiting.push(done),
                Message::Reopen => match Output::open(target) {
                    Ok(reopened) => {
                        output.write(&batch);
                        batch.clear();
                        output = reopened;
                    }
                    Err(error) => ::log::error!("access log {target:?}: {error}"),
                },
            }
        }
        output.write(&batch);
        batch.clear();
        recent.add(lines.drain(..));
        if waiting.is_empty() {
            thread::sleep(GATHER);
        }
        for done in waiting {
            let _ = done.send(());
        }
    }
}

enum Output {
    Stdout(io::Stdout),
    Stderr(io::Stderr),
    File(File),
}

impl Output {
    fn open(target: &Target) -> io::Result<Self> {
        Ok(match target {
            Target::Stdout => Self::Stdout(io::stdout()),
            Target::Stderr => Self::Stderr(io::stderr()),
            Target::File(path) => {
                Self::File(OpenOptions::new().create(true).append(true).open(path)?)
            }
        })
    }

    fn write(&mut self, bytes: &[u8]) {
        let written = match self {
            Self::Stdout(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Self::Stderr(stream) => stream.write_all(bytes),
            Self::File(file) => file.write_all(bytes),
        };
        // A closed pipe or a full disk must not end the gateway.
        if let Err(error) = written {
            ::log::debug!("access log: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_to_a_file_and_to_its_successor_after_a_rotation() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("access.log");
        let sink = Sink::open(Target::File(path.clone())).expect("sink");
        sink.write(b"one\n".to_vec());
        sink.flush();
        std::fs::rename(&path, folder.path().join("access.log.1")).expect("rotate");
        sink.reopen();
        sink.write(b"two\n".to_vec());
        sink.flush();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect(name);
        assert_eq!(
            (read("access.log.1").as_str(), read("access.log").as_str()),
            ("one\n", "two\n")
        );
    }
}
