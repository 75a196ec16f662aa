//! Metrics of reloads: successful and refused ones, and the version in force. Applies nothing.

use super::exposition::{Exposition, MetricKind};
use crate::history::History;
use crate::snapshot::CurrentSnapshot;
use std::time::SystemTime;

pub(super) fn write(to: &mut Exposition, history: &History, current: &CurrentSnapshot) {
    let snapshot = current.load();
    let edits = history.edit_statistics();
    to.family(
        "tidegate_config_version",
        MetricKind::Gauge,
        "Version of the configuration in force.",
    )
    .write_sample(&[], snapshot.number);
    let help = "Edits of the configuration, by whether they took effect.";
    let mut family = to.family("tidegate_config_reloads", MetricKind::Counter, help);
    family.write_sample(&[("result", "applied")], edits.applied);
    family.write_sample(&[("result", "refused")], edits.refused);
    let help = "Whether the newest edit of the configuration took effect.";
    to.family("tidegate_config_last_reload_successful", MetricKind::Gauge, help)
        .write_sample(&[], u8::from(edits.last_succeeded));
    let help = "Changed settings that take effect only after a restart.";
    to.family("tidegate_config_restart_needed", MetricKind::Gauge, help)
        .write_sample(&[], current.restart_needed().len() as u64);
    let since =
        edits.last_edit_time.and_then(|last| last.duration_since(SystemTime::UNIX_EPOCH).ok());
    let help = "Time of the newest attempt to apply an edit; 0 if there was none.";
    to.family("tidegate_config_last_reload_timestamp_seconds", MetricKind::Gauge, help)
        .write_sample(&[], since.unwrap_or_default().as_secs_f64());
}
