//! The files of the versions below `state_dir`. It knows nothing of what a configuration means.

use super::{MAX_KEPT_VERSIONS, Version};
use sha1::{Digest, Sha1};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{self, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use tidegate_disk::PrivateFolder;

/// Maximum size of all files of a version together, in bytes.
const MAX_VERSION_BYTES: u64 = 256 * 1024 * 1024;

/// Maximum version number that is accepted from a file: later versions need higher ones.
const MAX_STORED_VERSION_NUMBER: u64 = u64::MAX / 2;

/// The file that is locked by the gateway which keeps its versions in the folder.
const LOCK_FILE: &str = "lock";

/// The folder of all versions, below `state_dir`.
const FOLDER: &str = "history";

/// `history/FILE-DIGEST/NUMBER.json` in the gateway's `state_dir`: files that only this user may
/// read, for configurations have secrets. Gateways of other files have folders of their own.
#[derive(Debug)]
pub(super) struct VersionStore {
    folder: PrivateFolder,
    lock: Arc<Mutex<StoreLock>>,
}

#[derive(Debug)]
enum StoreLock {
    /// Held, or requested while the previous gateway ends.
    Ours(Option<File>),
    /// Passed to the next gateway.
    Released,
}

impl VersionStore {
    /// The store of this configuration file. `None` if versions cannot be stored, which is logged; the gateway works
    /// without them.
    pub(super) fn open(state_dir: &Path, file: Option<&Path>, takes_over: bool) -> Option<Self> {
        let not_kept = |path: &Path, reason: &str| {
            log::error!(
                "cannot store versions of the configuration in {}: {reason}; `tidegate rollback` \
                 knows only the versions since this start",
                path.display()
            );
        };
        let names = folder(file);
        let folder = PrivateFolder::open(state_dir, &names.each_ref().map(String::as_str))
            .inspect_err(|error| not_kept(&state_dir.join(FOLDER), &error.to_string()))
            .ok()?;
        let lock = match folder.lock(LOCK_FILE) {
            Ok(Some(lock)) => StoreLock::Ours(Some(lock)),
            Ok(None) if takes_over => StoreLock::Ours(None),
            Ok(None) => {
                not_kept(
                    folder.path(),
                    "another running gateway uses the same configuration file and state_dir",
                );
                return None;
            }
            // Some file systems have no locks.
            Err(error) => {
                log::warn!(
                    "cannot lock the folder {}: {error}; a second gateway that uses this folder \
                     is not detected",
                    folder.path().display()
                );
                StoreLock::Ours(None)
            }
        };
        let waits = takes_over && matches!(lock, StoreLock::Ours(None));
        let store = Self { folder, lock: Arc::new(Mutex::new(lock)) };
        if waits {
            store.wait_for_lock();
        }
        Some(store)
    }

    /// The previous gateway holds the lock until it ends.
    fn wait_for_lock(&self) {
        let Ok(file) = self.folder.lock_file(LOCK_FILE) else { return };
        let lock = Arc::clone(&self.lock);
        let wait = move || {
            if file.lock().is_ok()
                && let StoreLock::Ours(lock_file) =
                    &mut *lock.lock().unwrap_or_else(PoisonError::into_inner)
            {
                *lock_file = Some(file);
            }
        };
        let _ = thread::Builder::new().name("history-lock".to_owned()).spawn(wait);
    }

    /// Releases the folder for the next gateway.
    pub(super) fn release(&self) {
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = StoreLock::Released;
    }

    fn is_ours(&self) -> bool {
        matches!(*self.lock.lock().unwrap_or_else(PoisonError::into_inner), StoreLock::Ours(_))
    }

    /// All readable versions, newest last.
    pub(super) fn load(&self) -> VecDeque<Arc<Version>> {
        let names = self.folder.list_names().unwrap_or_default();
        let mut versions: Vec<Version> = names
            .iter()
            .filter(|name| name.ends_with(".json"))
            .filter_map(|name| {
                let read =
                    self.folder.read(name, MAX_VERSION_BYTES).map_err(|error| error.to_string());
                let version = read.and_then(|bytes| {
                    let version: Version =
                        serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
                    match version.number <= MAX_STORED_VERSION_NUMBER {
                        true => Ok(version),
                        false => Err(format!("the version number {} is too high", version.number)),
                    }
                });
                version
                    .inspect_err(|error| {
                        let path = self.folder.path().join(name);
                        log::warn!(
                            "ignoring the stored version of the configuration {}: {error}",
                            path.display()
                        );
                    })
                    .ok()
            })
            .collect();
        versions.sort_by_key(|version| version.number);
        let surplus = versions.len().saturating_sub(MAX_KEPT_VERSIONS);
        versions.into_iter().skip(surplus).map(Arc::new).collect()
    }

    /// Writes a version; a failure is only logged, because the gateway works without it.
    pub(super) fn write_version(&self, version: &Version) {
        if let Err(error) = self.write(version) {
            log::warn!(
                "cannot store version {} of the configuration in {}: {error}; after a restart \
                 `tidegate rollback` does not know this version",
                version.number,
                self.folder.path().display()
            );
        }
    }

    /// Removes a version.
    pub(super) fn delete_version(&self, number: u64) {
        if self.is_ours() {
            let _ = self.folder.remove(&format!("{number}.json"));
        }
    }

    fn write(&self, version: &Version) -> io::Result<()> {
        if !self.is_ours() {
            return Ok(());
        }
        self.folder.write(&format!("{}.json", version.number), &serde_json::to_vec(version)?)
    }
}

/// The folder of the versions of a configuration file, below `state_dir`.
pub(super) fn folder(file: Option<&Path>) -> [String; 2] {
    [FOLDER.to_owned(), key(file)]
}

/// The digest that distinguishes the versions of one configuration file from those of another. It must be the same in
/// the next binary.
fn key(file: Option<&Path>) -> String {
    let Some(file) = file else { return "configuration".to_owned() };
    let file = path::absolute(file).unwrap_or_else(|_| PathBuf::from(file));
    let digest = Sha1::digest(file.as_os_str().as_encoded_bytes());
    let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let name: String = name.chars().filter(is_plain).take(40).collect();
    format!("{name}-{digest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_configuration_file_has_its_own_folder() {
        let of = |file: &str| key(Some(Path::new(file)));
        assert!(of("/etc/a/tidegate.yaml").starts_with("tidegate-"));
        assert_eq!(of("/etc/a/tidegate.yaml"), of("/etc/a/tidegate.yaml"));
        assert_ne!(of("/etc/a/tidegate.yaml"), of("/etc/b/tidegate.yaml"));
        assert!(!of("/etc/../x/\u{2028}y z.yaml").contains(['/', ' ', '\u{2028}', '.']));
    }
}
