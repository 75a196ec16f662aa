//! The versions of the configuration that took effect: when, why, and what they changed. Applies none of them.

mod order;
mod store;
mod version;

pub(crate) use order::Order;
pub(crate) use version::{Version, VersionCause};

use crate::explain::Difference;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use store::VersionStore;

/// Maximum number of versions that are kept.
const MAX_KEPT_VERSIONS: usize = 20;

/// The files of a configuration with their texts.
pub(crate) type VersionFiles = Vec<(PathBuf, String)>;

/// The last versions, in memory and, if `state_dir` is usable, on disk.
#[derive(Debug, Default)]
pub(crate) struct History {
    inner: Mutex<HistoryState>,
    store: Option<VersionStore>,
}

#[derive(Debug, Default)]
struct HistoryState {
    /// The newest is the last, and the one in force.
    versions: VecDeque<Arc<Version>>,
    applied: u64,
    refused: u64,
    refusal: Option<EditRefusal>,
    last_edit_time: Option<SystemTime>,
}

/// Why the last edit was refused.
#[derive(Debug, Clone)]
pub(crate) struct EditRefusal {
    /// When it was tried.
    pub time: SystemTime,
    /// The problems, as logged.
    pub problems: String,
}

/// Number and result of the configuration edits since the process started.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct EditStatistics {
    /// So many took effect.
    pub applied: u64,
    /// So many did not.
    pub refused: u64,
    /// When the newest was tried.
    pub last_edit_time: Option<SystemTime>,
    /// Whether that one did.
    pub last_succeeded: bool,
}

impl HistoryState {
    /// Whether the guard has left it: each between the version that it went back to and the one
    /// that this made had not proven itself.
    fn is_rejected(&self, number: u64) -> bool {
        self.versions.iter().any(|version| match version.cause {
            VersionCause::Guard { to, .. } => to < number && number < version.number,
            _ => false,
        })
    }
}

impl History {
    /// What is kept in this folder, the gateway's `state_dir`; without one, nothing is.
    /// A gateway of another configuration `file` has another history there. One that `takes_over`
    /// goes on with the history of the gateway before it, which still runs.
    pub(crate) fn open(state_dir: Option<&Path>, file: Option<&Path>, takes_over: bool) -> Self {
        let store = state_dir.and_then(|folder| VersionStore::open(folder, file, takes_over));
        let versions = store.as_ref().map(VersionStore::load).unwrap_or_default();
        let inner = HistoryState { versions, ..HistoryState::default() };
        Self { inner: Mutex::new(inner), store }
    }

    /// Where the versions of this configuration `file` are, as names of folders below `state_dir`.
    pub(crate) fn folder(file: Option<&Path>) -> [String; 2] {
        store::folder(file)
    }

    /// The gateway starts with these files; tells the number of that version, which is known when
    /// the gateway has stopped with it.
    pub(crate) fn record_start(&self, files: VersionFiles) -> u64 {
        let newest = self.inner().versions.back().cloned();
        match newest {
            Some(newest) if newest.files == files => newest.number,
            _ => self.add(VersionCause::Start, Difference::default(), files),
        }
    }

    /// Adds the version that is in force now; returns its number.
    pub(crate) fn add(
        &self,
        cause: VersionCause,
        difference: Difference,
        files: VersionFiles,
    ) -> u64 {
        let mut inner = self.inner();
        let number = inner.versions.back().map_or(1, |newest| newest.number.saturating_add(1));
        let time = SystemTime::now();
        let version = Arc::new(Version { number, time, cause, difference, files });
        inner.versions.push_back(Arc::clone(&version));
        let surplus = inner.versions.len().saturating_sub(MAX_KEPT_VERSIONS);
        let forgotten: Vec<_> = inner.versions.drain(..surplus).collect();
        drop(inner);
        if let Some(store) = &self.store {
            store.write_version(&version);
            forgotten.iter().for_each(|version| store.delete_version(version.number));
        }
        number
    }

    /// Stops writing to the disk, which now belongs to the next process.
    pub(crate) fn release(&self) {
        if let Some(store) = &self.store {
            store.release();
        }
    }

    /// An edit took effect, whether it was another version or not.
    pub(crate) fn record_applied(&self) {
        let mut inner = self.inner();
        inner.applied += 1;
        inner.refusal = None;
        inner.last_edit_time = Some(SystemTime::now());
    }

    /// An edit did not take effect.
    pub(crate) fn record_refused(&self, problems: String) {
        let mut inner = self.inner();
        let time = SystemTime::now();
        inner.refused += 1;
        inner.refusal = Some(EditRefusal { time, problems });
        inner.last_edit_time = Some(time);
    }

    /// All that are kept, the newest last.
    pub(crate) fn versions(&self) -> Vec<Arc<Version>> {
        self.inner().versions.iter().cloned().collect()
    }

