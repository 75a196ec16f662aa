//! The versions of the configuration that took effect: when, why, and what they changed.

mod order;
mod store;
mod version;

pub use order::Order;
pub use version::{Cause, Version};

use crate::explain::Difference;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use store::Store;

/// How many versions are kept.
const KEPT: usize = 20;

/// The files of a configuration, and their texts.
pub type Files = Vec<(PathBuf, String)>;

/// The last versions, in memory and, where there is a place for it, on the disk.
#[derive(Debug, Default)]
pub struct History {
    inner: Mutex<Inner>,
    store: Option<Store>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The newest is the last, and the one in force.
    versions: VecDeque<Arc<Version>>,
    applied: u64,
    refused: u64,
    refusal: Option<Refusal>,
    last: Option<SystemTime>,
}

/// Why the newest edit did not take effect.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// When it was tried.
    pub time: SystemTime,
    /// What is wrong with it, as the log told.
    pub problems: String,
}

/// How edits have fared since the process began.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fared {
    /// So many took effect.
    pub applied: u64,
    /// So many did not.
    pub refused: u64,
    /// When the newest was tried.
    pub last: Option<SystemTime>,
    /// Whether that one did.
    pub is_good: bool,
}

impl History {
    /// What is kept in this folder, the gateway's `state_dir`; without one, nothing is.
    pub fn open(state_dir: Option<PathBuf>) -> Self {
        let store = state_dir.map(Store::new);
        let versions = store.as_ref().map(Store::load).unwrap_or_default();
        let inner = Inner { versions, ..Inner::default() };
        Self { inner: Mutex::new(inner), store }
    }

    /// The gateway starts with these files; tells the number of that version, which is known when
    /// the gateway has stopped with it.
    pub fn begin(&self, files: Files) -> u64 {
        let newest = self.inner().versions.back().cloned();
        match newest {
            Some(newest) if newest.files == files => newest.number,
            _ => self.add(Cause::Start, Difference::default(), files),
        }
    }

    /// Another version is in force; tells its number.
    pub fn add(&self, cause: Cause, difference: Difference, files: Files) -> u64 {
        let mut inner = self.inner();
        let number = inner.versions.back().map_or(1, |newest| newest.number + 1);
        let time = SystemTime::now();
        let version = Arc::new(Version { number, time, cause, difference, files });
        inner.versions.push_back(Arc::clone(&version));
        let surplus = inner.versions.len().saturating_sub(KEPT);
        let forgotten: Vec<_> = inner.versions.drain(..surplus).collect();
        drop(inner);
        if let Some(store) = &self.store {
            store.keep(&version);
            forgotten.iter().for_each(|version| store.forget(version.number));
        }
        number
    }

    /// An edit took effect, whether it was another version or not.
    pub fn applied(&self) {
        let mut inner = self.inner();
        inner.applied += 1;
        inner.refusal = None;
        inner.last = Some(SystemTime::now());
    }

    /// An edit did not take effect.
    pub fn refused(&self, problems: String) {
        let mut inner = self.inner();
        let time = SystemTime::now();
        inner.refused += 1;
        inner.refusal = Some(Refusal { time, problems });
        inner.last = Some(time);
    }

    /// All that are kept, the newest last.
    pub fn versions(&self) -> Vec<Arc<Version>> {
        self.inner().versions.iter().cloned().collect()
    }

    /// The one of this number, or the one before the one in force.
    ///
    /// # Errors
    /// When there is none, in words.
    pub fn find(&self, number: Option<u64>) -> Result<Arc<Version>, String> {
        let inner = self.inner();
        let mut newest_first = inner.versions.iter().rev();
        match number {
            None => {
                newest_first.nth(1).cloned().ok_or("there is no version before this one".into())
            }
            Some(number) => {
                newest_first.find(|version| version.number == number).cloned().ok_or_else(|| {
                    let known: Vec<_> =
                        inner.versions.iter().map(|version| version.number.to_string()).collect();
                    format!("there is no version {number}, only {}", known.join(", "))
                })
            }
        }
    }

    /// What is wrong with the newest edit, if it did not take effect.
    pub fn refusal(&self) -> Option<Refusal> {
        self.inner().refusal.clone()
    }

    /// How edits have fared.
    pub fn fared(&self) -> Fared {
        let inner = self.inner();
        let Inner { applied, refused, last, .. } = *inner;
        Fared { applied, refused, last, is_good: inner.refusal.is_none() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(text: &str) -> Files {
        vec![("tidegate.yaml".into(), text.to_owned())]
    }

    fn add(history: &History, text: &str) -> u64 {
        history.add(Cause::Edit, Difference::default(), files(text))
    }

    #[test]
    fn the_last_twenty_outlive_the_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let history = History::open(Some(folder.path().into()));
        assert_eq!(history.begin(files("1")), 1);
        for number in 2..=30 {
            assert_eq!(add(&history, &number.to_string()), number);
        }
        drop(history);
        let history = History::open(Some(folder.path().into()));
        let numbers: Vec<u64> = history.versions().iter().map(|version| version.number).collect();
        assert_eq!(numbers, (11..=30).collect::<Vec<_>>());
        assert_eq!(history.begin(files("30")), 30, "nothing has changed");
        assert_eq!(history.begin(files("31")), 31);
        assert_eq!(history.find(Some(12)).expect("it is kept").files, files("12"));
        assert!(history.find(Some(1)).is_err());
    }

    #[test]
    fn a_file_that_is_broken_is_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let history = History::open(Some(folder.path().into()));
        history.begin(files("1"));
        add(&history, "2");
        std::fs::write(folder.path().join("history/2.json"), "{").expect("written");
        let history = History::open(Some(folder.path().into()));
        assert_eq!(history.versions().len(), 1);
    }

    #[test]
    fn before_the_first_there_is_nothing() {
        let history = History::open(None);
        history.begin(files("1"));
        assert!(history.find(None).is_err());
        add(&history, "2");
        assert_eq!(history.find(None).expect("the first").number, 1);
    }
}
