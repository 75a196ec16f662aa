//! A thread that writes log lines, so that no request waits for the output. Knows nothing of what a line says.

use super::LogTarget;
use super::output::Output;
use crate::background;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// The pause before a full queue is retried.
const RETRY_INTERVAL: Duration = Duration::from_millis(5);

enum WriterMessage {
    Line(Vec<u8>),
    /// Reopen the file, because it was rotated.
    Reopen,
    /// Write all earlier lines, then confirm.
    Flush(SyncSender<()>),
}

/// Counters of lost lines, by cause.
#[derive(Debug, Default)]
pub(super) struct LostLines {
    /// Lines lost because the queue was full.
    pub(super) dropped: AtomicU64,
    /// Lines lost because writing failed.
    pub(super) unwritten: AtomicU64,
}

/// How lines are written.
pub(super) struct WriterOptions {
    /// The thread's name.
    pub(super) name: &'static str,
    /// Capacity of the queue, in lines.
    pub(super) queue: usize,
    /// How long lines may gather before they are written together. While the writer rests, a
    /// sender has nobody to wake, and so makes no system call.
    pub(super) gather: Duration,
}

/// Callbacks about the writing, on the writer's thread.
pub(super) trait LineObserver: Send + 'static {
    /// Lines for the output, and their number.
    fn lines_written(&mut self, _text: &[u8], _lines: usize) {}

    /// Lines could not be written.
    fn failed(&mut self, _error: &io::Error) {}

    /// Lines can be written again.
    fn recovered(&mut self) {}

    /// The file could not be reopened; the old one stays in use.
    fn not_reopened(&mut self, _error: &io::Error) {}

    /// The text before the next lines.
    fn lost_lines_notice(&mut self, _lost: &LostLines) -> Option<Vec<u8>> {
        None
    }
}

/// Writes lines in its own thread. No method waits for the output without a limit.
#[derive(Debug)]
pub(super) struct Writer {
    queue: SyncSender<WriterMessage>,
    must_reopen: Arc<AtomicBool>,
    pub(super) lost: Arc<LostLines>,
}

impl Writer {
    /// Opens the target and starts the thread.
    pub(super) fn start(
        target: LogTarget,
        options: WriterOptions,
        observer: impl LineObserver,
    ) -> io::Result<Self> {
        let output = Output::open(&target)?;
        let WriterOptions { name, queue, gather } = options;
        let (queue, messages) = sync_channel(queue);
        let must_reopen = Arc::new(AtomicBool::new(false));
        let lost = Arc::new(LostLines::default());
        let mut thread = WriterThread {
            target,
            output,
            gather,
            observer,
            must_reopen: Arc::clone(&must_reopen),
            lost: Arc::clone(&lost),
            is_failing: false,
        };
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || background::run_restarting(name, || thread.run(&messages)))?;
        Ok(Self { queue, must_reopen, lost })
    }

    /// Queues a line with its line feed; returns whether the queue had room.
    pub(super) fn write(&self, line: Vec<u8>) -> bool {
        let is_taken = self.queue.try_send(WriterMessage::Line(line)).is_ok();
        if !is_taken {
            self.lost.dropped.fetch_add(1, Ordering::Relaxed);
        }
        is_taken
    }

    /// Reopens the file by its name.
    pub(super) fn reopen(&self) {
        if self.queue.try_send(WriterMessage::Reopen).is_err() {
            // Not in its place among the lines, but then the queue is full.
            self.must_reopen.store(true, Ordering::Release);
        }
    }

    /// Waits until all lines handed over so far are written, but no longer than this; whether
    /// they are.
    pub(super) fn flush(&self, bound: Duration) -> bool {
        let deadline = Instant::now() + bound;
        let (done, written) = sync_channel(1);
        let mut message = WriterMessage::Flush(done);
        loop {
            message = match self.queue.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(message)) => message,
            };
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(RETRY_INTERVAL);
        }
        written.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok()
    }
}

/// Lines that are written together.
struct LineBatch {
    text: Vec<u8>,
    lines: usize,
}

struct WriterThread<O> {
    target: LogTarget,
    output: Output,
    gather: Duration,
    observer: O,
    must_reopen: Arc<AtomicBool>,
    lost: Arc<LostLines>,
    is_failing: bool,
}

impl<O: LineObserver> WriterThread<O> {
    fn run(&mut self, messages: &Receiver<WriterMessage>) {
        let mut batch = LineBatch { text: Vec::with_capacity(64 * 1024), lines: 0 };
        while let Ok(first) = messages.recv() {
            let mut waiting = Vec::new();
            if self.must_reopen.swap(false, Ordering::AcqRel) {
                self.reopen();
            }
            for message in std::iter::once(first).chain(messages.try_iter()) {
                match message {
                    WriterMessage::Line(line) => {
                        batch.text.extend_from_slice(&line);
                        batch.lines += 1;
                    }
                    WriterMessage::Flush(done) => waiting.push(done),
                    WriterMessage::Reopen => {
                        self.write(&mut batch);
                        self.reopen();
                    }
                }
            }
            self.write(&mut batch);
            if waiting.is_empty() && !self.gather.is_zero() {
                thread::sleep(self.gather);
            }
            for done in waiting {
                let _ = done.send(());
            }
        }
    }

    fn write(&mut self, batch: &mut LineBatch) {
        if batch.lines == 0 {
            return;
        }
        self.observer.lines_written(&batch.text, batch.lines);
        if let Some(preface) = self.observer.lost_lines_notice(&self.lost) {
            batch.text.splice(..0, preface);
        }
        match self.output.write(&batch.text) {
            Ok(()) if self.is_failing => {
                self.is_failing = false;
                self.observer.recovered();
            }
            Ok(()) => {}
            // A closed pipe or a full disk must not end the gateway.
            Err(lost) => {
                self.lost.unwritten.fetch_add(lost.lines, Ordering::Relaxed);
                if !self.is_failing {
                    self.is_failing = true;
                    self.observer.failed(&lost.error);
                }
            }
        }
        batch.text.clear();
        batch.lines = 0;
    }

    fn reopen(&mut self) {
        match Output::open(&self.target) {
            Ok(output) => self.output = output,
            Err(error) => self.observer.not_reopened(&error),
        }
    }
}
