//! Metrics of access-log lines that were lost. Knows nothing of what a line says.

use super::exposition::{Exposition, MetricKind};
use crate::snapshot::Snapshot;

pub(super) fn write(to: &mut Exposition, snapshot: &Snapshot) {
    let Some(log) = &snapshot.global.access_log else { return };
    let sink = log.sink();
    let help = "Lines that the access log lost: its queue was full, or they could not be written.";
    let mut family = to.family("tidegate_access_log_lost_lines", MetricKind::Counter, help);
    family.write_sample(&[("cause", "queue_full")], sink.dropped_lines());
    family.write_sample(&[("cause", "unwritable")], sink.unwritten_lines());
}
