//! The gateway's own log, on stderr. Knows nothing of requests.

use super::LogTarget;
use super::escape::EscapedLines;
use super::json::JsonObject;
use super::keys;
use super::writer::{LineObserver, LostLines, Writer, WriterOptions};
use crate::rate_limited_log::RateLimitedLog;
use log::{Level, LevelFilter, Record};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, OnceLock};
use std::time::{Duration, SystemTime};

/// The log target of Pingora's accept loop.
const PINGORA_ACCEPT_TARGET: &str = "pingora_core::services::listening";

/// Limits the log lines about connections that could not be accepted for lack of file descriptors.
static OUT_OF_FILES_LOG: LazyLock<RateLimitedLog> = LazyLock::new(RateLimitedLog::default);

/// Whether this is the log of the process; a program around the gateway may have its own.
static IS_OURS: AtomicBool = AtomicBool::new(false);

/// Whether the lines are JSON.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Maximum number of lines that wait for the writer.
const MAX_QUEUED_LINES: usize = 4096;

/// What writes the lines, once the log has started.
static WRITER: OnceLock<Writer> = OnceLock::new();

/// Starts the log, as text at level `info`, until the configuration says otherwise.
pub(crate) fn start() {
    if WRITER.get().is_none() {
        let options =
            WriterOptions { name: "log", queue: MAX_QUEUED_LINES, gather: Duration::ZERO };
        if let Ok(writer) = Writer::start(LogTarget::Stderr, options, OwnLog::default()) {
            let _ = WRITER.set(writer);
        }
    }
    let target = match WRITER.get() {
        // A stderr that is not read must block only its own thread.
        Some(writer) => env_logger::Target::Pipe(Box::new(QueuedLog(writer))),
        None => env_logger::Target::Stderr,
    };
    let started = env_logger::Builder::new()
        .target(target)
        // How much of ours is written is decided by `set` alone, for it can change while we run.
        .filter_module("tidegate", LevelFilter::Trace)
        // Pingora logs whole requests at `debug`, with their secrets.
        .filter_level(LevelFilter::Warn)
        // Pingora then opens a new connection, so this is harmless.
        .filter_module("pingora_core::connectors", LevelFilter::Off)
        // Clients can cause these lines as often as they like.
        .filter_module("h2", LevelFilter::Off)
        // It logs a client disconnect as an error; the access log has what the cache did.
        .filter_module("pingora_proxy::proxy_cache", LevelFilter::Off)
        // It warns about a missing dictionary that it does not need.
        .filter_module("pingora_cache::meta", LevelFilter::Off)
        .format(|out, record| {
            // It repeats each second while the process lacks descriptors.
            if record.target() == PINGORA_ACCEPT_TARGET && !OUT_OF_FILES_LOG.should_log() {
                return Ok(());
            }
            write_line(out, record)
        })
        .try_init();
    if started.is_ok() {
        IS_OURS.store(true, Ordering::Relaxed);
        start_logging(LevelFilter::Info, false);
    }
}

/// Changes level and form at once, if the log of this process is this one.
pub(crate) fn start_logging(level: LevelFilter, json: bool) {
    IS_JSON.store(json, Ordering::Relaxed);
    set_level(level);
}

/// Changes the level at once, if this is the log of the process; returns whether it is.
pub(crate) fn set_level(level: LevelFilter) -> bool {
    let is_ours = IS_OURS.load(Ordering::Relaxed);
    if is_ours {
        log::set_max_level(level);
    }
    is_ours
}

/// Waits until the lines so far are written, but no longer than `bound`.
pub(crate) fn flush(bound: Duration) {
    if let Some(writer) = WRITER.get() {
        writer.flush(bound);
    }
}

/// What the formatter writes a line to, all of it at once.
struct QueuedLog(&'static Writer);

impl Write for QueuedLog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Logs the number of lines that the log itself has lost.
#[derive(Default)]
struct OwnLog {
    reported_dropped: u64,
}

impl LineObserver for OwnLog {
    fn lost_lines_notice(&mut self, lost: &LostLines) -> Option<Vec<u8>> {
        let all = [&lost.dropped, &lost.unwritten].map(|lost| lost.load(Ordering::Relaxed));
        let lines = all.iter().sum::<u64>() - self.reported_dropped;
        if lines == 0 {
            return None;
        }
        self.reported_dropped += lines;
        let mut preface = Vec::new();
        let written = write_line(
            &mut preface,
            &Record::builder()
                .level(Level::Warn)
                .target(module_path!())
                .args(format_args!("{lines} lines of this log are lost: stderr was blocked"))
                .build(),
        );
        written.is_ok().then_some(preface)
    }
}

fn write_line(out: &mut impl Write, record: &Record<'_>) -> io::Result<()> {
    let now = SystemTime::now();
    if IS_JSON.load(Ordering::Relaxed) {
        write_json(out, now, record)
    } else {
        let time = humantime::format_rfc3339_millis(now);
        writeln!(out, "{time} {:<5} {}", record.level(), EscapedLines(record.args()))
    }
}

fn write_json(out: &mut impl Write, time: SystemTime, record: &Record<'_>) -> io::Result<()> {
    let mut line = JsonObject::new(time);
    line.word(keys::LEVEL, &record.level().as_str().to_ascii_lowercase());
    line.text(keys::TARGET, record.target());
    line.text(keys::MESSAGE, &record.args().to_string());
    out.write_all(line.finish().as_bytes())
}
