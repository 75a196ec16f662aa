//! Folders and files that only the gateway may read and write: checks owner and mode, and follows no link. Knows
//! nothing of what files contain.

use rustix::fs::{
    Access, AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, access, fstat, lstat, mkdirat, openat,
    renameat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Gid, getegid, geteuid, getgroups};
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Permissions of a private file: only its owner reads and writes.
const PRIVATE_FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Maximum number of names that are tried for a new file.
const MAX_NAME_ATTEMPTS: u32 = 16;

/// Whether files of this user may be trusted: the gateway's own user, or root.
pub fn is_trusted(user: u32) -> bool {
    user == geteuid().as_raw() || user == 0
}

/// A folder for secrets that only the gateway may write. No link is followed, and each file is created anew, so that
/// no other user can place a file where the gateway writes.
#[derive(Debug)]
pub struct PrivateFolder {
    descriptor: OwnedFd,
    path: PathBuf,
}

impl PrivateFolder {
    /// Opens the folder with these names below `root`, and creates the missing ones.
    ///
    /// # Errors
    /// When one of them belongs to another user, or others may write in it, or it is a link.
    pub fn open(root: &Path, below: &[&str]) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        // Where it is, is the operator's business: behind a link, in a volume.
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut descriptor = openat(CWD, root, flags, Mode::empty())?;
        let mut path = root.to_owned();
        for name in below {
            path.push(name);
            match mkdirat(&descriptor, *name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            descriptor = openat(&descriptor, *name, flags | OFlags::NOFOLLOW, Mode::empty())
                .map_err(|error| match error {
                    Errno::LOOP | Errno::NOTDIR => {
                        refused(&path, "is a symbolic link or not a directory")
                    }
                    error => error.into(),
                })?;
            check_folder(&fstat(&descriptor)?, &path)?;
        }
        Ok(Self { descriptor, path })
    }

    /// Whether [`PrivateFolder::open`] would succeed and files could be made there, as far as it can be
    /// told without making anything.
    ///
    /// # Errors
    /// Why not.
    pub fn check_openable(root: &Path, below: &[&str]) -> io::Result<()> {
        let writable = Access::WRITE_OK | Access::EXEC_OK;
        let there = root.ancestors().find(|folder| fs::symlink_metadata(folder).is_ok());
        let there = there.unwrap_or(Path::new("."));
        if !there.is_dir() {
            let reason = format!("{} is not a directory", there.display());
            return Err(io::Error::new(io::ErrorKind::NotADirectory, reason));
        }
        if there != root {
            return access(there, writable).map_err(|error| {
                let error = io::Error::from(error);
                refused(root, &format!("does not exist and cannot be created: {error}"))
            });
        }
        let mut path = root.to_owned();
        for name in below {
            let inner = path.join(name);
            let found = match lstat(&inner) {
                Ok(found) => found,
                Err(Errno::NOENT) => break,
                Err(error) => return Err(error.into()),
            };
            if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
                return Err(refused(&inner, "is a symbolic link or not a directory"));
            }
            check_folder(&found, &inner)?;
            path = inner;
        }
        access(&*path, writable).map_err(|error| {
            let error = io::Error::from(error);
            refused(&path, &format!("is not writable: {error}"))
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names in it.
    pub fn list_names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.descriptor)? {
            names.extend(entry?.file_name().to_str().ok().map(str::to_owned));
        }
        Ok(names)
    }