    /// The one of this number, or the newest before the one in force that the guard has not left.
    ///
    /// # Errors
    /// When there is none, in words.
    pub(crate) fn find(&self, number: Option<u64>) -> Result<Arc<Version>, String> {
        let inner = self.inner();
        let newest_first = || inner.versions.iter().rev();
        match number {
            None => {
                let is_sound = |version: &&Arc<Version>| !inner.is_rejected(version.number);
                let before = newest_first().skip(1).find(is_sound).cloned();
                before.ok_or_else(|| match newest_first().nth(1) {
                    None => "there is no earlier version of the configuration".to_owned(),
                    Some(rejected) => format!(
                        "`reload.guard` rolled back every earlier version; name the one to \
                         return to, for example {}",
                        rejected.number
                    ),
                })
            }
            Some(number) => {
                newest_first().find(|version| version.number == number).cloned().ok_or_else(|| {
                    let known: Vec<_> =
                        inner.versions.iter().map(|version| version.number.to_string()).collect();
                    format!(
                        "there is no version {number} of the configuration, only {}",
                        known.join(", ")
                    )
                })
            }
        }
    }

    /// What is wrong with the newest edit, if it did not take effect.
    pub(crate) fn last_refusal(&self) -> Option<EditRefusal> {
        self.inner().refusal.clone()
    }

    /// How edits have fared.
    pub(crate) fn edit_statistics(&self) -> EditStatistics {
        let inner = self.inner();
        let HistoryState { applied, refused, last_edit_time, .. } = *inner;
        EditStatistics { applied, refused, last_edit_time, last_succeeded: inner.refusal.is_none() }
    }

    fn inner(&self) -> MutexGuard<'_, HistoryState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(text: &str) -> VersionFiles {
        vec![("tidegate.yaml".into(), text.to_owned())]
    }

    fn open(folder: &Path) -> History {
        History::open(Some(folder), None, false)
    }

    fn add(history: &History, text: &str) -> u64 {
        history.add(VersionCause::Edit, Difference::default(), files(text))
    }

    #[test]
    fn last_20_versions_survive_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let history = open(folder.path());
        assert_eq!(history.record_start(files("1")), 1);
        for number in 2..=30 {
            assert_eq!(add(&history, &number.to_string()), number);
        }
        drop(history);
        let history = open(folder.path());
        let numbers: Vec<u64> = history.versions().iter().map(|version| version.number).collect();
        assert_eq!(numbers, (11..=30).collect::<Vec<_>>());
        assert_eq!(history.record_start(files("30")), 30, "nothing has changed");
        assert_eq!(history.record_start(files("31")), 31);
        assert_eq!(history.find(Some(12)).expect("it is kept").files, files("12"));
        assert!(history.find(Some(1)).is_err());
    }

    #[test]
    fn second_gateway_of_one_file_keeps_its_own_history_in_memory() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = open(folder.path());
        first.record_start(files("1"));
        let second = open(folder.path());
        assert_eq!(second.record_start(files("2")), 1, "a history of its own, in memory");
        add(&second, "3");
        assert_eq!(first.versions().len(), 1);
        // As after a handover: it goes on where the first one was, which lets go.
        let third = History::open(Some(folder.path()), None, true);
        assert_eq!(third.record_start(files("1")), 1);
        first.release();
        add(&first, "lost");
        add(&third, "kept");
        drop((first, third));
        let texts: Vec<_> =
            open(folder.path()).versions().iter().map(|version| version.files.clone()).collect();
        assert_eq!(texts, [files("1"), files("kept")]);
    }

    #[test]
    fn broken_version_file_is_skipped() {
        let folder = tempfile::tempdir().expect("a folder");
        let history = open(folder.path());
        history.record_start(files("1"));
        add(&history, "2");
        drop(history);
        std::fs::write(folder.path().join("history/configuration/2.json"), "{").expect("written");
        let history = open(folder.path());
        assert_eq!(history.versions().len(), 1);
    }

    #[test]
    fn version_with_an_impossible_number_is_skipped() {
        let folder = tempfile::tempdir().expect("a folder");
        let history = open(folder.path());
        history.record_start(files("1"));
        add(&history, "2");
        drop(history);
        let file = folder.path().join("history/configuration/2.json");
        let text = std::fs::read_to_string(&file).expect("a version");
        let text = text.replace("\"number\":2,", "\"number\":18446744073709551615,");
        assert!(text.contains("18446744073709551615"), "{text}");
        std::fs::write(&file, text).expect("written");
        let history = open(folder.path());
        assert_eq!(history.versions().len(), 1);
        assert_eq!(history.record_start(files("3")), 2);
    }

    #[test]
    fn rollback_skips_versions_that_the_monitor_rolled_back() {
        let history = History::open(None, None, false);
        history.record_start(files("1"));
        add(&history, "2");
        add(&history, "bad");
        add(&history, "worse");
        let cause = VersionCause::Guard { to: 2, because: "errors".to_owned() };
        assert_eq!(history.add(cause, Difference::default(), files("2")), 5);
        assert_eq!(history.find(None).expect("a version").number, 2);
        assert_eq!(history.find(Some(4)).expect("by its number").files, files("worse"));
        add(&history, "6");
        assert_eq!(history.find(None).expect("a version").number, 5);
    }

    #[test]
    fn rollback_before_the_first_version_is_an_error() {
        let history = History::open(None, None, false);
        history.record_start(files("1"));
        assert!(history.find(None).is_err());
        add(&history, "2");
        assert_eq!(history.find(None).expect("the first").number, 1);
    }
}
