//! Opens log files for appending, without waiting for a pipe without a reader. Knows nothing of what a line says.

use rustix::fs::{Access, OFlags, access, fcntl_getfl, fcntl_setfl};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Permissions of a log: its owner writes, its group may read. Logs contain users and their addresses.
const LOG_FILE_MODE: u32 = 0o640;

/// Opens a log file for appending, and creates it if it is missing. It does not wait: a named pipe without a reader
/// is opened as well, and takes as many lines as the kernel buffers.
pub fn open_log(path: &Path) -> io::Result<File> {
    let open = |reads: bool| {
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        OpenOptions::new()
            .create(true)
            .append(true)
            // Linux opens a pipe for both directions at once (fifo(7)).
            .read(reads)
            .mode(LOG_FILE_MODE)
            .custom_flags(flags.bits().cast_signed())
            .open(path)
    };
    let file = open(true).or_else(|_| open(false))?;
    let flags = fcntl_getfl(&file)?;
    fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    Ok(file)
}

/// Whether [`open_log`] would succeed, without creating the file.
///
/// # Errors
/// The one that opening it would have.
pub fn can_append(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) if found.file_type().is_socket() => {
            Err(io::Error::other("the path is a socket, not a file"))
        }
        Ok(_) => Ok(access(path, Access::WRITE_OK)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => can_create(&resolve_links(path)),
        Err(error) => Err(error),
    }
}

/// Whether a file could be created there, as far as permissions show.
///
/// # Errors
/// The one that making it would have.
pub fn can_create(path: &Path) -> io::Result<()> {
    if path.file_name().is_none() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    if !fs::metadata(folder)?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}

/// Where a file with this name would be created: at the target of a dangling link.
fn resolve_links(path: &Path) -> PathBuf {
    // Linux gives up after as many.
    const MAX_FOLLOWED_LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..MAX_FOLLOWED_LINKS {
        let Ok(to) = fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new("/")).join(to);
    }
    path
}

/// Makes each write go to the current end of a regular file: another process may write to it as well (`tidegate
/// upgrade`), and log rotation by copying truncates it.
pub fn set_append_mode(file: &File) {
    if file.metadata().is_ok_and(|found| found.is_file())
        && let Ok(flags) = fcntl_getfl(file)
    {
        let _ = fcntl_setfl(file, flags | OFlags::APPEND);
    }
}
