//! `GET /status`: version, uptime, load and health of the gateway in one JSON object. Measures nothing itself.

use super::Admin;
use crate::background::{self, PanickedTaskState};
use serde_json::{Value, json};

pub(super) fn status_json(admin: &Admin) -> Value {
    let current = admin.state.current.load();
    let listeners = admin.state.current.bound_addresses().iter().map(ToString::to_string);
    let panics = background::panics().into_iter().map(|(task, panics)| {
        json!({
            "task": task,
            "count": panics.count,
            "running": panics.state == PanickedTaskState::Running,
            "stopped": panics.state == PanickedTaskState::Stopped,
            "reason": panics.reason,
        })
    });
    json!({
        "software": env!("CARGO_PKG_VERSION"),
        "version": current.number,
        "ready": admin.readiness.is_ready(),
        "draining": admin.state.sessions.is_draining(),
        "uptime_ms": u64::try_from(admin.since.elapsed().as_millis()).unwrap_or(u64::MAX),
        "listeners": listeners.collect::<Vec<_>>(),
        "restart_needed": admin.state.current.restart_needed(),
        "connections": admin.state.connection_limiter.open_connections(),
        "requests_in_flight": admin.state.in_flight.requests(),
        "sessions": admin.state.sessions.count(),
        "panics": panics.collect::<Vec<_>>(),
    })
}
