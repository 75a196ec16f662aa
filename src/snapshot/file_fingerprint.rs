//! Distinguishes the versions of a file without reading it. It knows nothing of what the file holds.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Distinguishes two versions of a file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileFingerprint([i64; 7]);

impl FileFingerprint {
    /// Of the file behind the path, if there is one. Follows symbolic links, so that a link that
    /// is swapped (Kubernetes' ConfigMaps and Secrets) shows.
    pub(crate) fn from_path(path: &Path) -> Option<Self> {
        let data = std::fs::metadata(path).ok()?;
        let [device, inode, size] = [data.dev(), data.ino(), data.size()].map(u64::cast_signed);
        let changed = [data.mtime(), data.mtime_nsec(), data.ctime(), data.ctime_nsec()];
        let [modified, modified_ns, changed, changed_ns] = changed;
        Some(Self([device, inode, size, modified, modified_ns, changed, changed_ns]))
    }
}
