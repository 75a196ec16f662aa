//! The gateway's own log, on stderr.

use super::Alarm;
use log::{LevelFilter, Record};
use std::io::Write;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

/// Where Pingora accepts connections.
const ACCEPT: &str = "pingora_core::services::listening";

static OUT_OF_FILES: LazyLock<Alarm> = LazyLock::new(Alarm::default);

static JSON: AtomicBool = AtomicBool::new(false);

/// Starts the log, as text at level `info`, until the configuration says otherwise.
pub fn start() {
    let started = env_logger::Builder::new()
        // How much of ours is written is decided by `set` alone, for it can change while we run.
        .filter_module("tidegate", LevelFilter::Trace)
        // Pingora and its kin tell whole requests at `debug`, secrets included.
        .filter_level(LevelFilter::Warn)
        // It makes a new connection then, and all is well.
        .filter_module("pingora_core::connectors", LevelFilter::Off)
        // It tells what clients do wrong, as often as they like.
        .filter_module("h2", LevelFilter::Off)
        // It calls a client that leaves an error; what the cache did stands in the access log.
        .filter_module("pingora_proxy::proxy_cache", LevelFilter::Off)
        // It misses a dictionary that it does not need.
        .filter_module("pingora_cache::meta", LevelFilter::Off)
        .format(|out, record| {
            // It is said each second, as long as the process is out of files.
            if record.target() == ACCEPT && !OUT_OF_FILES.ring() {
                return Ok(());
            }
            let time = humantime::format_rfc3339_millis(SystemTime::now());
            if JSON.load(Ordering::Relaxed) {
                write_json(out, &time.to_string(), record)
            } else {
                writeln!(out, "{time} {:<5} {}", record.level(), record.args())
            }
        })
        .try_init();
    if started.is_ok() {
        set(LevelFilter::Info, false);
    }
}

/// Changes level and form, at once.
pub fn set(level: LevelFilter, json: bool) {
    JSON.store(json, Ordering::Relaxed);
    log::set_max_level(level);
}

fn write_json(out: &mut impl Write, time: &str, record: &Record<'_>) -> std::io::Result<()> {
    let line = serde_json::json!({
        "timestamp": time,
        "level": record.level().as_str().to_ascii_lowercase(),
        "target": record.target(),
        "message": record.args().to_string(),
    });
    writeln!(out, "{line}")
}