    /// What a file holds that nobody else can have written.
    pub fn read(&self, name: &str, max_size: u64) -> io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(&self.descriptor, name, flags, Mode::empty())?);
        let found = fstat(&file)?;
        let path = self.path.join(name);
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(refused(&path, "is not a regular file"));
        }
        if !is_trusted(found.st_uid) || may_strangers_write(&found) {
            return Err(refused(&path, "is writable by other users"));
        }
        let mut bytes = Vec::new();
        file.take(max_size.saturating_add(1)).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > max_size {
            true => Err(refused(&path, "is larger than the limit")),
            false => Ok(bytes),
        }
    }

    /// Puts a file in the place of the one of this name: all of it or nothing.
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (new, mut file) = self.create(name)?;
        let written = file
            .write_all(bytes)
            .and_then(|()| file.sync_all())
            .and_then(|()| Ok(renameat(&self.descriptor, &*new, &self.descriptor, name)?));
        if written.is_err() {
            let _ = self.remove(&new);
        }
        written
    }

    /// Takes a file away.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.descriptor, name, AtFlags::empty())?)
    }

    /// A file that processes lock, so that only one of them does something.
    pub fn lock_file(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(openat(&self.descriptor, name, flags, PRIVATE_FILE_MODE)?))
    }

    /// Locks the file of this name; `None` while another process has the lock. Dropping the file releases it.
    pub fn lock(&self, name: &str) -> io::Result<Option<File>> {
        let file = self.lock_file(name)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// A file that was not there before, and its name.
    fn create(&self, name: &str) -> io::Result<(String, File)> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut attempt = 0;
        loop {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let new = format!("{name}.{}.{}.new", std::process::id(), now.as_nanos());
            match openat(&self.descriptor, &*new, flags, PRIVATE_FILE_MODE) {
                Ok(file) => return Ok((new, File::from(file))),
                Err(Errno::EXIST) if attempt < MAX_NAME_ATTEMPTS => attempt += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Whether a folder is one that only this user may write to.
fn check_folder(found: &Stat, path: &Path) -> io::Result<()> {
    if !is_trusted(found.st_uid) {
        return Err(refused(path, "belongs to another user"));
    }
    match may_strangers_write(found) {
        true => Err(refused(path, "is writable by other users; run `chmod 700` on it")),
        false => Ok(()),
    }
}

/// Whether others than this user and its groups may write. A group of its own is the operator's
/// choice: Kubernetes gives it to all that is in a volume (`fsGroup`).
fn may_strangers_write(found: &Stat) -> bool {
    let mode = Mode::from_raw_mode(found.st_mode);
    let is_own = |group: u32| {
        let is = |own: Gid| own.as_raw() == group;
        is(getegid()) || getgroups().is_ok_and(|groups| groups.into_iter().any(is))
    };
    mode.contains(Mode::WOTH) || mode.contains(Mode::WGRP) && !is_own(found.st_gid)
}

fn refused(path: &Path, reason: &str) -> io::Error {
    let reason = format!("{} {reason}", path.display());
    io::Error::new(io::ErrorKind::PermissionDenied, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn folder_that_is_a_link_or_writable_by_others_is_refused() {
        let root = tempfile::tempdir().expect("a folder");
        let inner = root.path().join("history");
        PrivateFolder::open(root.path(), &["history"]).expect("made");
        assert_eq!(fs::metadata(&inner).expect("made").mode() & 0o777, 0o700);
        for mode in [0o777, 0o702] {
            fs::set_permissions(&inner, fs::Permissions::from_mode(mode)).expect("opened");
            let error = PrivateFolder::open(root.path(), &["history"]).expect_err("open to others");
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{mode:o}: {error}");
        }
        // Of our own group.
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o770)).expect("opened");
        PrivateFolder::open(root.path(), &["history"]).expect("open to the group");
        fs::remove_dir(&inner).expect("removed");
        symlink("/tmp", &inner).expect("a link");
        PrivateFolder::open(root.path(), &["history"]).expect_err("a link");
        symlink(root.path(), root.path().join("itself")).expect("a link");
        PrivateFolder::open(&root.path().join("itself"), &["mine"]).expect("the operator's link");
    }

    #[test]
    fn links_are_not_followed_for_reading_or_writing() {
        let root = tempfile::tempdir().expect("a folder");
        let precious = root.path().join("precious");
        fs::write(&precious, "precious").expect("written");
        let folder = PrivateFolder::open(root.path(), &["mine"]).expect("a folder");
        symlink(&precious, root.path().join("mine/1.json")).expect("a link");
        folder.read("1.json", 100).expect_err("a link");
        folder.write("1.json", b"{}").expect("in the link's place");
        assert_eq!(fs::read_to_string(&precious).expect("there"), "precious");
        assert_eq!(folder.read("1.json", 100).expect("read"), b"{}");
        assert_eq!(
            folder.list_names().expect("names").iter().filter(|it| it.ends_with("new")).count(),
            0
        );
        symlink(&precious, root.path().join("mine/lock")).expect("a link");
        folder.lock("lock").expect_err("a link");
    }

    #[test]
    fn lock_is_held_by_one_holder_until_dropped() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = PrivateFolder::open(root.path(), &["mine"]).expect("a folder");
        let locked = folder.lock("lock").expect("a lock");
        assert!(locked.is_some() && folder.lock("lock").expect("a lock").is_none());
        drop(locked);
        assert!(folder.lock("lock").expect("a lock").is_some());
    }
}
