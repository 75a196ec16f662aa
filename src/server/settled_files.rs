//! Decides when a change of files is complete enough to be read: two checks see the same, or a time has passed. Reads
//! no file.

use crate::snapshot::FileFingerprint;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// Maximum time that a file which changes all the time delays edits of other files.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(2);

/// The fingerprints of files; `None` for missing files.
pub(super) type FileFingerprints = BTreeMap<PathBuf, Option<FileFingerprint>>;

/// The fingerprints of the last checks.
#[derive(Default)]
pub(super) struct SettledFiles {
    applied: FileFingerprints,
    seen: FileFingerprints,
    /// Since when they differ from what was applied.
    changed: Option<Instant>,
}

impl SettledFiles {
    /// Whether what is there now is to be read. An edit is read once two looks in a row saw the
    /// same, for a file that is being written must not be applied by half.
    pub(super) fn take_settled_edit(&mut self, now: &FileFingerprints) -> bool {
        let is_quiet = *now == self.seen;
        self.seen.clone_from(now);
        if *now == self.applied {
            self.changed = None;
            return false;
        }
        let changed = *self.changed.get_or_insert_with(Instant::now);
        is_quiet || changed.elapsed() >= SETTLE_TIMEOUT
    }

    /// These were read, good or not.
    pub(super) fn mark_applied(&mut self, now: FileFingerprints) {
        self.applied = now;
        self.changed = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    const RELOAD_CHECK_INTERVAL: Duration = Duration::from_millis(200);

    #[tokio::test(start_paused = true)]
    async fn changing_file_does_not_delay_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let restless = folder.path().join("endpoints");
        let stamps = |text: String| {
            std::fs::write(&restless, text).expect("written");
            FileFingerprints::from([(restless.clone(), FileFingerprint::from_path(&restless))])
        };
        let mut rest = SettledFiles::default();
        let mut reads = 0;
        for look in 0..50 {
            let now = stamps("x".repeat(look));
            if rest.take_settled_edit(&now) {
                reads += 1;
                rest.mark_applied(now);
            }
            advance(RELOAD_CHECK_INTERVAL).await;
        }
        assert!((4..=5).contains(&reads), "{reads} in 10 s");
    }

    #[tokio::test(start_paused = true)]
    async fn change_is_read_once_seen_unchanged_twice() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        std::fs::write(&file, "x").expect("written");
        let now = FileFingerprints::from([(file.clone(), FileFingerprint::from_path(&file))]);
        let mut rest = SettledFiles::default();
        assert_eq!([rest.take_settled_edit(&now), rest.take_settled_edit(&now)], [false, true]);
        rest.mark_applied(now.clone());
        assert_eq!([rest.take_settled_edit(&now), rest.take_settled_edit(&now)], [false, false]);
    }
}
