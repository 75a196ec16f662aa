use super::{KEPT, Version};
use std::collections::VecDeque;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;

/// `history/NUMBER.json` in the gateway's `state_dir`: files that only this user may read, for
/// configurations have secrets.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
}

impl Store {
    pub(super) fn new(state_dir: PathBuf) -> Self {
        Self { folder: state_dir.join("history") }
    }

    /// All that can be read, the newest last.
    pub(super) fn load(&self) -> VecDeque<Arc<Version>> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().filter_map(Result::ok);
        let mut versions: Vec<Version> = entries
            .filter(|entry| entry.path().extension().is_some_and(|it| it == "json"))
            .filter_map(|entry| {
                let path = entry.path();
                let read = fs::read(&path).map_err(|error| error.to_string());
                let version = read.and_then(|bytes| {
                    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
                });
                version
                    .inspect_err(|error| log::warn!("{} is passed over: {error}", path.display()))
                    .ok()
            })
            .collect();
        versions.sort_by_key(|version| version.number);
        let surplus = versions.len().saturating_sub(KEPT);
        versions.into_iter().skip(surplus).map(Arc::new).collect()
    }

    /// Writes one; that it could not is told in the log, for the gateway itself goes on without.
    pub(super) fn keep(&self, version: &Version) {
        if let Err(error) = self.write(version) {
            log::warn!(
                "version {} is not kept for `tidegate rollback` after a restart: {}: {error}",
                version.number,
                self.folder.display()
            );
        }
    }

    /// Takes one away.
    pub(super) fn forget(&self, number: u64) {
        let _ = fs::remove_file(self.folder.join(format!("{number}.json")));
    }

    fn write(&self, version: &Version) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let path = self.folder.join(format!("{}.json", version.number));
        let unfinished = self.folder.join(format!("{}.{}", version.number, std::process::id()));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(&serde_json::to_vec(version)?)?;
        file.sync_all()?;
        fs::rename(unfinished, path)
    }
}
