//! `GET /logs`, and the level of the gateway's own log. Reads the lines that `telemetry/` keeps in memory, and opens no
//! log file.

use super::{AdminResult, error_result};
use crate::snapshot::Snapshot;
use crate::telemetry::log as own_log;
use http::StatusCode;
use log::LevelFilter;
use serde_json::{Value, json};
use tidegate_http::query;

/// The lines after line number `after`, at most `limit`.
pub(super) fn recent_lines(snapshot: &Snapshot, query: &str) -> AdminResult {
    let number = |name: &str, default: u64| match query::find(query, name).map(|it| it.parse()) {
        None => Ok(default),
        Some(Ok(number)) => Ok(number),
        Some(Err(_)) => error_result(StatusCode::BAD_REQUEST, format!("`{name}` must be a number")),
    };
    let (after, limit) = (number("after", 0)?, number("limit", 200)?);
    let Some(log) = &snapshot.global.access_log else {
        return Ok(json!({"newest": 0, "lines": [], "access_log": false}));
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (newest, lines) = log.sink().recent_lines().lines_after(after, limit);
    Ok(json!({"newest": newest, "lines": lines, "access_log": true}))
}

/// The level of the gateway's own log.
pub(super) fn log_level(snapshot: &Snapshot) -> Value {
    let level_name = |level: LevelFilter| level.as_str().to_ascii_lowercase();
    json!({"level": level_name(log::max_level()), "configured": level_name(snapshot.log.0)})
}

/// Sets the level of the log until the next reload.
pub(super) fn set_log_level(snapshot: &Snapshot, query: &str) -> AdminResult {
    let requested = query::find(query, "level");
    let requested = match requested.as_deref() {
        Some("error") => LevelFilter::Error,
        Some("warn") => LevelFilter::Warn,
        Some("info") => LevelFilter::Info,
        Some("debug") => LevelFilter::Debug,
        Some("trace") => LevelFilter::Trace,
        _ => {
            let reason = "`level` must be one of error, warn, info, debug and trace";
            return error_result(StatusCode::BAD_REQUEST, reason);
        }
    };
    if !own_log::set_level(requested) {
        let reason = "the program around the gateway has a log of its own and sets its level";
        return error_result(StatusCode::CONFLICT, reason);
    }
    Ok(log_level(snapshot))
}
